# SPDX-License-Identifier: Apache-2.0
"""Connected components of points, against a list of all pairs of neighbours."""

from __future__ import annotations

import resource

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from mc4ad_model.evaluation.regions import components_within


def by_pairs(points: np.ndarray, radius: float) -> np.ndarray:
    first, second = cKDTree(points).query_pairs(radius, output_type="ndarray").T
    near = coo_array((np.ones(len(first), bool), (first, second)), (len(points),) * 2)
    return connected_components(near, directed=False)[1]


@pytest.mark.parametrize("seed", range(20))
def test_components_are_those_of_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clusters = rng.normal(size=(5, 3))[rng.integers(0, 5, 1500)]
    points = np.concatenate(
        [
            rng.normal(size=(rng.integers(1, 600), 3)) * rng.uniform(0.1, 2),
            clusters * rng.uniform(0, 3) + rng.normal(0, 0.01, clusters.shape),
            rng.integers(-4, 4, (rng.integers(1, 100), 3)) * 0.35,
        ]
    ) + rng.normal(0, 100, 3)
    for radius in (0.03, 0.15, 0.3, 1.0):
        found = components_within(points, radius)
        assert (found == by_pairs(points, radius)).all()


def test_two_sheets_are_told_apart_by_their_least_distance() -> None:
    flat = np.stack(np.meshgrid(np.arange(40), np.arange(40)), -1).reshape(-1, 2) * 0.02
    lower = np.column_stack([flat, np.zeros(len(flat))])
    upper = lower + np.array([0.0, 0.0, 0.151])
    sheets = np.concatenate([lower, upper])
    assert components_within(sheets, 0.15).tolist() == [0] * len(flat) + [1] * len(flat)
    upper[777, 2] -= 0.002
    assert not components_within(np.concatenate([lower, upper]), 0.15).any()


def test_neighbours_at_the_radius_itself_are_one_component() -> None:
    line = np.zeros((9, 3))
    line[:, 0] = np.arange(9) * 0.25
    assert not components_within(line, 0.25).any()
    assert components_within(line, 0.2499).tolist() == list(range(9))
    assert components_within(np.zeros((0, 3)), 1.0).shape == (0,)


def test_memory_does_not_grow_with_the_density() -> None:
    points = np.random.default_rng(0).uniform(0, 0.2, (60_000, 3))  # 1.5e9 pairs of neighbours
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert not components_within(points, 0.15).any()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
