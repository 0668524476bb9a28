# SPDX-License-Identifier: Apache-2.0
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from intravariance.errors import InputError
from mc4ad_model.sparse import (
    CoordinatePyramid,
    Geometry,
    sparse_convolution,
    sparse_convolution_reference,
)
from mc4ad_model.sparse.convolution import Strategy, _choose
from tests.support.sparse_referees import (
    GEOMETRIES,
    assert_close,
    dense_convolution,
    dictionary_pairs,
    name,
    random_operands,
    random_pyramid,
    rows,
    with_gradients,
)

STRATEGIES = [None, *get_args(Strategy)]
for_each_geometry = pytest.mark.parametrize("geometry", GEOMETRIES, ids=name)
for_each_strategy = pytest.mark.parametrize("strategy", STRATEGIES)


def pyramid_of(*coordinates):
    return CoordinatePyramid(torch.tensor(sorted(coordinates)))


@for_each_strategy
@for_each_geometry
def test_equals_its_twin_and_the_dense_convolution(geometry, strategy):
    pyramid = random_pyramid()
    features, kernel, gradient = random_operands(pyramid, geometry)
    kernel_map = pyramid.kernel_map(geometry)
    outputs = [
        sparse_convolution(features, kernel, kernel_map, strategy=strategy),
        sparse_convolution_reference(features, kernel, kernel_map),
        dense_convolution(features, kernel, pyramid, geometry),
    ]
    fast, twin, dense = (with_gradients(y, [features, kernel], gradient) for y in outputs)
    assert_close(fast, twin, 1e-12)
    assert_close(fast, dense, 1e-12)


@for_each_geometry
def test_equals_the_sum_over_a_dictionary(geometry):
    pyramid = random_pyramid()
    features, kernel, _ = random_operands(pyramid, geometry)
    source, target = (
        rows(pyramid.coordinates(s)) for s in (geometry.source_stride, geometry.target_stride)
    )
    expected = torch.zeros(len(target), kernel.shape[2], dtype=torch.float64)
    for k, i, o in dictionary_pairs(source, target, geometry):
        expected[o] += (features[i] @ kernel[k]).detach()
    actual = sparse_convolution(features, kernel, pyramid.kernel_map(geometry))
    assert_close([actual.detach()], [expected], 1e-12)


@for_each_strategy
@for_each_geometry
def test_gradients_are_those_of_finite_differences(geometry, strategy):
    pyramid = random_pyramid(sizes=(6, 4), extent=2)
    features, kernel, _ = random_operands(pyramid, geometry, channels=(2, 2))
    if geometry.kernel_size == 5:  # 500 numbers of which most meet no voxel
        features, kernel = features[:, :1].detach(), kernel[:, :1, :1].detach()
        features.requires_grad_(), kernel.requires_grad_()
    kernel_map = pyramid.kernel_map(geometry)
    assert torch.autograd.gradcheck(
        lambda x, w: sparse_convolution(x, w, kernel_map, strategy=strategy), (features, kernel)
    )


@for_each_strategy
@pytest.mark.parametrize("channels", [(1, 16), (3, 32), (32, 64), (64, 32)])
def test_float32(channels, strategy):
    # more voxels than one block holds
    pyramid = random_pyramid(sizes=(6000, 900), extent=13)
    for geometry in (Geometry(3, 1, 1), Geometry(5, 2, 2), Geometry(2, 1, 2), Geometry(2, 2, 1)):
        features, kernel, gradient = random_operands(pyramid, geometry, channels, torch.float32)
        kernel_map = pyramid.kernel_map(geometry)
        output = sparse_convolution(features, kernel, kernel_map, strategy=strategy)
        twin = sparse_convolution_reference(features.double(), kernel.double(), kernel_map)
        assert output.dtype == torch.float32
        actual = with_gradients(output, [features, kernel], gradient)
        expected = with_gradients(twin, [features, kernel], gradient.double())
        assert_close(actual, [x.float() for x in expected], 1e-5)


