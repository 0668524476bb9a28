# SPDX-License-Identifier: Apache-2.0
"""Surfaces and noise estimated from clouds, against the shapes that the clouds were drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from intravariance.errors import InputError
from mc4ad_model.surfaces.estimated import (
    FEWEST_POINTS,
    check_cloud,
    estimate_noise,
    estimate_surface,
)

COUNT = 3000


def ball(noise: float, seed: int = 0, inner: float | None = None) -> np.ndarray:
    """Draw a noisy cloud of a ball of radius 0.8, and of another inside of it if there is one."""
    rng = np.random.default_rng(seed)
    rays = rng.normal(size=(COUNT, 3))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    radius = 0.8 if inner is None else rng.choice([0.8, inner], size=(COUNT, 1))
    return (rays * radius + rng.normal(scale=noise, size=rays.shape)).astype(np.float32)


def plane(noise: float) -> np.ndarray:
    """Draw a noisy cloud of a square sheet in the plane z = 0."""
    rng = np.random.default_rng(1)
    flat = np.column_stack([rng.uniform(-0.7, 0.7, (COUNT, 2)), np.zeros(COUNT)])
    return (flat + rng.normal(scale=noise, size=flat.shape)).astype(np.float32)


@pytest.mark.parametrize("noise", [0.002, 0.01, 0.045])
@pytest.mark.parametrize("shape", [ball, plane])
def test_the_noise_is_found(shape, noise):
    found = estimate_noise([shape(noise)], np.random.default_rng(0))
    assert found == pytest.approx(noise, rel=0.12)


def test_a_cloud_with_thin_walls_does_not_hide_the_noise_of_the_others():
    """The quietest quarter of all places decides."""
    clouds = [ball(0.03), ball(0.03, 1), ball(0.03, 2, inner=0.74)]
    assert estimate_noise(clouds, np.random.default_rng(0)) == pytest.approx(0.03, rel=0.12)


def test_without_noise_none_is_found():
    assert estimate_noise([ball(0.0)], np.random.default_rng(0)) < 0.001


@pytest.mark.parametrize("noise", [0.01, 0.045])
def test_feet_are_nearer_to_the_surface_than_points_and_normals_point_outwards(noise):
    cloud = ball(noise)
    found = estimate_surface(cloud, noise, np.random.default_rng(0))
    off = np.linalg.norm(found.points, axis=1) - 0.8
    assert np.sqrt((off**2).mean()) < 0.5 * noise
    assert np.abs(off.mean()) < 0.15 * noise
    rays = found.points / np.linalg.norm(found.points, axis=1, keepdims=True)
    np.testing.assert_allclose(np.linalg.norm(found.normals, axis=1), 1)
    assert (np.einsum("ni,ni->n", rays, found.normals) > 0.9).mean() > 0.97


def test_a_sheet_has_one_side():
    """Both are seen alike; what matters is that neighbours agree."""
    found = estimate_surface(plane(0.02), 0.02, np.random.default_rng(0))
    up = found.normals[:, 2]
    assert (np.abs(up) > 0.9).mean() > 0.95
    assert max((up > 0).mean(), (up < 0).mean()) > 0.95


def test_feet_and_offsets_are_the_cloud():
    cloud = ball(0.03)
    found = estimate_surface(cloud, 0.03, np.random.default_rng(0))
    rebuilt = found.points + found.noise(found.points)
    distance, rows = cKDTree(cloud).query(rebuilt)
    assert distance.max() < 1e-6 and len(np.unique(rows)) == len(cloud)


def test_two_walls_closer_than_the_noise_become_one_sheet_with_all_of_their_spread():
    cloud = ball(0.03, inner=0.77)
    found = estimate_surface(cloud, 0.03, np.random.default_rng(0))
    radius = np.linalg.norm(found.points, axis=1)
    assert abs(radius.mean() - 0.785) < 0.005 and radius.std() < 0.015
    spread = np.linalg.norm(found.points + found.offsets, axis=1).std()
    assert spread == pytest.approx(np.sqrt(0.03**2 + 0.015**2), rel=0.05)


def test_it_depends_on_the_generator_alone():
    first, again, other = (
        estimate_surface(ball(0.03), 0.03, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert np.array_equal(first.points, again.points)
    assert np.array_equal(first.normals, again.normals)
    assert not np.array_equal(first.points, other.points)


def test_clouds_of_too_few_points_are_refused():
    tiny = ball(0.01)[: FEWEST_POINTS - 1]
    for estimate in (
        lambda rng: estimate_noise([tiny], rng),
        lambda rng: estimate_surface(tiny, 0.01, rng),
    ):
        with pytest.raises(InputError, match="99 points; a surface can be estimated from 100"):
            estimate(np.random.default_rng(0))


@pytest.mark.parametrize("columns", [1, 2])
def test_points_in_a_plane_or_on_a_line_are_refused(columns):
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    flat = np.random.default_rng(1).uniform(-0.7, 0.7, (200, columns)) @ turn[:columns]
    with pytest.raises(InputError, match="t_1: all of its points are in one plane"):
        check_cloud(flat.astype(np.float32), "t_1")
    with pytest.raises(InputError, match="all of its points are in one plane"):
        estimate_surface(flat.astype(np.float32), 0.01, np.random.default_rng(0))


@pytest.mark.parametrize("spots", [1, 3])
def test_points_that_coincide_have_no_noise_and_no_surface(spots):
    cloud = np.repeat(ball(0.01)[:spots], 200, axis=0)
    assert estimate_noise([cloud], np.random.default_rng(0)) == 0
    with pytest.raises(InputError, match="all of its points are in one plane"):
        estimate_surface(cloud, 0.0, np.random.default_rng(0))


def test_some_points_may_coincide():
    cloud = np.concatenate([np.repeat(ball(0.01)[:2], 60, axis=0), ball(0.01)[:400]])
    found = estimate_surface(cloud, 0.01, np.random.default_rng(0))
    assert np.isfinite(found.points).all()
    np.testing.assert_allclose(np.linalg.norm(found.normals, axis=1), 1)
