# SPDX-License-Identifier: Apache-2.0
"""Visibility against an independent ray caster (Embree, as Open3D has it) and closed forms."""

import numpy as np
import pytest
import trimesh

from intravariance.geometry.mesh import mesh_from_arrays
from intravariance.geometry.sampling import sample_surface
from intravariance.geometry.visibility import blocked, cosines


def cup():
    """Give a thick-walled cup with a ball on a stick beside it: much of it hides the rest."""
    parts = [
        trimesh.creation.annulus(0.45, 0.5, 1.0),
        trimesh.creation.cylinder(0.5, 0.05).apply_translation([0, 0, -0.52]),
        trimesh.creation.icosphere(2, 0.25).apply_translation([0.6, 0.3, 0.4]),
        trimesh.creation.box((0.02, 0.02, 1.0)).apply_translation([0.6, 0.3, -0.2]),
    ]
    whole = trimesh.util.concatenate(parts)
    return mesh_from_arrays(whole.vertices, whole.faces)


def seen_by_embree(mesh, points, viewpoint):
    import open3d  # noqa: PLC0415 - weight

    scene = open3d.t.geometry.RaycastingScene()
    scene.add_triangles(
        open3d.core.Tensor(mesh.vertices), open3d.core.Tensor(mesh.faces.astype(np.uint32))
    )
    towards = viewpoint - points
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    rays = np.hstack([points + 1e-4 * towards, towards]).astype(np.float32)
    return ~scene.test_occlusions(open3d.core.Tensor(rays)).numpy()


@pytest.mark.parametrize("viewpoint", [(5, 0, 0), (0, 0, 5), (2, -3, 3), (-1, 4, -2.5)])
def test_what_is_seen_is_what_another_ray_caster_sees(viewpoint):
    mesh, viewpoint = cup(), np.array(viewpoint, dtype=float)
    where = sample_surface(mesh, 4_000, np.random.default_rng(0))
    front = cosines(where.points, where.normals, viewpoint) > 0.1
    points = where.points[front]
    found = ~blocked(points, mesh.vertices.astype(float)[mesh.faces], viewpoint)
    expected = seen_by_embree(mesh, points, viewpoint)
    assert 0.2 < expected.mean() < 0.98
    # single precision decides otherwise at an edge now and then
    assert (found != expected).mean() < 0.001


def test_a_wall_blocks_what_lies_behind_it_and_nothing_else():
    wall = np.array([[[1, -1, -1], [1, 1, -1], [1, 1, 1.0]], [[1, -1, -1], [1, 1, 1], [1, -1, 1]]])
    points = np.array([[0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, -1.3], [1, 0.5, 0.2]])
    found = blocked(points, wall, np.array([5.0, 0, 0]))
    assert found.tolist() == [True, False, False, False, False]
    # nearer than 5/4 of the wall's half width, seen past its edge in perspective
    assert blocked(np.array([[0, 0, -1.2]]), wall, np.array([5.0, 0, 0])).tolist() == [True]


def test_cosines_of_a_ball():
    normals = np.random.default_rng(0).normal(size=(100, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    found = cosines(normals, normals, np.array([0, 0, 5.0]))
    z = normals[:, 2]
    np.testing.assert_allclose(found, (5 * z - 1) / np.sqrt(26 - 10 * z), atol=1e-12)


def test_many_places_give_what_few_at_a_time_give():
    mesh, viewpoint = cup(), np.array([3.0, 3.0, 2.0])
    corners = mesh.vertices.astype(float)[mesh.faces]
    points = sample_surface(mesh, 60_000, np.random.default_rng(1)).points
    found = blocked(points, corners, viewpoint)
    few = np.concatenate([blocked(part, corners, viewpoint) for part in np.split(points[:600], 3)])
    np.testing.assert_array_equal(found[:600], few)