@for_each_strategy
def test_more_voxels_than_one_block_holds(strategy):
    pyramid = random_pyramid(sizes=(20_000,), extent=15)
    geometry = Geometry(3, 1, 1)
    features, kernel, gradient = random_operands(pyramid, geometry, (32, 32))
    kernel_map = pyramid.kernel_map(geometry)
    outputs = [
        sparse_convolution(features, kernel, kernel_map, strategy=strategy),
        dense_convolution(features, kernel, pyramid, geometry),
    ]
    fast, dense = (with_gradients(y, [features, kernel], gradient) for y in outputs)
    assert_close(fast, dense, 1e-12)


@for_each_strategy
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_a_voxel_alone_sees_itself(kernel_size, strategy):
    # the second far from the first, the third in another cloud
    pyramid = pyramid_of((0, 0, 0, 0), (0, 3, 0, 0), (1, 0, 0, 0))
    geometry = Geometry(kernel_size, 1, 1)
    features, kernel, gradient = random_operands(pyramid, geometry)
    output = sparse_convolution(features, kernel, pyramid.kernel_map(geometry), strategy=strategy)
    of_features, of_kernel = torch.autograd.grad(output, [features, kernel], gradient)
    centre = kernel_size**3 // 2
    torch.testing.assert_close(output, features @ kernel[centre])
    torch.testing.assert_close(of_features, gradient @ kernel[centre].t())
    assert of_kernel.abs().sum((1, 2)).nonzero().flatten().tolist() == [centre]


@for_each_strategy
@for_each_geometry
def test_one_voxel(geometry, strategy):
    pyramid = pyramid_of((0, -3, 5, -1))
    features, kernel, gradient = random_operands(pyramid, geometry)
    outputs = [
        sparse_convolution(features, kernel, pyramid.kernel_map(geometry), strategy=strategy),
        dense_convolution(features, kernel, pyramid, geometry),
    ]
    fast, dense = (with_gradients(y, [features, kernel], gradient) for y in outputs)
    assert_close(fast, dense, 1e-12)


@for_each_strategy
@for_each_geometry
def test_only_one_operand_wants_a_gradient(geometry, strategy):
    pyramid = random_pyramid()
    features, kernel, gradient = random_operands(pyramid, geometry)
    kernel_map = pyramid.kernel_map(geometry)
    _, of_features, of_kernel = with_gradients(
        sparse_convolution_reference(features, kernel, kernel_map), [features, kernel], gradient
    )
    frozen = sparse_convolution(features, kernel.detach(), kernel_map, strategy=strategy)
    assert_close(torch.autograd.grad(frozen, [features], gradient), [of_features], 1e-12)
    first = sparse_convolution(features.detach(), kernel, kernel_map, strategy=strategy)
    assert_close(torch.autograd.grad(first, [kernel], gradient), [of_kernel], 1e-12)
    neither = sparse_convolution(features.detach(), kernel.detach(), kernel_map, strategy=strategy)
    assert not neither.requires_grad


@for_each_strategy
def test_operands_need_not_be_contiguous(strategy):
    pyramid, geometry = random_pyramid(), Geometry(3, 1, 1)
    features, kernel, gradient = random_operands(pyramid, geometry)
    kernel_map = pyramid.kernel_map(geometry)
    expected = with_gradients(
        sparse_convolution_reference(features, kernel, kernel_map), [features, kernel], gradient
    )
    crooked = [
        features.detach().t().contiguous().t().requires_grad_(),
        kernel.detach().transpose(0, 2).contiguous().transpose(0, 2).requires_grad_(),
    ]
    output = sparse_convolution(*crooked, kernel_map, strategy=strategy)
    # one row for all: a gradient whose strides are zero, as the sum's
    assert_close(with_gradients(output, crooked, gradient), expected, 1e-12)
    ones = torch.ones(1, 4, dtype=torch.float64).expand(gradient.shape)
    again = sparse_convolution(*crooked, kernel_map, strategy=strategy)
    assert_close(
        torch.autograd.grad(again, crooked, ones),
        torch.autograd.grad(
            sparse_convolution_reference(features, kernel, kernel_map), [features, kernel], ones
        ),
        1e-12,
    )


