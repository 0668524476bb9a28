# SPDX-License-Identifier: Apache-2.0
"""Parity with MinkowskiEngine. Run where it is installed: see docs/minkowski.md."""

import gc
import subprocess
import sys
import weakref

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip(
    "MinkowskiEngine", reason="MinkowskiEngine is not installed: see docs/minkowski.md"
)

import MinkowskiEngine as ME
import torch

from intravariance.errors import BackendUnavailable, InputError
from mc4ad_model.methods.mc4ad.architectures import ARCHITECTURES, NetworkConfig
from mc4ad_model.methods.mc4ad.network import CFPNet
from mc4ad_model.sparse import (
    COORDINATE_LIMIT,
    CoordinatePyramid,
    Geometry,
    SparseConvolution,
    get_backend,
    voxelise,
)
from tests.support.sparse_referees import (
    DOWN,
    GEOMETRIES,
    SUBMANIFOLD,
    UP,
    assert_close,
    name,
    random_operands,
    random_pyramid,
    rows,
    with_gradients,
)

TORCH, MINKOWSKI = get_backend("torch"), get_backend("minkowski")
POINTWISE = Geometry(1, 2, 2)
instantiates_functions = pytest.mark.filterwarnings(
    # its modules do, of which torch warns
    "ignore:<class 'MinkowskiConvolution:DeprecationWarning"
)
for_each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES, ids=name)


@for_each_geometry
@pytest.mark.parametrize("channels", [(1, 1), (3, 32), (32, 16)])
def test_both_backends_give_the_same(geometry, channels):
    pyramid = random_pyramid(sizes=(300, 40, 150), extent=9)
    features, kernel, gradient = random_operands(pyramid, geometry, channels)
    ours, theirs = (
        with_gradients(
            backend.convolve(features, kernel, pyramid, geometry), [features, kernel], gradient
        )
        for backend in (TORCH, MINKOWSKI)
    )
    assert_close(ours, theirs, 1e-12)


def test_both_backends_agree_at_the_edge_of_the_range():
    limit = COORDINATE_LIMIT
    corners = torch.cartesian_prod(torch.tensor([0, 1]), *[torch.tensor([-limit, limit])] * 3)
    shifts = torch.cartesian_prod(torch.tensor([0]), *[torch.tensor([0, 1])] * 3)
    inwards = corners[:, None] - torch.sign(corners)[:, None] * shifts  # 8 voxels at each corner
    inwards[..., 0] = corners[:, None, 0]
    pyramid = CoordinatePyramid(torch.unique(inwards.reshape(-1, 4), dim=0))
    assert pyramid.size() == 128
    for geometry in GEOMETRIES:
        features, kernel, gradient = random_operands(pyramid, geometry)
        ours, theirs = (
            with_gradients(
                backend.convolve(features, kernel, pyramid, geometry), [features, kernel], gradient
            )
            for backend in (TORCH, MINKOWSKI)
        )
        assert_close(ours, theirs, 1e-12)


# ---- MinkowskiEngine's own modules, whose coordinates and row order owe nothing to ours ----------


def their_module(geometry, inside, outside):
    kind = ME.MinkowskiConvolutionTranspose if geometry.transposed else ME.MinkowskiConvolution
    stride = 1 if geometry.source_stride == geometry.target_stride else 2
    return kind(inside, outside, geometry.kernel_size, stride, bias=True, dimension=3)


def their_input(features, pyramid, geometry):
    """Put the features on MinkowskiEngine's own strided coordinates, made from shuffled ones."""
    shuffled = torch.randperm(pyramid.size(), generator=torch.Generator().manual_seed(2))
    manager = ME.CoordinateManager(D=3)
    key, _ = manager.insert_and_map(pyramid.coordinates()[shuffled].contiguous(), 1)
    for _ in range(geometry.source_stride.bit_length() - 1):  # by 2 each, as in a network
        key = manager.stride(key, 2)
    ours = rows(pyramid.coordinates(geometry.source_stride))
    return ME.SparseTensor(
        features[[ours.index(row) for row in rows(manager.get_coordinates(key))]],
        coordinate_map_key=key,
        coordinate_manager=manager,
    )


