# SPDX-License-Identifier: Apache-2.0
"""Patch-Gen moves one side of a cloud along the line of sight."""

from __future__ import annotations

import numpy as np
import pytest

from intravariance.geometry.sampling import sample_surface
from mc4ad_model.methods.reconstruction.patch_gen import displaced_patch
from tests.support.samples import product


@pytest.mark.parametrize("seed", range(6))
def test_the_nearest_points_move_along_the_line_of_sight(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cloud = sample_surface(product("long_ball"), 500, rng).points
    before = cloud.copy()
    found, moved = displaced_patch(cloud, 40, 0.2, rng)
    assert np.array_equal(cloud, before)
    rest = np.setdiff1d(np.arange(500), moved)
    assert np.array_equal(found[rest], cloud[rest]) and len(moved) == 40
    offsets = found[moved] - cloud[moved]
    lengths = np.linalg.norm(offsets, axis=1)
    assert lengths.max() < 0.2 and (np.diff(lengths) <= 1e-12).all()  # the nearest moves most
    lines = offsets / lengths[:, None]  # all lines meet in the place that it is looked at from
    normal = np.eye(3) - lines[:, :, None] * lines[:, None]
    place = np.linalg.solve(normal.sum(axis=0), np.einsum("nij,nj->i", normal, cloud[moved]))
    assert np.allclose(place, 2 * np.round(place / 2), atol=1e-6) and np.abs(place).max() > 1.9
    gaps = np.linalg.norm(cloud - place, axis=1)
    assert gaps[moved].max() <= gaps[rest].min()
    towards = np.einsum("ni,ni->n", offsets, place - cloud[moved]) > 0
    assert towards.all() or not towards.any()


def test_both_directions_and_many_sides_occur() -> None:
    rng = np.random.default_rng(0)
    cloud = sample_surface(product("long_ball"), 300, rng).points
    signs, firsts = set(), set()
    for _ in range(60):
        found, moved = displaced_patch(cloud, 5, 0.2, rng)
        inside = np.linalg.norm(found[moved], axis=1) < np.linalg.norm(cloud[moved], axis=1)
        signs.add(bool(inside[0]))
        firsts.add(int(moved[0]))
    assert signs == {True, False} and len(firsts) > 10
