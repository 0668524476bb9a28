# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import trimesh

from intravariance.geometry.normals import estimated_normals, outward_normals
from tests.samples import sphere_points


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
