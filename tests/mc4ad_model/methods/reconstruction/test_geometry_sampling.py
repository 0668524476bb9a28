# SPDX-License-Identifier: Apache-2.0
"""Points that are kept where a surface bends."""

from __future__ import annotations

import numpy as np
import pytest

from intravariance.geometry.sampling import sample_surface
from mc4ad_model.methods.reconstruction.geometry_sampling import (
    geometry_aware_sample,
    normal_changes,
)
from tests.support.samples import product


@pytest.fixture(scope="module")
def brick() -> np.ndarray:
    return sample_surface(product("tall_brick"), 3000, np.random.default_rng(0)).points


def edges(points: np.ndarray) -> np.ndarray:
    """Say which points of a brick lie within 0.05 of one of its edges."""
    gaps = np.sort(np.abs(points).max(axis=0) - np.abs(points), axis=1)
    return gaps[:, 1] < 0.05


def test_normals_change_at_the_edges_of_a_brick_alone(brick: np.ndarray) -> None:
    changes, near = normal_changes(brick, 12), edges(brick)
    assert 0.1 < near.mean() < 0.5
    assert changes[near].mean() > 5 * np.median(changes[~near])
    assert np.median(changes[~near]) < 1e-3 and changes.max() < np.pi / 2


def test_on_a_cylinder_it_is_the_angle_to_the_columns_beside() -> None:
    step = np.pi / 90
    turn, height = np.meshgrid(np.arange(180) * step, np.arange(30) * step)
    points = np.stack([np.cos(turn), np.sin(turn), height], axis=2)
    found = normal_changes(points.reshape(-1, 3), 9).reshape(30, 180)
    # of 3 x 3 points of a square grid, six are one column away
    assert found[5:25, 5:175] == pytest.approx(6 / 9 * step, rel=1e-6)


def test_half_of_a_sample_is_where_the_surface_bends(brick: np.ndarray) -> None:
    chosen = geometry_aware_sample(brick, 400, neighbours=12, key_share=0.25)
    assert len(set(chosen.tolist())) == 400
    order = np.argsort(-normal_changes(brick, 12), kind="stable")
    keys = set(order[:750].tolist())
    assert sum(k in keys for k in chosen.tolist()) == 200
    assert edges(brick[chosen]).mean() > 1.3 * edges(brick).mean()


@pytest.mark.parametrize("key_share", [0.001, 0.25, 1.0])
@pytest.mark.parametrize("count", [1, 2, 2990, 3000, 5000])
def test_a_sample_has_as_many_points_as_asked_for(brick, count, key_share) -> None:
    chosen = geometry_aware_sample(brick, count, neighbours=12, key_share=key_share)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, 3000)
