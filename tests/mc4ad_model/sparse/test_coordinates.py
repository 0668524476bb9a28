# SPDX-License-Identifier: Apache-2.0
import gc
import itertools
import math
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from intravariance.errors import InputError
from mc4ad_model.sparse import (
    BATCH_LIMIT,
    COORDINATE_LIMIT,
    CoordinatePyramid,
    Geometry,
    unique_coordinates,
    voxelise,
)
from tests.support.sparse_referees import (
    DOWN,
    GEOMETRIES,
    dictionary_pairs,
    name,
    random_pyramid,
    rows,
    strided,
)

# Multiples of a half and of a voxel edge: points on the faces of voxels, and many duplicates.
POSITION = st.one_of(
    st.integers(-9, 9).map(lambda i: i / 2), st.integers(-9, 9).map(lambda i: i * 0.03)
)
CLOUD = st.lists(st.tuples(POSITION, POSITION, POSITION), min_size=1, max_size=30)
VOXEL_SIZE = st.sampled_from([0.03, 0.5, 1, 1.7, 100])
# Near the origin, and in the corners of the range, where a neighbour is nearest to running over
# into another row, slice or cloud.
NEAR = st.integers(-3, 3)
EDGE = st.builds(
    lambda sign, i: sign * (COORDINATE_LIMIT - i), st.sampled_from([-1, 1]), st.integers(0, 2)
)
COORDINATE = st.one_of(NEAR, EDGE)
BATCH = st.sampled_from([0, 0, 0, 1, 2, BATCH_LIMIT - 1])
VOXELS = st.one_of(
    st.sets(st.tuples(BATCH, COORDINATE, COORDINATE, COORDINATE), min_size=1, max_size=60),
    st.sets(st.tuples(st.integers(0, 1), NEAR, NEAR, NEAR), min_size=1, max_size=200),
)
STRIDE = st.sampled_from([1, 2, 4, 8, 16, 2**15, 2**16])


def pyramid_of(coordinates):
    return CoordinatePyramid(torch.tensor(sorted(coordinates)))


def pairs(table):
    """List the (k, source row, target row) of a `NeighbourTable`."""
    return {
        (k, source, target)
        for k, sources in enumerate(table.table.tolist())
        for target, source in enumerate(sources)
        if source != table.sources
    }


# ---- voxelise ----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(CLOUD, min_size=1, max_size=4), VOXEL_SIZE)
def test_voxels_are_those_of_a_dictionary(clouds, voxel_size):
    voxels = voxelise([torch.tensor(c, dtype=torch.float64) for c in clouds], voxel_size)
    cells = [
        (batch, *(math.floor(x / voxel_size) for x in point))
        for batch, cloud in enumerate(clouds)
        for point in cloud
    ]
    first = {}
    for row, cell in enumerate(cells):
        first.setdefault(cell, row)
    assert rows(voxels.coordinates) == sorted(first)
    assert voxels.representative.tolist() == [first[cell] for cell in sorted(first)]
    assert [rows(voxels.coordinates)[v] for v in voxels.point_to_voxel.tolist()] == cells
    assert voxels.coordinates.dtype == torch.int32
    assert voxels.representative.dtype == voxels.point_to_voxel.dtype == torch.int64


def test_negative_coordinates_are_rounded_down():
    cloud = torch.tensor([[-0.25, -1.0, -1.25], [0.0, 0.75, 1.0]])
    assert rows(voxelise([cloud], 1).coordinates) == [(0, -1, -1, -2), (0, 0, 0, 1)]


def test_one_point():
    voxels = voxelise([torch.tensor([[0.1, 0.2, -0.31]])], 0.03)
    assert rows(voxels.coordinates) == [(0, 3, 6, -11)]
    assert voxels.representative.tolist() == voxels.point_to_voxel.tolist() == [0]


def test_duplicate_points_share_the_first():
    cloud = torch.tensor([[5.0, 0, 0], [1, 1, 1], [5, 0, 0], [1, 1, 1], [1, 1, 1]])
    voxels = voxelise([cloud, cloud[:3]], 1)
    assert rows(voxels.coordinates) == [(0, 1, 1, 1), (0, 5, 0, 0), (1, 1, 1, 1), (1, 5, 0, 0)]
    assert voxels.representative.tolist() == [1, 0, 6, 5]
    assert voxels.point_to_voxel.tolist() == [1, 0, 1, 0, 0, 3, 2, 3]


