# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from intravariance.geometry.normals import (
    _turned_outwards,
    estimated_normals,
    outward_normals,
    outward_votes,
    plane_normals,
)
from intravariance.geometry.viewing import look_from, sphere_directions
from tests.support.samples import sphere_points


def ball(count: int = 4000) -> np.ndarray:
    return sphere_points(count, np.random.default_rng(0))


def test_normals_of_a_ball_point_outwards() -> None:
    points = ball()
    normals = estimated_normals(points)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    assert (normals * points).sum(axis=1).min() > 0.97


def test_normals_of_a_ring_point_outwards_where_that_is_towards_the_middle() -> None:
    ring = trimesh.creation.torus(1.0, 0.3)
    points, faces = trimesh.sample.sample_surface(ring, 8000, seed=0)
    true = ring.face_normals[faces]
    agreement = (estimated_normals(np.asarray(points)) * true).sum(axis=1)
    assert (agreement > 0.9).mean() > 0.99
    inner = (true * points).sum(axis=1) < -0.1  # the centroid alone would turn these round
    assert inner.sum() > 500 and (agreement[inner] > 0).mean() > 0.99


def test_normals_of_a_cup_point_into_it_and_out_of_it() -> None:
    """A thick half shell: a quarter of its points look towards its centroid."""
    shells = [0.8 * ball(8000), ball(8000)]
    points = np.concatenate([shell[shell[:, 2] < 0] for shell in shells])
    outside = np.linalg.norm(points, axis=1) > 0.9
    out = np.where(outside, 1, -1)[:, None] * points / np.linalg.norm(points, axis=1)[:, None]
    away_from_rim = points[:, 2] < -0.2
    agreement = (estimated_normals(points) * out).sum(axis=1)[away_from_rim]
    assert (agreement > 0.9).mean() > 0.98


def test_normals_of_a_file_are_turned_outwards_together_or_one_by_one() -> None:
    points = ball()
    kept, changed = outward_normals(points, points)
    assert kept is points and not changed
    few = np.where(np.arange(4000)[:, None] % 10, points, -points)  # the file's own business
    assert outward_normals(points, few)[0] is few
    for normals in (-points, np.where(np.arange(4000)[:, None] % 2, points, -points)):
        turned, changed = outward_normals(points, normals)
        assert changed
        np.testing.assert_array_equal(turned, points)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 17])
def test_normals_of_a_few_points_have_length_one(count: int) -> None:
    for points in (ball()[:count], np.zeros((count, 3)), np.tile((1.0, 0, 0), (count, 1))):
        np.testing.assert_allclose(np.linalg.norm(estimated_normals(points), axis=1), 1)


def obvious_votes(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Ask 48 viewers about each point, one viewer and one array after another."""
    some = points[np.linspace(0, len(points) - 1, min(len(points), 1000)).astype(int)]
    cell = max(
        2 * np.median(cKDTree(points).query(some, k=5)[0][:, -1]),
        np.ptp(points, axis=0).max() / 400,
    )
    votes = np.zeros(len(points))
    for direction in sphere_directions(48):
        right, up, depth = look_from(direction) @ points.T
        cells = np.floor((np.stack([right - right.min(), up - up.min()], axis=1)) / cell)
        _, place = np.unique(cells, axis=0, return_inverse=True)
        nearest = np.full(place.max() + 1, -np.inf)
        np.maximum.at(nearest, place, depth)
        votes += np.clip(1 - (nearest[place] - depth) / (1.5 * cell), 0, 1) ** 2 * (
            normals @ direction
        )
    return votes


@pytest.mark.parametrize("sigma", [1e-9, 0.02])
def test_the_fast_way_gives_what_the_obvious_way_gives(sigma: float) -> None:
    """For more points than one thread takes, of a shape with a hole through it."""
    shape = trimesh.creation.annulus(0.45, 0.5, 1.0)
    points = np.asarray(trimesh.sample.sample_surface(shape, 12_000, seed=0)[0])
    points += np.random.default_rng(0).normal(scale=sigma, size=points.shape)
    near = points[cKDTree(points).query(points, k=16)[1]]
    near -= near.mean(axis=1, keepdims=True)
    planes = np.linalg.eigh(near.transpose(0, 2, 1) @ near)[1][:, :, 0]
    votes = obvious_votes(points, planes)
    np.testing.assert_allclose(outward_votes(points, planes), votes, atol=1e-9)
    clear = np.abs(votes) > 1e-6
    expected = _turned_outwards(points, planes, votes)
    agreement = (estimated_normals(points) * expected).sum(axis=1)
    assert agreement[clear].min() > 1 - 1e-9
    assert clear.mean() > 0.99


def test_planes_of_points_on_a_line_or_in_a_place_and_of_any_size() -> None:
    rng = np.random.default_rng(1)
    plane = np.c_[rng.normal(size=(16, 2)), np.zeros(16)]
    line = np.outer(np.arange(16), (1.0, 2.0, 3.0))
    place = np.ones((16, 3))
    sizes = [1e-30 * plane, plane + 1e3, 1e30 * plane]
    clouds = np.stack([*sizes, line, place])  # (C, K, 3)
    found = plane_normals([np.ascontiguousarray(clouds[:, :, axis]) for axis in range(3)])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    np.testing.assert_allclose(np.abs(found[:3]), np.tile((0, 0, 1), (3, 1)), atol=1e-6)
    assert abs(found[3] @ (1, 2, 3)) < 1e-6
