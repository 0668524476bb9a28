# SPDX-License-Identifier: Apache-2.0
from dataclasses import asdict

import pytest

from intravariance.errors import InputError
from mc4ad_model.methods.mc4ad.architectures import ARCHITECTURES, NetworkConfig


def plain(config: NetworkConfig) -> dict[str, object]:
    """As JSON or TOML give it back."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_survives_plain_values(arch):
    config = ARCHITECTURES[arch]
    assert NetworkConfig.from_mapping(plain(config)) == config
    assert NetworkConfig.named(arch) == config


def test_changes_are_laid_over_the_named_architecture():
    config = NetworkConfig.from_mapping({"arch": "po3ad", "width": 0.5, "encoder_blocks": [1] * 4})
    assert config.decoder_channels == (256, 128, 96, 96)
    assert config.encoder == [(16, 1), (32, 1), (64, 1), (128, 1)]
    assert NetworkConfig.from_mapping({}) == ARCHITECTURES["released"]


def test_paper_and_released_code_differ_where_the_equations_do():
    paper, released = asdict(ARCHITECTURES["paper"]), asdict(ARCHITECTURES["released"])
    assert {name for name in paper if paper[name] != released[name]} == {
        "stem_channels",  # C_1
        "stem_convolutions",  # Eq. 6
        "encoder_channels",  # Eq. 7
        "mc_skip_weight_from",  # Eq. 8
        "mc_skip_weight_on",
        "mc_skip_sigmoid",
        "concatenate",
        "forces",  # Def. A3
    }


def test_width_gives_multiples_of_eight_and_one_changes_nothing():
    assert NetworkConfig(width=1, stem_channels=13).scaled(13) == 13
    assert [NetworkConfig(width=0.3).scaled(c) for c in (8, 32, 96, 256)] == [8, 8, 32, 80]
    assert NetworkConfig(width=2).scaled(96) == 192


def test_fewer_layers_leave_out_the_coarsest_levels():
    config = NetworkConfig(layers=4, decoder_channels=(192, 160, 128, 96))
    assert config.encoder == [(32, 1), (64, 1)]
    assert config.decoder == [(128, 1), (96, 1)]


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("voxel_size", 0, "a value greater than 0"),
        ("voxel_size", float("nan"), "a finite number"),
        ("width", float("inf"), "a value less than or equal to 16"),
        ("head_channels", 10**9, "a value less than or equal to 4096"),
        ("width", True, "a valid number"),
        ("stem_channels", 0, "a value greater than or equal to 1"),
        ("stem_channels", 32.0, "a valid integer"),
        ("stem_convolutions", 3, "a value less than or equal to 2"),
        ("stem_convolutions", True, "a valid integer"),
        ("layers", 5, "2, 4, 6 or 8"),
        ("mc_skip", 1, "a valid boolean"),
        ("mc_skip_weight_from", "both", "'encoder' or 'decoder'"),
        ("out_channels", 4, "3 or 6"),
        ("forces", "max", "'mean' or 'sum'"),
        ("encoder_channels", 32, "numbers in a list, such as [1, 2]"),
        ("decoder_blocks", (1, 1), "4 numbers, as many as encoder_channels"),
    ],
)
def test_a_value_out_of_range_is_named(field, value, allowed):
    with pytest.raises(InputError) as caught:
        NetworkConfig.from_mapping({field: value}, "run.toml, [network]")
    assert str(caught.value) == f"run.toml, [network]: {field} = {value!r}: expected {allowed}"


def test_a_file_cannot_ask_for_modules_without_end():
    with pytest.raises(InputError, match=r"encoder_blocks.1 = 4294967295: expected a value less"):
        NetworkConfig.from_mapping({"encoder_blocks": [1, 2**32 - 1, 1, 1]})
    with pytest.raises(InputError, match="encoder_blocks"):
        NetworkConfig.from_mapping({"encoder_blocks": [1] * 9})


def test_a_value_in_a_list_is_named_with_its_place():
    with pytest.raises(InputError, match=r"network: decoder_channels\.1 = -1: expected a value gr"):
        NetworkConfig.from_mapping({"decoder_channels": (64, -1, 32, 32)})


def test_values_that_do_not_go_together():
    with pytest.raises(InputError, match="layers = 6: expected at most 4, twice the 2 levels"):
        NetworkConfig.named("pruned", layers=6)
    with pytest.raises(InputError, match=r"concatenate = False: expected true when mc_skip is"):
        NetworkConfig.named("paper", mc_skip=False)


def test_unknown_names():
    with pytest.raises(InputError, match=r"a\.toml: unknown colour; expected some of input, "):
        NetworkConfig.from_mapping({"colour": 3}, "a.toml")
    with pytest.raises(InputError, match="architecture 'unet': expected one of released, paper, "):
        NetworkConfig.named("unet")
    with pytest.raises(InputError, match=r"architecture \['released'\]: expected one of"):
        NetworkConfig.from_mapping({"arch": ["released"]})
