# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from intravariance.verification.ball_counts import BallCounts


@pytest.mark.parametrize("balanced", [True, False])
@given(
    count=st.integers(1, 2_000),
    flat=st.booleans(),
    radius=st.floats(0.01, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_counts_are_those_of_the_tree(
    balanced: bool, count: int, flat: bool, radius: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 3)) * (1, 1, 0 if flat else 1)
    centres = np.concatenate([points[:50], rng.normal(size=(50, 3))])
    tree = cKDTree(points, balanced_tree=balanced, compact_nodes=balanced)
    expected = tree.query_ball_point(centres, radius, return_length=True)
    np.testing.assert_array_equal(BallCounts(tree).within(centres, radius), expected)


def test_a_ball_of_any_size_and_none_at_all() -> None:
    points = np.random.default_rng(0).normal(size=(5_000, 3))
    counts = BallCounts(cKDTree(points))
    far = np.array([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0]])
    assert counts.within(far, 10.0).tolist() == [5_000, 0]
    assert counts.within(far[:0], 10.0).tolist() == []


def test_points_in_one_place_are_all_counted() -> None:
    counts = BallCounts(cKDTree(np.full((3_000, 3), 0.25)))
    assert counts.within(np.array([[0.25, 0.25, 0.25], [0.25, 0.25, 0.5]]), 0.2).tolist() == [
        3_000,
        0,
    ]
