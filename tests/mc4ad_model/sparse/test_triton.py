# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels, in Triton's interpreter where there is no CUDA device."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported
pytest.importorskip("triton", reason="Triton is not installed: pip install triton")

import triton

from intravariance.errors import BackendUnavailable
from mc4ad_model.methods.mc4ad.architectures import ARCHITECTURES
from mc4ad_model.methods.mc4ad.checkpoints import load_checkpoint, save_checkpoint
from mc4ad_model.methods.mc4ad.network import CFPNet
from mc4ad_model.sparse import (
    CoordinatePyramid,
    Epilogue,
    Geometry,
    get_backend,
    sparse_convolution,
)
from mc4ad_model.sparse import triton_backend as backend_module
from mc4ad_model.sparse.kernel_maps import NeighbourTable
from mc4ad_model.sparse.tiles import make_pairs, make_tiles
from mc4ad_model.sparse.triton_convolution import triton_convolution
from tests import ROOT
from tests.support.networks import sphere
from tests.support.sparse_referees import (
    name,
    random_operands,
    random_pyramid,
    with_gradients,
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
KERNELS = [Geometry(3, 1, 1), Geometry(3, 2, 2), Geometry(2, 1, 2), Geometry(2, 2, 1)]


def lattice(*sizes, step=1):
    """Return a full block of voxels, all of them neighbours."""
    axes = [torch.arange(0, size * step, step) for size in (1, *sizes)]
    return torch.cartesian_prod(*axes)


CLOUDS = {
    "random": random_pyramid((60, 5, 40), extent=4).coordinates(),
    "one voxel": torch.tensor([[0, 3, -2, 1]]),
    "no two are neighbours": lattice(4, 3, 2, step=4),
    "all are neighbours": lattice(4, 4, 3),
    "a row longer than a tile": lattice(1, 1, 37),
}


def compare(pyramid, geometry, channels, dtype=torch.float32, tolerance=1e-5):
    features, kernel, gradient = random_operands(pyramid, geometry, channels)
    there = CoordinatePyramid(pyramid.coordinates().to(DEVICE))

    def run(convolve, pyramid, dtype, where):
        operands = [x.detach().to(where, dtype).requires_grad_() for x in (features, kernel)]
        output = convolve(*operands, pyramid.kernel_map(geometry))
        return with_gradients(output, operands, gradient.to(where, dtype))

    expected = run(sparse_convolution, pyramid, torch.float64, "cpu")
    first = run(triton_convolution, there, dtype, DEVICE)
    second = run(triton_convolution, there, dtype, DEVICE)
    for found, again, right in zip(first, second, expected, strict=True):
        assert torch.equal(found, again)
        assert found.dtype == dtype
        largest = right.abs().max().clamp(min=1e-30)
        assert (found.double().cpu() - right).abs().max() / largest <= tolerance


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("geometry", KERNELS, ids=name)
def test_values_and_gradients_equal_the_referee(geometry, cloud):
    compare(CoordinatePyramid(CLOUDS[cloud]), geometry, (16, 16))


@pytest.mark.parametrize("channels", [(3, 5), (20, 33), (40, 8)])
def test_channels_that_fill_no_tile(channels):
    compare(CoordinatePyramid(CLOUDS["a row longer than a tile"]), Geometry(3, 1, 1), channels)


@pytest.mark.parametrize(
    "dtype", [torch.float16, *([torch.bfloat16] if DEVICE == "cuda" else [])], ids=str
)
def test_half_precision_sums_in_float32(dtype):
    """Triton's interpreter multiplies bfloat16 wrongly, so that this needs a device."""
    pyramid = CoordinatePyramid(CLOUDS["all are neighbours"])
    compare(pyramid, Geometry(3, 1, 1), (16, 16), dtype, tolerance=2e-2)


def test_half_precision_is_rounded_once():
    """The second mask word adds to float32 sums, not to what the first one rounded."""
    pyramid, geometry = CoordinatePyramid(CLOUDS["all are neighbours"]), Geometry(3, 1, 1)
    features, kernel, _ = random_operands(pyramid, geometry, (16, 16), torch.float16)
    kernel_map = CoordinatePyramid(pyramid.coordinates().to(DEVICE)).kernel_map(geometry)
    found = triton_convolution(features.detach().to(DEVICE), kernel.detach().to(DEVICE), kernel_map)
    exact = sparse_convolution(features.double(), kernel.double(), pyramid.kernel_map(geometry))
    rounding = 2.0**-11 * exact.abs() + 1e-5  # half of float16's last place, and float32's sums
    assert ((found.cpu().double() - exact).abs() <= rounding).all()


def normalising(channels):
    norm = torch.nn.BatchNorm1d(channels).to(DEVICE).eval()
    with torch.no_grad():
        for place, tensor in enumerate((norm.running_mean, norm.weight, norm.bias)):
            tensor.copy_(torch.linspace(-1, 2, channels).roll(place))
        norm.running_var.copy_(torch.linspace(0.5, 3, channels))
    return norm


@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("geometry", [KERNELS[0], KERNELS[2]], ids=name)
def test_an_epilogue_in_the_kernel_is_the_epilogue_after_it(geometry, relu, added):
    pyramid = CoordinatePyramid(CLOUDS["a row longer than a tile"].to(DEVICE))
    operands = random_operands(pyramid, geometry, (5, 20), torch.float32)
    features, kernel, other = (x.detach().to(DEVICE) for x in operands)
    norm, backend = normalising(20), get_backend("triton")
    calls = []
    norm.register_forward_hook(lambda *_: calls.append(1))
    epilogue = Epilogue(norm, relu, other if added else None)
    expected = get_backend("torch").convolve(features, kernel, pyramid, geometry, epilogue)
    with torch.no_grad():
        found = backend.convolve(features, kernel, pyramid, geometry, epilogue)
    assert len(calls) == 1  # of plain torch
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    # with gradients, and in training, it is no part of the kernel
    again = backend.convolve(features.requires_grad_(), kernel, pyramid, geometry, epilogue)
    assert again.requires_grad and len(calls) == 2
    norm.train()
    with torch.no_grad():
        backend.convolve(features, kernel, pyramid, geometry, epilogue)
    assert len(calls) == 3


@pytest.mark.parametrize("kind", ["no statistics", "no weights", "one row", "other dtype"])
def test_an_epilogue_that_no_kernel_computes_comes_after_it(kind):
    pyramid, geometry = CoordinatePyramid(CLOUDS["all are neighbours"].to(DEVICE)), KERNELS[0]
    operands = random_operands(pyramid, geometry, (4, 8), torch.float32)
    features, kernel, added = (x.detach().to(DEVICE) for x in operands)
    tracked, affine = kind != "no statistics", kind != "no weights"
    norm = torch.nn.BatchNorm1d(8, affine=affine, track_running_stats=tracked).to(DEVICE).eval()
    added = added[:1] if kind == "one row" else added.double() if kind == "other dtype" else added
    with torch.no_grad():
        found, expected = (
            get_backend(name).convolve(
                features, kernel, pyramid, geometry, Epilogue(norm, True, added)
            )
            for name in ("triton", "torch")
        )
    assert found.dtype == expected.dtype
    assert torch.allclose(found, expected, atol=1e-5)


def test_relu_in_the_kernel_leaves_what_is_no_number():
    pyramid, geometry = CoordinatePyramid(CLOUDS["all are neighbours"].to(DEVICE)), KERNELS[0]
    operands = random_operands(pyramid, geometry, (16, 16), torch.float32)
    features, kernel, _ = (x.detach().to(DEVICE) for x in operands)
    features[0] = float("nan")
    with torch.no_grad():
        epilogue = Epilogue(normalising(16), relu=True)
        found = get_backend("triton").convolve(features, kernel, pyramid, geometry, epilogue)
        right = get_backend("torch").convolve(features, kernel, pyramid, geometry, epilogue)
    assert torch.equal(found.isnan(), right.isnan()) and right.isnan().any()


def test_the_compiler_takes_the_kernels(tmp_path):
    """For devices of capability 8.0 and 9.0, ahead of time, in a process without interpreter."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.compiled_kernels"],
        env=environment, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["variants"] == 1
    assert len(found["shared"]) == 2 * 2 * 3 + 2
    for compiled, shared in found["shared"].items():
        # what a program may have at least where this tile is taken: capabilities 8.6 and 12.0
        assert 0 < shared <= 101_376, compiled


@pytest.mark.parametrize("words", [1, 2, 3])
@pytest.mark.parametrize("rows", [4, 16, 64])
def test_tiles_hold_every_pair_once(words, rows):
    table = CoordinatePyramid(CLOUDS["random"]).kernel_map(Geometry(3, 1, 1)).forward
    found = set()
    for tiles in make_tiles(table, rows, words):
        order = tiles.order.view(-1, rows)
        assert sorted(order.flatten().tolist())[: table.targets] == list(range(table.targets))
        for tile, count in enumerate(tiles.counts.tolist()):
            offsets = tiles.live[tile, :count].tolist()
            assert offsets == sorted(set(offsets))
            for row in order[tile][order[tile] < table.targets].tolist():
                pairs = {(k, row) for k in offsets if table.table[k, row] != table.sources}
                assert not pairs & found
                found |= pairs
    assert len(found) == table.pairs


def test_pairs_are_the_rows_that_have_a_source():
    table = CoordinatePyramid(CLOUDS["random"]).kernel_map(Geometry(3, 1, 1)).forward
    pairs = make_pairs(table)
    for k, count in enumerate(pairs.counts.tolist()):
        expected = (table.table[k] != table.sources).nonzero()[:, 0].tolist()
        assert pairs.targets[k, :count].tolist() == expected


def test_another_form_of_a_table_is_made_once():
    table, made = NeighbourTable(torch.zeros(1, 1, dtype=torch.int32), 1), []
    for _ in range(2):
        assert table.kept("form", lambda: made.append(1) or "made") == "made"
    assert made == [1]


def test_the_network_gives_the_same_with_either_backend():
    config = ARCHITECTURES["released"]
    config = type(config)(width=0.05, voxel_size=0.5)
    clouds = [sphere(60).float().to(DEVICE)]
    plain, ours = (CFPNet(config, name).to(DEVICE) for name in ("torch", "triton"))
    expected, found = (network.predict(clouds)[0].combined for network in (plain, ours))
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.fixture
def untested():
    """Forget that the kernels were tested in this process, before and after."""
    backend_module._fault.cache_clear()
    yield
    backend_module._fault.cache_clear()


def test_a_saved_network_is_read_with_this_backend(tmp_path, capsys, untested):
    config = ARCHITECTURES["released"]
    config = type(config)(width=0.05, voxel_size=0.5)
    network = CFPNet(config, "torch")
    save_checkpoint(tmp_path / "net", network, {})
    read, _ = load_checkpoint(tmp_path / "net", "triton")
    assert read.stem[0].convolution.backend.works
    assert capsys.readouterr().err == ""
    for key, tensor in network.state_dict().items():
        assert torch.equal(read.state_dict()[key], tensor)


def test_a_kernel_that_disagrees_is_not_used(monkeypatch, capsys, untested):
    engine = backend_module._engine()

    def wrong(*operands):
        return 1.5 * triton_convolution(*operands)

    monkeypatch.setattr(engine, "triton_convolution", wrong)
    backend = get_backend("triton")
    assert not backend.works
    assert "differ from plain torch by 5.0e-01" in capsys.readouterr().err
    assert not get_backend("triton").works
    assert capsys.readouterr().err == ""  # it was said
    plain_torch_computes(backend)


def plain_torch_computes(backend):
    pyramid = CoordinatePyramid(CLOUDS["random"].to(DEVICE))
    features, kernel, _ = (
        x.detach().to(DEVICE) for x in random_operands(pyramid, KERNELS[0], dtype=torch.float32)
    )
    expected = sparse_convolution(features, kernel, pyramid.kernel_map(KERNELS[0]))
    assert torch.equal(backend.convolve(features, kernel, pyramid, KERNELS[0]), expected)


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libtriton.so: undefined symbol"),
        RuntimeError("Failed to find C compiler. Please specify via CC environment variable."),
        triton.compiler.errors.CompilationError("def f(): pass", None, "no such\nname"),
        triton.runtime.errors.OutOfResources(200_000, 101_376, "shared memory"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_kernels_that_cannot_run_are_not_used(error, monkeypatch, capsys, untested):
    def fails(*operands):
        raise error

    monkeypatch.setattr(backend_module._engine(), "triton_convolution", fails)
    backend = get_backend("triton")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"cannot be used here ({type(error).__name__}: " in said
    assert "plain torch computes instead" in said
    plain_torch_computes(backend)


def test_a_device_that_a_kernel_broke_is_no_backend(monkeypatch, untested):
    def broken(device):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(backend_module, "_device", lambda: torch.device("cuda", 0))
    monkeypatch.setattr(backend_module, "_differences", broken)
    monkeypatch.setattr(torch.cuda, "synchronize", broken)
    with pytest.raises(BackendUnavailable, match=r"illegal memory access.*--backend torch"):
        get_backend("triton")


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(backend_module, "find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r"Triton is not installed.*--backend torch"):
        get_backend("triton")
    old = tmp_path / "triton.py"
    old.write_text("__version__ = '2.1.0'\n")
    spec = importlib.util.spec_from_file_location("triton", old)
    monkeypatch.setattr(backend_module, "find_spec", lambda name: spec)
    with pytest.raises(BackendUnavailable, match=r"found Triton 2\.1; expected 3\.2.*torch"):
        get_backend("triton")
    monkeypatch.undo()
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendUnavailable, match=r"torch finds none.*--backend torch"):
        get_backend("triton")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Old")
    with pytest.raises(BackendUnavailable, match=r"Old has compute capability 7\.5.*8\.0"):
        get_backend("triton")