def test_200_000_points():
    random = torch.Generator().manual_seed(0)
    cloud = torch.randn(200_000, 3, generator=random)
    voxels = voxelise([cloud, torch.zeros(1, 3), cloud[:1000]], 0.25)
    batch = np.repeat([0, 1, 2], [200_000, 1, 1000])
    cells = np.floor(torch.cat([cloud, torch.zeros(1, 3), cloud[:1000]]).numpy() / 0.25)
    expected = np.unique(
        np.column_stack([batch, cells]), axis=0, return_index=True, return_inverse=True
    )
    # a voxel size that is a power of two divides exactly
    np.testing.assert_array_equal(voxels.coordinates, expected[0])
    np.testing.assert_array_equal(voxels.representative, expected[1])
    np.testing.assert_array_equal(voxels.point_to_voxel, expected[2].ravel())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_whole_range_and_no_more(dtype):
    limit = COORDINATE_LIMIT
    # the nearest that float16 and float32 hold
    inside = torch.tensor([[-limit, 0, 0], [limit, 0, 0]], dtype=dtype).nextafter(
        torch.zeros(1, dtype=dtype)
    )
    largest = voxelise([inside], 1).coordinates[:, 1].abs().max()
    assert limit - 32 <= largest <= limit
    for outside in (limit + 40.0, -limit - 40.0):
        with pytest.raises(InputError, match=f"may reach {limit}: normalise"):
            voxelise([torch.tensor([[0, outside, 0]], dtype=dtype)], 1)