@instantiates_functions
@pytest.mark.parametrize("geometry", [*GEOMETRIES, POINTWISE], ids=name)
def test_a_layer_equals_minkowski_engines_module(geometry):
    pyramid = random_pyramid()
    layer = SparseConvolution(3, 4, geometry, bias=True).double()
    module = their_module(geometry, 3, 4).double()
    module.load_state_dict(layer.state_dict())
    features, _, gradient = random_operands(pyramid, geometry)

    output = layer(features, pyramid)
    result = module(their_input(features, pyramid, geometry))
    target = rows(pyramid.coordinates(geometry.target_stride))
    assert sorted(rows(result.C)) == target
    assert set(result.tensor_stride) == {geometry.target_stride}
    theirs = [rows(result.C).index(row) for row in target]

    assert_close(
        with_gradients(output, [features, layer.kernel, layer.bias], gradient),
        with_gradients(result.F[theirs], [features, module.kernel, module.bias], gradient),
        1e-12,
    )


@instantiates_functions
@pytest.mark.parametrize("geometry", [*GEOMETRIES, POINTWISE], ids=name)
def test_initial_parameters_have_the_same_distribution(geometry):
    ours = SparseConvolution(
        40, 90, geometry, bias=True, generator=torch.Generator().manual_seed(0)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = their_module(geometry, 40, 90)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for key, values in theirs.state_dict().items():
        mine = ours.state_dict()[key]
        assert mine.shape == values.shape
        # Both uniform: the outermost of n numbers lie some 2/n of the bound inside it.
        for outermost in (torch.amax, torch.amin):
            expected = pytest.approx(outermost(values).item(), rel=20 / values.numel())
            assert outermost(mine).item() == expected


# ---- the backend's own conduct -----------------------------------------------------------------


@for_each_geometry
def test_coordinates_keep_their_rows(geometry):
    pyramid = random_pyramid()
    features, kernel, _ = random_operands(pyramid, geometry)
    MINKOWSKI.convolve(features, kernel, pyramid, geometry)
    maps = pyramid.shared["minkowski"]
    for stride in (geometry.source_stride, geometry.target_stride):
        inserted = maps.manager.get_coordinates(maps.keys[stride])
        assert torch.equal(inserted, pyramid.coordinates(stride))


def test_one_coordinate_manager_for_a_batch():
    pyramid = random_pyramid()
    layers = [SparseConvolution(3, 3, g, backend=MINKOWSKI) for g in (*SUBMANIFOLD, *DOWN, *UP)]
    managers = set()
    for layer in layers * 2:
        layer(torch.zeros(pyramid.size(layer.geometry.source_stride), 3), pyramid)
        managers.add(id(pyramid.shared["minkowski"].manager))
    assert len(managers) == 1
    # one coordinate map for each stride: MinkowskiEngine has made none of its own
    text = repr(pyramid.shared["minkowski"].manager)
    assert text.count("CoordinateMapCPU:") == 4


def test_the_number_of_threads_stays():
    pyramid = random_pyramid()
    threads = torch.get_num_threads()
    try:
        for count in (2, 1):
            torch.set_num_threads(count)
            features, kernel, _ = random_operands(pyramid, SUBMANIFOLD[0])
            MINKOWSKI.convolve(features, kernel, pyramid, SUBMANIFOLD[0])
            assert torch.get_num_threads() == count
            pyramid = random_pyramid()
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("geometry", [SUBMANIFOLD[0], DOWN[0], UP[0]], ids=name)
def test_operands_need_not_be_contiguous(geometry):
    pyramid = random_pyramid()
    features, kernel, gradient = random_operands(pyramid, geometry)
    expected = with_gradients(
        TORCH.convolve(features, kernel, pyramid, geometry), [features, kernel], gradient
    )
    crooked = [
        features.detach().t().contiguous().t().requires_grad_(),
        kernel.detach().transpose(0, 2).contiguous().transpose(0, 2).requires_grad_(),
    ]
    output = MINKOWSKI.convolve(*crooked, pyramid, geometry)
    assert_close(with_gradients(output, crooked, gradient), expected, 1e-12)


@pytest.mark.parametrize("geometry", [SUBMANIFOLD[0], DOWN[0], UP[0]], ids=name)
def test_autocast_computes_in_float32_and_gives_the_autocast_dtype(geometry):
    pyramid = random_pyramid()
    features, kernel, gradient = random_operands(pyramid, geometry, (8, 16), torch.float32)
    exact = with_gradients(
        MINKOWSKI.convolve(features, kernel, pyramid, geometry), [features, kernel], gradient
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = TORCH.convolve(features, kernel, pyramid, geometry)
        theirs = MINKOWSKI.convolve(features, kernel, pyramid, geometry)
    assert theirs.dtype == ours.dtype == torch.bfloat16
    rounded = with_gradients(theirs, [features, kernel], gradient.bfloat16())
    assert [x.dtype for x in rounded[1:]] == [torch.float32, torch.float32]
    # rounded once at the end, and once on the way back: 2**-9 each
    assert_close([x.float() for x in rounded], exact, 5e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_result_has_the_dtype_of_the_features(dtype):
    pyramid, geometry = random_pyramid(), SUBMANIFOLD[0]
    features, kernel, gradient = random_operands(pyramid, geometry, dtype=dtype)
    output = MINKOWSKI.convolve(features, kernel, pyramid, geometry)
    result = with_gradients(output, [features, kernel], gradient)
    assert {x.dtype for x in result} == {dtype}


@pytest.mark.parametrize("geometry", [SUBMANIFOLD[0], DOWN[0], UP[0]], ids=name)
def test_operands_that_do_not_fit(geometry):
    pyramid = random_pyramid()
    features, kernel, _ = random_operands(pyramid, geometry)
    for bad in [
        (features[1:], kernel),
        (features[:, 1:], kernel),
        (features, kernel[1:]),
        (features, kernel[0]),
        (features, kernel.float()),
        (features.long(), kernel.long()),
    ]:
        with pytest.raises(InputError, match=r"^(features|kernel)"):
            MINKOWSKI.convolve(*bad, pyramid, geometry)


def test_features_on_cuda_want_a_build_with_cuda():
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    pyramid = CoordinatePyramid(random_pyramid().coordinates().cuda())
    features, kernel, _ = (x.cuda() for x in random_operands(pyramid, SUBMANIFOLD[0]))
    if ME.is_cuda_available():
        assert_close(
            [MINKOWSKI.convolve(features, kernel, pyramid, SUBMANIFOLD[0]).cpu()],
            [TORCH.convolve(features, kernel, pyramid, SUBMANIFOLD[0]).cpu()],
            1e-12,
        )
    else:
        with pytest.raises(BackendUnavailable, match=r"without CUDA.*docs/minkowski\.md"):
            MINKOWSKI.convolve(features, kernel, pyramid, SUBMANIFOLD[0])


def test_importing_it_warns_of_nothing():
    result = subprocess.run(
        [
            *[sys.executable, "-W", "error", "-c"],
            "from mc4ad_model.sparse import *; print(get_backend('minkowski').name)",
        ],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.stderr) == ("minkowski\n", "")


def test_a_batch_leaves_nothing_behind():
    gc.collect()
    gc.disable()
    try:
        pyramid, geometry = random_pyramid(), SUBMANIFOLD[0]
        features, kernel, gradient = random_operands(pyramid, geometry)
        MINKOWSKI.convolve(features, kernel, pyramid, geometry).backward(gradient)
        kept = [weakref.ref(pyramid), weakref.ref(pyramid.shared["minkowski"].manager)]
        del pyramid
        assert [reference() for reference in kept] == [None, None]
    finally:
        gc.enable()


# ---- the whole network -------------------------------------------------------------------------


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
@pytest.mark.parametrize("training", [True, False])
def test_the_network_gives_the_same(arch, training):
    generator = torch.Generator().manual_seed(0)
    ours = CFPNet(NetworkConfig.named(arch, width=0.25), "torch")
    theirs = CFPNet(NetworkConfig.named(arch, width=0.25), "minkowski", generator)
    theirs.load_state_dict(ours.state_dict())
    theirs.double().train(training)
    clouds = [
        torch.nn.functional.normalize(torch.randn(n, 3, generator=generator, dtype=torch.float64))
        for n in (500, 260)
    ]
    voxels = voxelise(clouds, 0.06)
    features = torch.cat(clouds)[voxels.representative]
    ours.double().train(training)
    results = []
    for network in (ours, theirs):
        pyramid = CoordinatePyramid(voxels.coordinates)
        forces = network(features, pyramid, voxels.point_to_voxel)
        forces.combined.square().sum().backward()
        results.append({"force": forces.combined.detach()})
        for key, parameter in network.named_parameters():
            if parameter.grad is not None:
                results[-1][key] = parameter.grad
    assert len(results[0]) > 40
    if training:
        # Batch normalisation takes away what this adds: zero, but for rounding.
        for result in results:
            assert (
                result.pop("output.bias").abs().max() < 1e-12 * result["output.kernel"].abs().max()
            )
    assert_close(*(list(result.values()) for result in results), 1e-9)
