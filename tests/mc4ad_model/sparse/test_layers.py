# SPDX-License-Identifier: Apache-2.0
import copy
import gc
import importlib.util
import math
import os
import subprocess
import sys
import weakref

import psutil
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from intravariance.errors import BackendUnavailable, InputError
from mc4ad_model.sparse import (
    CoordinatePyramid,
    Epilogue,
    Geometry,
    SparseConvolution,
    TorchBackend,
    get_backend,
    sparse_convolution_reference,
    voxelise,
)
from tests.support.sparse_referees import GEOMETRIES, name, random_pyramid

for_each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES, ids=name)
POINTWISE = Geometry(1, 2, 2)


@for_each_geometry
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_an_epilogue_normalises_adds_and_cuts(geometry, bias, training):
    pyramid = random_pyramid()
    layer = SparseConvolution(3, 5, geometry, bias=bias).double()
    features = torch.randn(pyramid.size(geometry.source_stride), 3, dtype=torch.float64)
    plain = layer(features, pyramid)
    norm = torch.nn.BatchNorm1d(5).double().train(training)
    with torch.no_grad():
        norm.running_mean.copy_(torch.linspace(-1, 1, 5))
        norm.running_var.copy_(torch.linspace(0.5, 2, 5))
    statistics = norm.running_mean.clone(), norm.running_var.clone()
    if training:
        statistics = plain.mean(0), plain.var(0, correction=0)
    normalised = (plain - statistics[0]) / (statistics[1] + norm.eps).sqrt()
    added = torch.randn_like(plain)
    assert torch.allclose(layer(features, pyramid, Epilogue(norm, relu=False)), normalised)
    if not training:
        both = layer(features, pyramid, Epilogue(norm, True, added))
        assert torch.allclose(both, (normalised + added).clamp(min=0))


@for_each_geometry
@pytest.mark.parametrize("bias", [False, True])
def test_is_the_convolution_and_its_bias(geometry, bias):
    pyramid = random_pyramid()
    layer = SparseConvolution(3, 5, geometry, bias=bias).double()
    features = torch.randn(pyramid.size(geometry.source_stride), 3, dtype=torch.float64)
    expected = sparse_convolution_reference(features, layer.kernel, pyramid.kernel_map(geometry))
    torch.testing.assert_close(layer(features, pyramid), expected + (layer.bias if bias else 0))


def test_kernel_size_1_is_a_matrix_product():
    pyramid = random_pyramid()
    layer = SparseConvolution(3, 5, POINTWISE, bias=True)
    features = torch.randn(pyramid.size(2), 3)
    torch.testing.assert_close(layer(features, pyramid), features @ layer.kernel + layer.bias)


@pytest.mark.parametrize("geometry", [*GEOMETRIES, POINTWISE], ids=name)
def test_parameters_have_minkowski_engines_layout_and_distribution(geometry):
    generator = torch.Generator().manual_seed(0)
    layer = SparseConvolution(40, 90, geometry, bias=True, generator=generator)
    shapes = {key: tuple(value.shape) for key, value in layer.state_dict().items()}
    matrix = (40, 90)
    kernel = matrix if geometry.kernel_size == 1 else (geometry.kernel_size**3, *matrix)
    assert shapes == {"kernel": kernel, "bias": (1, 90)}
    assert list(SparseConvolution(2, 3, geometry).state_dict()) == ["kernel"]
    fan = geometry.kernel_size**3 * (90 if geometry.transposed else 40)
    bound = 1 / math.sqrt(fan)
    for values in layer.parameters():
        assert values.abs().max() <= bound
        # of at least 90 uniform numbers: no smaller bound, nor one sign
        assert values.max() > 0.9 * bound
        assert values.min() < -0.9 * bound
    assert layer.kernel.var().item() == pytest.approx(bound**2 / 3, rel=0.1)


def test_parameters_come_from_the_generator():
    first, second, other = (
        SparseConvolution(4, 4, GEOMETRIES[0], generator=torch.Generator().manual_seed(seed))
        for seed in (7, 7, 8)
    )
    assert torch.equal(first.kernel, second.kernel)
    assert not torch.equal(first.kernel, other.kernel)


def test_a_layer_can_be_copied_and_printed():
    layer = SparseConvolution(3, 5, Geometry(2, 2, 4), backend=get_backend())
    twin = copy.deepcopy(layer)
    assert torch.equal(twin.kernel, layer.kernel)
    assert twin.kernel is not layer.kernel
    assert "3 -> 5" in repr(layer)
    assert "stride 2 -> 4" in repr(layer)


def test_backends_by_name():
    assert isinstance(get_backend("torch"), TorchBackend)
    assert get_backend().name == "torch"
    with pytest.raises(InputError, match="'spconv': expected one of torch, triton, minkowski"):
        get_backend("spconv")


@pytest.mark.skipif(
    importlib.util.find_spec("MinkowskiEngine") is not None, reason="MinkowskiEngine is installed"
)
def test_a_backend_that_is_not_installed():
    with pytest.raises(BackendUnavailable, match=r"not installed.*docs/minkowski\.md"):
        get_backend("minkowski")


def test_a_backend_that_is_broken(tmp_path):
    # what an installation without the patches, or of another torch, does
    (tmp_path / "MinkowskiEngine.py").write_text("from collections import Sequence")
    result = subprocess.run(
        [sys.executable, "-c", "from mc4ad_model.sparse import *; get_backend('minkowski')"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    last = result.stderr.splitlines()[-1]
    assert last.startswith("intravariance.errors.BackendUnavailable: ")
    assert "cannot import name 'Sequence'" in last
    assert "docs/minkowski.md" in last


class Ladder(torch.nn.Module):
    """Down one stride and up again, with the kinds of layer that a network has."""

    def __init__(self):
        super().__init__()
        self.stem = SparseConvolution(3, 8, Geometry(3, 1, 1))
        self.down = SparseConvolution(8, 16, Geometry(2, 1, 2))
        self.middle = SparseConvolution(16, 16, Geometry(3, 2, 2))
        self.up = SparseConvolution(16, 8, Geometry(2, 2, 1))

    def forward(self, features, pyramid):
        fine = self.stem(features, pyramid).relu()
        coarse = self.middle(self.down(fine, pyramid).relu(), pyramid).relu()
        return self.up(coarse, pyramid) + fine


def step(network, points, generator):
    cloud = torch.rand(points, 3, generator=generator)
    voxels = voxelise([cloud, cloud[: points // 3] - 0.5], 0.1)
    pyramid = CoordinatePyramid(voxels.coordinates)
    features = torch.cat([cloud, cloud[: points // 3]])[voxels.representative]
    network(features, pyramid).square().mean().backward()
    return weakref.ref(pyramid), weakref.ref(pyramid.kernel_map(Geometry(3, 2, 2)).forward)


def test_a_training_step_leaves_nothing_behind():
    network, generator = Ladder(), torch.Generator().manual_seed(0)
    gc.collect()
    gc.disable()
    try:
        kept = step(network, 300, generator)
        assert [reference() for reference in kept] == [None, None]
    finally:
        gc.enable()


def test_memory_does_not_grow_over_1000_clouds_of_different_sizes():
    network, generator = Ladder(), torch.Generator().manual_seed(0)
    process = psutil.Process()
    sizes = torch.randint(10, 120, (1000,), generator=generator).tolist()
    for points in [120, *sizes[:100]]:
        step(network, points, generator)
    before = process.memory_info().rss
    for points in sizes:
        step(network, points, generator)
    # If pyramids were kept, it would grow by 60 MB.
    assert process.memory_info().rss - before < 20e6
