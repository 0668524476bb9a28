# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotations.matching import RELATIVE_TOLERANCE, match, neighbour_distance
from tests.support.samples import sphere_points


def cloud(count: int = 400, seed: int = 0) -> np.ndarray:
    return sphere_points(count, np.random.default_rng(seed)).astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    kept=st.floats(0.05, 1.0),
    decimals=st.sampled_from([6, 7, 8, 12]),
    shift=st.sampled_from([(0, 0, 0), (12.5, -3, 0.25), (100_000, 200_000, -50)]),
)
def test_order_deletion_rounding_and_shift(
    seed: int, kept: float, decimals: int, shift: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(seed)
    points = cloud()
    chosen = rng.permutation(len(points))[: max(2, int(kept * len(points)))]
    rows = np.round(points[chosen].astype(np.float64), decimals) + shift
    found = match(points, rows)
    assert (found.point == chosen).all()
    assert found.shift == pytest.approx(shift, abs=1e-5)
    assert (found.matched, found.missing) == (len(chosen), len(points) - len(chosen))
    assert (found.extra, found.repeated, found.ambiguous) == (0, 0, 0)
    assert found.known.sum() == len(chosen) and found.known[chosen].all()


def test_six_significant_digits_are_within_the_tolerance() -> None:
    points = cloud() * np.float32(1.4)  # errors up to 0.5e-5 in each coordinate
    rows = np.array([[float(f"{value:.6g}") for value in row] for row in points])
    assert 1e-6 < np.abs(rows - points).max() < 5.1e-6
    assert (match(points, rows).point == np.arange(len(points))).all()


def test_a_float32_shift_is_as_coarse_as_float32() -> None:
    points = cloud()
    moved = points + np.float32([5000, 0, 0])  # steps of 0.0005
    found = match(points, moved[::-1])
    assert found.matched > 0.99 * len(points) and found.tolerance < 0.0015
    far = points + np.float32([1e6, 0, 0])  # steps of 0.06, more than between neighbours
    assert not match(points, far).belongs()


def test_extra_and_repeated_rows_are_counted_and_carry_the_stronger_label() -> None:
    points = cloud(50)
    rows = np.concatenate([points, points[:5], points[:3] + 0.05])
    labels = np.zeros(len(rows), dtype=np.uint8)
    labels[50:52] = 1  # the repeats of points 0 and 1 alone are labelled
    found = match(points, rows)
    assert (found.matched, found.repeated, found.extra, found.missing) == (50, 5, 3, 0)
    assert np.flatnonzero(found.carry(labels)).tolist() == [0, 1]


def test_points_within_the_tolerance_find_their_own_rows_and_are_ambiguous() -> None:
    close = np.array([(1, 0, 0), (1, 4e-6, 0), (0, 1, 0), (0, 1, 0), (0, 0, 1)])
    points = np.concatenate([close, cloud(50)])
    rows = points[[4, 1, 0, 3, 2]]
    found = match(points, rows)
    assert found.point[:3].tolist() == [4, 1, 0]  # nearest first
    assert sorted(found.point[3:]) == [2, 3]  # two points in one place take a row each
    assert (found.matched, found.ambiguous, found.repeated) == (5, 4, 0)


def test_two_rows_rounded_to_one_point_are_shared_out() -> None:
    points = np.concatenate([[(1, 0, 0), (1, 8e-6, 0)], cloud(50)])
    rows = points.copy()
    rows[:2] = (1, 1e-6, 0), (1, 3e-6, 0)  # both nearer to the first
    found = match(points, rows)
    assert found.point.tolist() == list(range(52)) and found.missing == 0


def test_far_from_0_another_cloud_does_not_belong() -> None:
    """There 1e-5 of a coordinate is more than the distance of neighbours."""
    place = np.array([1e4, 0, 0])
    points, other = cloud().astype(float) + place, cloud(seed=1) + place
    assert RELATIVE_TOLERANCE * np.abs(points).max() > neighbour_distance(points)
    assert not match(points, other).belongs()
    assert (match(points, points[::-1].astype("f4")).point == np.arange(len(points))[::-1]).all()
    coarse = np.array([[float(f"{value:.4g}") for value in row] for row in points])
    assert not match(points, coarse).belongs()


def test_neighbours_of_points_that_all_lie_twice_in_a_place() -> None:
    points = cloud(100)
    assert neighbour_distance(np.tile(points, (2, 1))) == neighbour_distance(
        np.unique(points, axis=0)
    )
    assert neighbour_distance(np.ones((9, 3))) == 0


@pytest.mark.parametrize("change", ["turned", "scaled", "another"])
def test_another_cloud_does_not_belong(change: str) -> None:
    points = cloud()
    rows = {"turned": points[:, [1, 0, 2]], "scaled": points * 1.01, "another": cloud(seed=1)}
    found = match(points, rows[change])
    assert not found.belongs() and found.matched < 3


def test_many_points_and_rows_in_one_place_take_no_square_of_memory() -> None:
    points = np.concatenate([np.zeros((20_000, 3)), cloud(100)])
    found = match(points, points)
    assert (found.missing, found.repeated) == (0, 0)
    assert sorted(found.point) == list(range(20_100))


def test_a_single_point() -> None:
    assert match(np.ones((1, 3)), np.ones((1, 3))).matched == 1
    assert not match(np.ones((1, 3)), np.zeros((1, 3))).belongs()


def test_tolerance_is_far_below_the_distance_of_neighbours() -> None:
    points = cloud(10_000)
    distance = neighbour_distance(points)
    # half of 1 / sqrt(density) is the mean for a Poisson process, 0.47 the median
    assert distance == pytest.approx(np.sqrt(np.log(2) * 4 / 10_000), rel=0.03)
    assert match(points, points).tolerance < distance / 1000
