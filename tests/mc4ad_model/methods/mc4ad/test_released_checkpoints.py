# SPDX-License-Identifier: Apache-2.0
import importlib.util
import os
import warnings
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("safetensors", reason="safetensors is not installed: pip install '.[model]'")

import torch
from click.testing import CliRunner
from torch import Tensor, nn

from intravariance.errors import InputError
from mc4ad_model.methods.mc4ad.architectures import ARCHITECTURES, NetworkConfig
from mc4ad_model.methods.mc4ad.checkpoints import load_checkpoint
from mc4ad_model.methods.mc4ad.network import count_parameters
from mc4ad_model.methods.mc4ad.released_checkpoints import import_published, main
from mc4ad_model.sparse import CoordinatePyramid
from tests.support.networks import generator, sphere

TINY = NetworkConfig(
    stem_channels=4,
    encoder_channels=(4, 6, 8, 8),
    encoder_blocks=(1, 2, 1, 1),
    decoder_channels=(8, 6, 6, 4),
    decoder_blocks=(1, 1, 2, 1),
    point_channels=5,
    head_channels=3,
)


def published(config: NetworkConfig, fill: bool = True) -> dict[str, Tensor]:
    """Make a state dict as the public training scripts write it: names and shapes of their layers.

    Random numbers, or with `fill` false a single zero seen in every shape, which takes no room.
    """
    random, state = generator(), {}

    def add(name: str, *shape: int) -> None:
        state[name] = torch.randn(shape, generator=random) if fill else torch.zeros(1).expand(shape)

    def norm(name: str, channels: int) -> None:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            add(f"{name}.{leaf}", channels)
        state[f"{name}.running_var"] = state[f"{name}.running_var"].abs() + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(3)

    def blocks(name: str, inside: int, outside: int, count: int) -> None:
        for i in range(count):
            add(f"{name}.{i}.conv1.kernel", 27, inside, outside)
            norm(f"{name}.{i}.norm1.bn", outside)
            add(f"{name}.{i}.conv2.kernel", 27, outside, outside)
            norm(f"{name}.{i}.norm2.bn", outside)
            if inside != outside:
                add(f"{name}.{i}.downsample.0.kernel", inside, outside)
                norm(f"{name}.{i}.downsample.1.bn", outside)
            inside = outside

    e, d, first = config.encoder_channels, config.decoder_channels, config.stem_channels
    n, m = config.encoder_blocks, config.decoder_blocks
    add("backbone.conv0p1s1.kernel", 125, 3, first)
    norm("backbone.bn0.bn", first)
    add("backbone.conv1p1s2.kernel", 8, first, first)
    norm("backbone.bn1.bn", first)
    blocks("backbone.block1", first, e[0], n[0])
    add("backbone.conv2p2s2.kernel", 8, e[0], e[0])
    norm("backbone.bn2.bn", e[0])
    blocks("backbone.block2", e[0], e[1], n[1])
    add("backbone.conv3p4s2.kernel", 8, e[1], e[1])
    norm("backbone.bn3.bn", e[1])
    blocks("backbone.block3", e[1], e[2], n[2])
    add("backbone.conv4p8s2.kernel", 8, e[2], e[2])
    norm("backbone.bn4.bn", e[2])
    blocks("backbone.block4", e[2], e[3], n[3])
    add("backbone.convtr4p16s2.kernel", 8, e[3], d[0])
    norm("backbone.bntr4.bn", d[0])
    blocks("backbone.block5", d[0] + e[2], d[0], m[0])
    add("backbone.convtr5p8s2.kernel", 8, d[0], d[1])
    norm("backbone.bntr5.bn", d[1])
    blocks("backbone.block6", d[1] + e[1], d[1], m[1])
    add("backbone.convtr6p4s2.kernel", 8, d[1], d[2])
    norm("backbone.bntr6.bn", d[2])
    blocks("backbone.block7", d[2] + e[0], d[2], m[2])
    add("backbone.convtr7p2s2.kernel", 8, d[2], d[3])
    norm("backbone.bntr7.bn", d[3])
    blocks("backbone.block8", d[3] + first, d[3], m[3])
    point, hidden = config.point_channels, config.head_channels
    add("backbone.final_sematic.kernel", d[3], point)
    add("backbone.final_sematic.bias", 1, point)
    if config.mc_skip:
        for i, encoder in enumerate((e[2], e[1], e[0], first)):
            add(f"backbone.gmr{i + 1}.enc_proj.kernel", encoder, d[i])
            add(f"backbone.gmr{i + 1}.dec_enhance.kernel", 27, d[i], d[i])
            add(f"backbone.gmr{i + 1}.alpha.kernel", d[i], 1)
    add("linear_offset.0.weight", point, point)
    norm("linear_offset.1", point)
    add("linear_offset.2.weight", 1)
    add("linear_offset.3.weight", hidden, point)
    norm("linear_offset.4", hidden)
    add("linear_offset.5.weight", 1)
    add("linear_offset.6.weight", config.out_channels, hidden)
    add("linear_offset.6.bias", config.out_channels)
    return state


