# SPDX-License-Identifier: Apache-2.0
"""The skin around triangles in any state: closed, near, and outside."""

import numpy as np
import point_cloud_utils
import pytest
import trimesh

from intravariance.errors import InputError
from intravariance.geometry.mesh import mesh_from_arrays, to_unit_sphere
from intravariance.geometry.parts import components
from intravariance.geometry.topology import closed_problem, signed_volume
from intravariance.sources.wrapping import REACH, wrap
from tests.support.meshes_on_disk import CUBE_QUADS, CUBE_TRIANGLES, CUBE_VERTICES

VOXEL = 0.06


def soup(rng, count=40):
    """Triangles in no order, through each other."""
    corners = rng.normal(size=(count, 1, 3)) * 0.4 + rng.normal(size=(count, 3, 3)) * 0.3
    return mesh_from_arrays(corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3))


SHAPES = {
    "cube": (CUBE_VERTICES, CUBE_TRIANGLES),
    "open box": (CUBE_VERTICES, CUBE_TRIANGLES[:10]),
    "one triangle": (CUBE_VERTICES, CUBE_TRIANGLES[:1]),
    "crossing sheets": (CUBE_VERTICES, [(0, 1, 3), (0, 3, 2), (0, 4, 7), (0, 7, 3), (0, 5, 7)]),
}


def distances(skin, mesh):
    found, _, _ = point_cloud_utils.closest_points_on_mesh(
        skin.vertices.astype(float), mesh.vertices.astype(float), mesh.faces.astype(np.int64)
    )
    return np.asarray(found)


@pytest.mark.parametrize("name", SHAPES)
def test_the_skin_is_closed_and_everywhere_as_far_off(name):
    vertices, faces = SHAPES[name]
    mesh = to_unit_sphere(mesh_from_arrays(np.array(vertices, dtype=float), np.array(faces)))
    skin = wrap(mesh, VOXEL)
    assert closed_problem(skin) == ""
    # marching cubes interpolates along a voxel's edge: exact off a plane, short at creases
    off = distances(skin, mesh)
    assert np.median(off) == pytest.approx(REACH * VOXEL, rel=0.05)
    assert off.max() < 1.3 * REACH * VOXEL
    assert off.min() > 0.5 * REACH * VOXEL


@pytest.mark.parametrize("seed", range(3))
def test_any_soup_gets_a_closed_skin(seed):
    mesh = to_unit_sphere(soup(np.random.default_rng(seed)))
    skin = wrap(mesh, VOXEL)
    assert closed_problem(skin) == ""
    depth, _, _ = point_cloud_utils.signed_distance_to_mesh(
        mesh.vertices.astype(float), skin.vertices.astype(float), skin.faces.astype(np.int64)
    )
    assert np.max(depth) < 0  # every corner has skin around it


def test_what_is_closed_becomes_solid_and_what_is_open_stays_open():
    cube = to_unit_sphere(mesh_from_arrays(np.array(CUBE_VERTICES), np.array(CUBE_TRIANGLES)))
    side = 2 / np.sqrt(3) + 2 * REACH * VOXEL
    assert signed_volume(wrap(cube, VOXEL)) == pytest.approx(side**3, rel=0.03)
    assert components(wrap(cube, VOXEL)).max() == 0
    quads = [t for a, b, c, d in CUBE_QUADS[:5] for t in ((a, b, c), (a, c, d))]
    box = to_unit_sphere(mesh_from_arrays(np.array(CUBE_VERTICES), np.array(quads)))
    assert signed_volume(wrap(box, VOXEL)) < 0.5 * signed_volume(wrap(cube, VOXEL))


def test_it_is_the_same_each_time():
    mesh = to_unit_sphere(soup(np.random.default_rng(5)))
    first, second = wrap(mesh, VOXEL), wrap(mesh, VOXEL)
    assert np.array_equal(first.vertices, second.vertices)
    assert np.array_equal(first.faces, second.faces)


def test_spheres_inside_each_other_are_one_solid():
    ball = trimesh.creation.icosphere(subdivisions=3)
    vertices = np.concatenate([ball.vertices, 0.5 * ball.vertices])
    faces = np.concatenate([ball.faces, ball.faces + len(ball.vertices)])
    skin = wrap(mesh_from_arrays(vertices, faces), VOXEL)
    assert components(skin).max() == 0
    assert signed_volume(skin) == pytest.approx(4 / 3 * np.pi * (1 + REACH * VOXEL) ** 3, rel=0.03)


def test_nothing_and_too_much_are_refused():
    flat = mesh_from_arrays(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    with pytest.raises(InputError, match="no surface"):
        wrap(flat, VOXEL)
    cube = mesh_from_arrays(np.array(CUBE_VERTICES), np.array(CUBE_TRIANGLES))
    with pytest.raises(InputError, match="more than 200,000 voxels"):
        wrap(cube, 0.01)