def test_exactly_at_the_limit():
    limit = COORDINATE_LIMIT
    cloud = torch.tensor([[-limit, limit, limit + 0.5]], dtype=torch.float64)
    assert rows(voxelise([cloud], 1).coordinates) == [(0, -limit, limit, limit)]
    for outside in (limit + 1, -limit - 0.5):
        with pytest.raises(InputError, match="point cloud 0, point 0"):
            voxelise([torch.tensor([[0, 0, outside]], dtype=torch.float64)], 1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_points_that_are_not_finite_are_named(bad):
    good, cloud = torch.zeros(5, 3), torch.zeros(4, 3)
    cloud[2, 1] = bad
    with pytest.raises(InputError, match=r"point cloud 1, point 2.*expected finite coordinates"):
        voxelise([good, cloud, good], 0.03)


@pytest.mark.parametrize(
    ("clouds", "message"),
    [
        ([], "at least one point cloud"),
        ([torch.zeros(2, 3), torch.zeros(0, 3)], "point cloud 1 has no points"),
        ([torch.zeros(2, 4)], r"expected \(N, 3\) floats, found \(2, 4\)"),
        ([torch.zeros(3)], r"expected \(N, 3\) floats, found \(3,\)"),
        ([torch.zeros(2, 3).int()], "found .* of torch.int32"),
    ],
)
def test_clouds_that_cannot_be_voxelised(clouds, message):
    with pytest.raises(InputError, match=message):
        voxelise(clouds, 0.03)


@pytest.mark.parametrize("voxel_size", [0, -0.03, math.nan, math.inf, "0.03", None])
def test_voxel_sizes_that_make_no_sense(voxel_size):
    with pytest.raises(InputError, match="voxel size"):
        voxelise([torch.zeros(1, 3)], voxel_size)


def test_too_many_clouds():
    point = torch.zeros(1, 3)
    assert len(voxelise([point] * BATCH_LIMIT, 1).coordinates) == BATCH_LIMIT
    with pytest.raises(InputError, match="batch"):
        voxelise([point] * (BATCH_LIMIT + 1), 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_round_a_point_into_another_cloud(dtype):
    far = torch.tensor([[2.0**15, 0, 0], [0, 0, 0]], dtype=dtype)
    with pytest.raises(InputError, match="point cloud 0, point 0"):
        voxelise([far], 1.0)


# ---- unique_coordinates ------------------------------------------------------------------------


@settings(deadline=None)
@given(VOXELS, st.randoms(use_true_random=False), st.sampled_from([torch.int32, torch.int64]))
def test_unique_coordinates_are_those_of_a_dictionary(voxels, random, dtype):
    drawn = random.choices(sorted(voxels), k=2 * len(voxels))
    unique, first, inverse = unique_coordinates(torch.tensor(drawn, dtype=dtype))
    assert rows(unique) == sorted(set(drawn))
    assert first.tolist() == [drawn.index(row) for row in sorted(set(drawn))]
    assert [rows(unique)[i] for i in inverse.tolist()] == drawn
    assert unique.dtype == torch.int32


BAD_COORDINATES = [
    (torch.zeros(0, 4).int(), "V > 0"),
    (torch.zeros(2, 3).int(), r"found \(2, 3\)"),
    (torch.zeros(4).int(), r"found \(4,\)"),
    (torch.zeros(2, 4), "integers .* of torch.float32"),
    (torch.zeros(2, 4).bool(), "of torch.bool"),
    (torch.tensor([[-1, 0, 0, 0]]), "batch indices from 0"),
    (torch.tensor([[BATCH_LIMIT, 0, 0, 0]]), "batch indices from 0"),
    (torch.tensor([[0, 0, 0, COORDINATE_LIMIT + 1]]), f"to {COORDINATE_LIMIT}, found"),
    (torch.tensor([[0, -COORDINATE_LIMIT - 1, 0, 0]]), f"-{COORDINATE_LIMIT} to"),
    # as an int64 far outside of what a key can hold
    (torch.tensor([[0, 2**62, 0, 0]]), f"to {COORDINATE_LIMIT}, found"),
]


@pytest.mark.parametrize(("coordinates", "message"), BAD_COORDINATES)
@pytest.mark.parametrize("make", [unique_coordinates, CoordinatePyramid])
def test_coordinates_that_cannot_be_used(make, coordinates, message):
    with pytest.raises(InputError, match=message):
        make(coordinates)


@pytest.mark.parametrize(
    "coordinates",
    [[[0, 0, 0, 1], [0, 0, 0, 0]], [[0, 1, 2, 3], [0, 1, 2, 3]], [[1, 0, 0, 0], [0, 5, 5, 5]]],
    ids=["unsorted", "duplicate", "batches unsorted"],
)
def test_a_pyramid_wants_unique_sorted_coordinates(coordinates):
    with pytest.raises(InputError, match="pass them through unique_coordinates"):
        CoordinatePyramid(torch.tensor(coordinates))
    unique, _, _ = unique_coordinates(torch.tensor(coordinates))
    assert CoordinatePyramid(unique).size() == len({tuple(row) for row in coordinates})


# ---- CoordinatePyramid -------------------------------------------------------------------------


@settings(deadline=None)
@given(VOXELS, STRIDE)
def test_strided_coordinates_are_rounded_down(voxels, stride):
    pyramid = pyramid_of(voxels)
    assert rows(pyramid.coordinates(stride)) == strided(voxels, stride)
    assert pyramid.size(stride) == len(strided(voxels, stride))
    assert pyramid.coordinates(stride).dtype == torch.int32


@pytest.mark.parametrize("stride", [0, -2, 3, 6])
def test_strides_that_do_not_exist(stride):
    with pytest.raises(InputError, match="power of two"):
        random_pyramid().coordinates(stride)


def test_what_a_caller_does_to_coordinates_stays_his_own():
    pyramid = random_pyramid()
    expected = pyramid.coordinates().clone()
    pyramid.coordinates().zero_()
    assert torch.equal(pyramid.coordinates(), expected)


# ---- kernel maps -------------------------------------------------------------------------------


@settings(deadline=None, max_examples=400)
@given(VOXELS, st.sampled_from(GEOMETRIES))
def test_kernel_maps_are_those_of_a_dictionary(voxels, geometry):
    kernel_map = pyramid_of(voxels).kernel_map(geometry)
    source, target = (strided(voxels, s) for s in (geometry.source_stride, geometry.target_stride))
    expected = dictionary_pairs(source, target, geometry)
    assert pairs(kernel_map.forward) == expected
    assert kernel_map.forward.sources == kernel_map.backward.targets == len(source)
    assert kernel_map.forward.targets == kernel_map.backward.sources == len(target)
    assert kernel_map.forward.pairs == len(expected)
    last = geometry.offsets - 1
    backward = {
        (last - k if kernel_map.mirrored else k, out, into)
        for k, into, out in pairs(kernel_map.backward)
    }
    assert backward == expected


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_rows_do_not_run_over_into_the_next(axis):
    # the last voxel of a row, slice or cloud, and the first of the next
    last, first = [0, 0, 0, 0], [0, 0, 0, 0]
    last[axis], first[axis] = COORDINATE_LIMIT, -COORDINATE_LIMIT
    for step in (0, 1, 2):
        first[axis - 1] = step
        pyramid = pyramid_of({tuple(last), tuple(first)})
        kernel_map = pyramid.kernel_map(Geometry(5, 1, 1))
        assert pairs(kernel_map.forward) == {(62, 0, 0), (62, 1, 1)}


@settings(deadline=None)
@given(VOXELS, st.sampled_from(GEOMETRIES), st.integers(1, 70))
def test_blocks_hold_every_pair_once(voxels, geometry, size):
    table = pyramid_of(voxels).kernel_map(geometry).forward
    found = []
    for block in table.blocks(size):
        assert block.stop - block.start <= size
        ks = [k for k, count in enumerate(block.counts) for _ in range(count)]
        listed = list(zip(ks, block.source.tolist(), block.target.tolist(), strict=True))
        found += listed
        for i, (first, end) in enumerate(itertools.pairwise(block.bounds.tolist())):
            of_row = [listed[p] for p in block.order[first:end].tolist()]
            assert {target for _, _, target in of_row} <= {block.start + i}
        assert sorted(block.order.tolist()) == list(range(len(listed)))
        assert len(block.bounds) == block.stop - block.start + 1
        assert block.bounds[-1] == len(listed)
    assert len(found) == len(set(found))
    assert set(found) == pairs(table)


def test_rows_of_the_kernel_are_numbered_with_x_fastest():
    # as MinkowskiEngine numbers them
    for k, offset in {0: (-1, -1, -1), 1: (0, -1, -1), 12: (-1, 0, 0), 26: (1, 1, 1)}.items():
        pyramid = pyramid_of({(0, 0, 0, 0), (0, *offset)})
        origin, other = (rows(pyramid.coordinates()).index(c) for c in [(0, 0, 0, 0), (0, *offset)])
        forward = pyramid.kernel_map(Geometry(3, 1, 1)).forward
        assert forward.table[k, origin] == other
    for k, offset in {0: (0, 0, 0), 1: (1, 0, 0), 2: (0, 1, 0), 5: (1, 0, 1)}.items():
        assert pairs(pyramid_of({(0, *offset)}).kernel_map(DOWN[0]).forward) == {(k, 0, 0)}


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=name)
def test_each_map_is_built_once(geometry):
    pyramid = random_pyramid()
    same = Geometry(geometry.kernel_size, geometry.source_stride, geometry.target_stride)
    assert pyramid.kernel_map(geometry) is pyramid.kernel_map(same)
    assert pyramid.kernel_map(geometry).forward.blocks(64) is pyramid.kernel_map(
        same
    ).forward.blocks(64)


def test_down_and_up_share_their_tables():
    pyramid = random_pyramid()
    down, up = pyramid.kernel_map(Geometry(2, 2, 4)), pyramid.kernel_map(Geometry(2, 4, 2))
    assert down.forward is up.backward
    assert down.backward is up.forward


@pytest.mark.parametrize(
    "arguments",
    [
        *[(3, 1, 2), (2, 1, 1), (2, 1, 4), (2, 2, 8), (4, 1, 1), (7, 1, 1), (0, 1, 1), (1, 1, 2)],
        *[(3, 3, 3), (3, 0, 0), (2, 0, 0), (3, -1, -1), (2, 3, 6), (-3, 1, 1)],
    ],
)
def test_geometries_that_make_no_sense(arguments):
    with pytest.raises(InputError, match=r"convolution geometry|strides"):
        Geometry(*arguments)


def test_a_pyramid_is_freed_when_the_last_reference_goes():
    gc.collect()
    gc.disable()
    try:
        pyramid = random_pyramid()
        for geometry in GEOMETRIES:
            pyramid.kernel_map(geometry).forward.blocks(64)
        gone = weakref.ref(pyramid)
        kept = weakref.ref(pyramid.kernel_map(GEOMETRIES[0]))
        del pyramid
        assert gone() is None
        assert kept() is None
    finally:
        gc.enable()