@pytest.mark.parametrize("arch", ["released", "po3ad"])
def test_finds_out_which_network_it_is(arch, tmp_path):
    config = ARCHITECTURES[arch]
    state = published(config, fill=False)
    torch.save({"model": state, "optimizer": {"state": {}}}, tmp_path / "000001847.pth")
    network, metadata = import_published(tmp_path / "000001847.pth")
    assert network.config == config
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert count_parameters(network) == sum(
        tensor.numel() for name, tensor in state.items() if not name.endswith(statistics)
    )
    assert metadata["imported_from"] == "000001847.pth"
    assert len(metadata["imported_sha256"]) == 64


# One of each kind of layer, and those that have neighbours of the same shape.
SAME = {
    "backbone.conv0p1s1.kernel": "stem.0.convolution.kernel",
    "backbone.bn0.bn.running_mean": "stem.0.norm.running_mean",
    "backbone.conv2p2s2.kernel": "encoder.1.down.convolution.kernel",
    "backbone.bn4.bn.weight": "encoder.3.down.norm.weight",
    "backbone.block2.0.conv1.kernel": "encoder.1.blocks.0.first.convolution.kernel",
    "backbone.block2.1.conv1.kernel": "encoder.1.blocks.1.first.convolution.kernel",
    "backbone.block2.1.conv2.kernel": "encoder.1.blocks.1.second.convolution.kernel",
    "backbone.block2.0.norm1.bn.bias": "encoder.1.blocks.0.first.norm.bias",
    "backbone.block2.0.norm2.bn.bias": "encoder.1.blocks.0.second.norm.bias",
    "backbone.block2.0.downsample.0.kernel": "encoder.1.blocks.0.shortcut.convolution.kernel",
    "backbone.block2.0.downsample.1.bn.bias": "encoder.1.blocks.0.shortcut.norm.bias",
    "backbone.convtr6p4s2.kernel": "decoder.2.up.convolution.kernel",
    "backbone.bntr5.bn.running_var": "decoder.1.up.norm.running_var",
    "backbone.block8.0.conv2.kernel": "decoder.3.blocks.0.second.convolution.kernel",
    "backbone.gmr2.enc_proj.kernel": "decoder.1.mc_skip.encoder_projection.kernel",
    "backbone.gmr2.dec_enhance.kernel": "decoder.1.mc_skip.decoder_projection.kernel",
    "backbone.gmr3.alpha.kernel": "decoder.2.mc_skip.weight.kernel",
    "backbone.final_sematic.bias": "output.bias",
    "linear_offset.1.running_mean": "head.1.running_mean",
    "linear_offset.2.weight": "head.2.weight",
    "linear_offset.6.bias": "head.6.bias",
}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [True, False])
def test_every_tensor_finds_its_place(prefix, wrapped, tmp_path):
    state = published(TINY)
    file = {prefix + name: tensor for name, tensor in state.items()}
    torch.save({"model": file} if wrapped else file, tmp_path / "a.pth")
    network, _ = import_published(tmp_path / "a.pth")
    assert network.config == TINY
    found = network.state_dict()
    assert len(found) == len(state)
    for theirs, ours in SAME.items():
        assert torch.equal(found[ours], state[theirs]), ours
    assert network.predict([sphere().float()])[0].combined.shape == (300, 3)


