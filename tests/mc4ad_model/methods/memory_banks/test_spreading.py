# SPDX-License-Identifier: Apache-2.0
"""Centres, means around them, and the way back to all points."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("open3d")

from mc4ad_model.methods.memory_banks.coreset import greedy_coreset
from mc4ad_model.methods.memory_banks.spreading import farthest_points, local_means, spread
from tests.mc4ad_model.methods.memory_banks.toruses import torus


@pytest.fixture(scope="module")
def points():
    return torus(0)[:400].astype(np.float64)


def test_farthest_points_are_those_of_the_greedy_coreset(points) -> None:
    found = farthest_points(points, 50)
    expected = points[greedy_coreset(points, 50)]
    assert np.array_equal(np.unique(found, axis=0), np.unique(expected, axis=0))
    assert farthest_points(points, 400) is points


def test_means_are_over_the_nearest_points(points) -> None:
    values, centres = np.random.default_rng(0).normal(size=(400, 4)), points[::40]
    found = local_means(values, points, centres, 9)
    for centre, mean in zip(centres, found, strict=True):
        near = np.argsort(np.linalg.norm(points - centre, axis=1))[:9]
        assert mean == pytest.approx(values[near].mean(axis=0), abs=1e-6)
    assert local_means(values, points, points, 1) == pytest.approx(values, abs=1e-6)


def test_scores_reach_all_points(points) -> None:
    centres, scores = points[:30], np.random.default_rng(1).random(30)
    found = spread(scores, centres, points)
    assert found[:30] == pytest.approx(scores, abs=1e-4)
    assert scores.min() <= found.min() and found.max() <= scores.max()
    distances = np.linalg.norm(centres - points[200], axis=1)
    near = np.argsort(distances)[:3]
    assert found[200] == pytest.approx(np.average(scores[near], weights=distances[near] ** -2.0))
    assert spread(np.array([2.0]), centres[:1], points) == pytest.approx(2)
