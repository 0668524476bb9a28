# SPDX-License-Identifier: Apache-2.0
"""The parameters of CFP-Net: how many, in which stage, and what they begin with."""

import math

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from click.testing import CliRunner
from torch import Tensor

from mc4ad_model.methods.mc4ad.architectures import ARCHITECTURES, NetworkConfig
from mc4ad_model.methods.mc4ad.network import (
    CFPNet,
    count_parameters,
    main,
    stages,
)
from tests.support.networks import generator

SMALL = NetworkConfig.named("released", width=0.25)

# Counted by hand from the layers of MinkUNet14C.
RELEASED_STAGES = {
    "stem": 12_064,
    "down1": 8_256,
    "block1": 55_424,
    "down2": 8_256,
    "block2": 168_320,
    "down3": 32_896,
    "block3": 672_512,
    "down4": 131_328,
    "block4": 2_688_512,
    "up1": 393_600,
    "mc_skip1": 1_020_096,
    "block5": 2_716_800,
    "up2": 295_296,
    "mc_skip2": 1_007_808,
    "block6": 2_372_736,
    "up3": 196_864,
    "mc_skip3": 446_592,
    "block7": 1_016_576,
    "up4": 131_328,
    "mc_skip4": 446_592,
    "block8": 1_016_576,
    "final": 4_128,
    "head": 1_736,
}


# --- what is built


@pytest.mark.parametrize(
    ("arch", "changes", "parameters"),
    [
        ("released", {}, 14_844_296),
        ("released", {"mc_skip": False}, 11_923_208),
        ("released", {"out_channels": 3}, 14_844_296 - 3 * 17),
        ("pruned", {}, 5_219_272),
        ("po3ad", {}, 37_858_901),
        ("paper", {}, 14_094_824),
    ],
)
def test_parameter_count(arch, changes, parameters):
    assert count_parameters(CFPNet(NetworkConfig.named(arch, **changes))) == parameters


@pytest.mark.parametrize(
    ("encoder", "decoder", "millions"),
    [
        ((32, 64), (128, 128), 3.38),
        ((32, 64), (192, 128), 5.22),
        ((64, 256), (128, 128), 5.90),
        ((32, 64), (192, 192), 7.06),
    ],
)
def test_parameter_count_of_other_pruned_networks(encoder, decoder, millions):
    config = NetworkConfig.named("pruned", encoder_channels=encoder, decoder_channels=decoder)
    assert round(count_parameters(CFPNet(config)) / 1e6, 2) == millions


def test_parameters_of_each_stage():
    network = CFPNet(ARCHITECTURES["released"])
    counts = {name: count_parameters(part) for name, part in stages(network).items()}
    assert counts == RELEASED_STAGES
    assert list(counts) == list(RELEASED_STAGES)  # in the order of their work


def test_fewer_layers_count_what_is_left():
    """Layers 4: the stages of the outer two levels, but block6 is the deepest of the decoder."""
    network = CFPNet(NetworkConfig(layers=4))
    counts = {name: count_parameters(part) for name, part in stages(network).items()}
    for name in ("stem", "down1", "block1", "down2", "block2", "final", "head"):
        assert counts.pop(name) == RELEASED_STAGES[name]
    assert counts.pop("up1") == 8 * 64 * 128 + 2 * 128
    assert counts == {
        "mc_skip1": RELEASED_STAGES["mc_skip3"],
        "block3": RELEASED_STAGES["block7"],
        **{name: RELEASED_STAGES[as_] for name, as_ in
           (("up2", "up4"), ("mc_skip2", "mc_skip4"), ("block4", "block8"))},
    }  # fmt: skip


def test_command_prints_every_stage():
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    for stage, count in RELEASED_STAGES.items():
        assert [stage, f"{count:,}"] in lines
    assert ["total", "14,844,296"] in lines
    first = next(line for line in lines if line[0] == "0.convolution")
    assert " ".join(first[1:]) == "convolution 5^3 1 -> 1 3 -> 32 12,000"


# --- initial parameters


def test_initial_parameters_are_those_of_the_released_code():
    state = CFPNet(ARCHITECTURES["released"]).state_dict()

    def spread(name: str) -> float:
        return float(state[name].std())

    near = {"rel": 0.03}
    assert spread("encoder.3.blocks.0.second.convolution.kernel") == pytest.approx(
        math.sqrt(2 / (27 * 256)), **near
    )
    assert spread("encoder.3.down.convolution.kernel") == pytest.approx(
        math.sqrt(2 / (8 * 128)), **near
    )
    # 1^3: MinkowskiEngine takes C_in
    assert spread("decoder.0.mc_skip.encoder_projection.kernel") == pytest.approx(
        math.sqrt(2 / 128), **near
    )
    bound = 1 / math.sqrt(8 * 192)
    up = state["decoder.0.up.convolution.kernel"]
    assert up.abs().max() <= bound
    assert float(up.std()) == pytest.approx(bound / math.sqrt(3), **near)
    assert state["output.bias"].abs().max() <= 1 / math.sqrt(128)
    assert state["head.0.weight"].abs().max() <= 1 / math.sqrt(32)
    assert torch.all(state["stem.0.norm.weight"] == 1)
    assert torch.all(state["stem.0.norm.bias"] == 0)


def test_parameters_come_from_the_generator_alone():
    def parameters(seed: int) -> Tensor:
        network = CFPNet(SMALL, generator=generator(seed))
        return torch.cat([parameter.flatten() for parameter in network.parameters()])

    before = torch.random.get_rng_state()
    first, again, other = parameters(1), parameters(1), parameters(2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, again)
    drawn = first != other
    # the rest is batch normalisation and PReLU
    constant = sum(
        parameter.numel()
        for name, parameter in CFPNet(SMALL).named_parameters()
        if "norm" in name or name.startswith(("head.1", "head.2", "head.4", "head.5"))
    )
    assert int((~drawn).sum()) == constant


@pytest.mark.parametrize("width", ["0", "-1", "nan"])
def test_table_of_an_impossible_width(width):
    result = CliRunner().invoke(main, ["--width", width])
    assert result.exit_code == 2
    assert "width" in result.output