def test_command_writes_a_checkpoint_of_ours(tmp_path):
    torch.save(published(TINY), tmp_path / "a.pth")
    result = CliRunner().invoke(main, [str(tmp_path / "a.pth"), str(tmp_path / "ours")])
    assert result.exit_code == 0
    network, metadata = load_checkpoint(tmp_path / "ours")
    expected, source = import_published(tmp_path / "a.pth")
    assert metadata == source
    cloud = [sphere().float()]
    assert torch.equal(network.predict(cloud)[0].combined, expected.predict(cloud)[0].combined)
    again = CliRunner().invoke(main, [str(tmp_path / "a.pth"), str(tmp_path / "ours")])
    assert again.exit_code == 2
    assert "ours.safetensors exists" in again.stderr


# --- what does not fit


class Hostile:
    """Unpickled without restriction, it would run a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:

        return os.system, ("touch hostile",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"a": Hostile()}}, r"a\.pth holds posix\.system, and only tensors"),
        ({"model": {}, "cfg": Namespace()}, r"a\.pth holds argparse\.Namespace, and only"),
        (torch.zeros(3), "expected a state dict, found Tensor"),
        ({}, "expected a state dict, found dict"),
        ({"model": {"epoch": 3}}, "found int under 'epoch'"),
        ({"state": {"a": torch.zeros(3)}}, "found dict under 'state'"),
        ({"conv1.weight": torch.zeros(3)}, "has a tensor backbone.* this file has conv1.weight"),
    ],
    ids=["code", "namespace", "tensor", "nothing", "number", "nested", "other network"],
)
def test_contents_that_are_no_published_checkpoint(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "a.pth")
    with pytest.raises(InputError, match=message):
        import_published(Path("a.pth"))
    assert not Path("hostile").exists()


@pytest.mark.parametrize("content", [b"", b"hello world", b"PK\x03\x04 cut off"])
def test_files_that_cannot_be_read(content, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pth is damaged or no file of torch\.save"):
        import_published(tmp_path / "a.pth")


def test_a_file_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match=r"a\.pth does not exist"):
        import_published(tmp_path / "a.pth")


def test_names_and_shapes_that_do_not_fit(tmp_path):
    state = published(TINY)
    state["backbone.extra.kernel"] = torch.zeros(3)
    state["backbone.block3.0.conv2.kernel"] = torch.zeros(27, 8, 9)
    del state["linear_offset.4.bias"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(InputError) as caught:
        import_published(tmp_path / "a.pth")
    message = str(caught.value)
    assert "missing: head.4.bias" in message
    assert "unexpected: backbone.extra.kernel" in message
    wrong = "encoder.2.blocks.0.second.convolution.kernel (27, 8, 9), expected (27, 8, 8)"
    assert wrong in message


# --- the published networks, built with MinkowskiEngine


def minkowski_network(config: NetworkConfig) -> nn.Module:
    """MC4AD's or PO3AD's network with their module names, from MinkowskiEngine's modules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import MinkowskiEngine as ME  # noqa: PLC0415 - weight
        from MinkowskiEngine.modules.resnet_block import BasicBlock  # noqa: PLC0415 - weight

    def convolution(inside: int, outside: int, size: int, stride: int = 1, **options: object):
        return ME.MinkowskiConvolution(
            inside, outside, kernel_size=size, stride=stride, dimension=3, **options
        )

    def layer(inside: int, outside: int, count: int) -> nn.Sequential:
        shortcut = None
        if inside != outside:
            shortcut = nn.Sequential(
                convolution(inside, outside, 1), ME.MinkowskiBatchNorm(outside)
            )
        first = BasicBlock(inside, outside, downsample=shortcut, dimension=3)
        rest = [BasicBlock(outside, outside, dimension=3) for _ in range(1, count)]
        return nn.Sequential(first, *rest)

    class Skip(nn.Module):
        def __init__(self, encoder: int, decoder: int) -> None:
            super().__init__()
            self.enc_proj = convolution(encoder, decoder, 1)
            self.dec_enhance = convolution(decoder, decoder, 3)
            self.alpha = convolution(decoder, 1, 1)

        def forward(self, encoder, decoder):
            encoder, decoder = self.enc_proj(encoder), self.dec_enhance(decoder)
            alpha = torch.sigmoid(self.alpha(decoder).F)
            return ME.SparseTensor(
                alpha * encoder.F + (1 - alpha) * decoder.F,
                coordinate_map_key=decoder.coordinate_map_key,
                coordinate_manager=decoder.coordinate_manager,
            )

    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            channels = config.stem_channels
            self.conv0p1s1 = convolution(3, channels, 5)
            self.bn0 = ME.MinkowskiBatchNorm(channels)
            skipped = []
            for i, (outside, count) in enumerate(config.encoder, start=1):
                skipped.append(channels)
                setattr(self, f"conv{i}p{2 ** (i - 1)}s2", convolution(channels, channels, 2, 2))
                setattr(self, f"bn{i}", ME.MinkowskiBatchNorm(channels))
                setattr(self, f"block{i}", layer(channels, outside, count))
                channels = outside
            for i, (outside, count) in enumerate(config.decoder, start=4):
                encoder = skipped.pop()
                up = ME.MinkowskiConvolutionTranspose(
                    channels, outside, kernel_size=2, stride=2, dimension=3
                )
                setattr(self, f"convtr{i}p{2 ** (8 - i)}s2", up)
                setattr(self, f"bntr{i}", ME.MinkowskiBatchNorm(outside))
                if config.mc_skip:
                    setattr(self, f"gmr{i - 3}", Skip(encoder, outside))
                setattr(self, f"block{i + 1}", layer(outside + encoder, outside, count))
                channels = outside
            self.final_sematic = convolution(channels, config.point_channels, 1, bias=True)

        def forward(self, x):
            relu = ME.MinkowskiReLU()
            x = relu(self.bn0(self.conv0p1s1(x)))
            skipped = []
            for i in range(1, 5):
                skipped.append(x)
                x = getattr(self, f"conv{i}p{2 ** (i - 1)}s2")(x)
                x = getattr(self, f"block{i}")(relu(getattr(self, f"bn{i}")(x)))
            for i in range(4, 8):
                x = getattr(self, f"convtr{i}p{2 ** (8 - i)}s2")(x)
                x = relu(getattr(self, f"bntr{i}")(x))
                encoder = skipped.pop()
                if config.mc_skip:
                    x = getattr(self, f"gmr{i - 3}")(encoder, x)
                x = getattr(self, f"block{i + 1}")(ME.cat(x, encoder))
            return self.final_sematic(x)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            point, hidden = config.point_channels, config.head_channels
            self.backbone = Backbone()
            self.linear_offset = nn.Sequential(
                nn.Linear(point, point, bias=False), nn.BatchNorm1d(point), nn.PReLU(),
                nn.Linear(point, hidden, bias=False), nn.BatchNorm1d(hidden), nn.PReLU(),
                nn.Linear(hidden, config.out_channels),
            )  # fmt: skip

        def forward(self, features: Tensor, coordinates: Tensor) -> Tensor:
            # MinkowskiEngine keeps the order of rows that it is given
            return self.linear_offset(self.backbone(ME.SparseTensor(features, coordinates)).F)

    return Network()


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.skipif(
    importlib.util.find_spec("MinkowskiEngine") is None,
    reason="MinkowskiEngine is not installed: see docs/minkowski.md",
)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "config",
    [TINY, replace(TINY, mc_skip=False, out_channels=3)],
    ids=["mc4ad", "po3ad"],
)
def test_computes_what_the_published_network_computes(config, training, tmp_path):
    theirs = minkowski_network(config).double()
    assert theirs.state_dict().keys() == published(config).keys()
    theirs.load_state_dict({name: tensor.double() for name, tensor in published(config).items()})
    torch.save({"model": theirs.state_dict()}, tmp_path / "a.pth")
    ours, _ = import_published(tmp_path / "a.pth")

    grid = torch.floor(torch.cat([sphere(900), 0.6 * sphere(200, 1)]) / 0.06).int()
    rows = torch.cat([torch.arange(1100)[:, None] // 900, grid], dim=1).int()
    rows = torch.unique(rows, dim=0)  # sorted, two clouds
    features = torch.randn(len(rows), 3, dtype=torch.float64, generator=generator())
    expected = theirs.train(training)(features, rows)
    everyone = torch.arange(len(rows))  # one point in each voxel
    forces = ours.train(training)(features, CoordinatePyramid(rows), everyone)
    parts = [part for part in (forces.internal, forces.external) if part is not None]
    torch.testing.assert_close(torch.cat(parts, dim=1), expected, rtol=1e-8, atol=1e-8)