@for_each_strategy
@for_each_geometry
def test_autocast_computes_in_bfloat16(geometry, strategy):
    pyramid = random_pyramid()
    features, kernel, gradient = random_operands(pyramid, geometry, (8, 16), torch.float32)
    kernel_map = pyramid.kernel_map(geometry)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = sparse_convolution(features, kernel, kernel_map, strategy=strategy)
    assert output.dtype == torch.bfloat16
    actual = with_gradients(output, [features, kernel], gradient.bfloat16())
    expected = with_gradients(
        sparse_convolution_reference(features, kernel, kernel_map), [features, kernel], gradient
    )
    # parameters keep their dtype, and so do their gradients
    assert [x.dtype for x in actual[1:]] == [torch.float32, torch.float32]
    # 8 bits: 2**-9 an operand, and sums of products of the 8-bit results
    assert_close([x.float() for x in actual], expected, 2e-2)


def test_inference_mode_first_and_training_after():
    """Buffers that were made in inference mode could not be written to outside it."""
    pyramid, geometry = random_pyramid(), Geometry(3, 1, 1)
    features, kernel, gradient = random_operands(pyramid, geometry)
    kernel_map = pyramid.kernel_map(geometry)

    def infer_and_train(strategy):
        with torch.inference_mode():
            expected = sparse_convolution(features, kernel, kernel_map, strategy=strategy)
        output = sparse_convolution(features, kernel, kernel_map, strategy=strategy)
        output.backward(gradient)
        return torch.equal(output, expected)

    for strategy in STRATEGIES:
        # buffers belong to a thread: a new one has none yet
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(infer_and_train, strategy).result()


@for_each_strategy
def test_sums_come_in_the_same_order_every_time(strategy):
    pyramid, geometry = random_pyramid(sizes=(3000, 500), extent=10), Geometry(3, 1, 1)
    features, kernel, gradient = random_operands(pyramid, geometry, (16, 16), torch.float32)
    kernel_map = pyramid.kernel_map(geometry)
    first, second = (
        with_gradients(
            sparse_convolution(features, kernel, kernel_map, strategy=strategy),
            [features, kernel],
            gradient,
        )
        for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("features", "kernel", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(27, 2, 4), r"features: expected \(2, C\).*found \(3, 2\)"),
        (torch.zeros(2), torch.zeros(27, 2, 4), r"features: .*found \(2,\)"),
        (torch.zeros(2, 3), torch.zeros(27, 2, 4), r"kernel: expected \(27, 3, C_out\)"),
        (torch.zeros(2, 2), torch.zeros(8, 2, 4), r"kernel: .*found \(8, 2, 4\)"),
        (torch.zeros(2, 2), torch.zeros(2, 4), r"kernel: .*found \(2, 4\)"),
        (torch.zeros(2, 2), torch.zeros(27, 2, 4).double(), "float32 and torch.float64"),
        (torch.zeros(2, 2).int(), torch.zeros(27, 2, 4).int(), "floating-point.*torch.int32"),
    ],
)
def test_operands_that_do_not_fit(features, kernel, message):
    kernel_map = pyramid_of((0, 0, 0, 0), (0, 0, 0, 1)).kernel_map(Geometry(3, 1, 1))
    with pytest.raises(InputError, match=message):
        sparse_convolution(features, kernel, kernel_map)


@pytest.mark.parametrize(
    ("kernel_size", "device", "chosen"),
    [(5, "meta", "im2col"), (3, "meta", "pairs"), (5, "cpu", "pairs")],
)
def test_a_large_kernel_is_one_product_on_other_devices_than_the_cpu(kernel_size, device, chosen):
    """As that of a preset whose stem has 28 channels; "meta" stands for a device without data."""
    cells = torch.unique(
        torch.randint(0, 30, (500, 3), generator=torch.Generator().manual_seed(0)), dim=0
    )
    pyramid = CoordinatePyramid(torch.nn.functional.pad(cells, (1, 0)).int())
    table = pyramid.kernel_map(Geometry(kernel_size, 1, 1)).forward
    assert _choose(table, torch.empty(len(cells), 28, device=device)) == chosen
