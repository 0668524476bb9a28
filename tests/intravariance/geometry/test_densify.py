# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from intravariance.errors import InputError
from intravariance.geometry.densify import subdivide_long_edges
from intravariance.geometry.mesh import mesh_from_arrays, triangle_areas
from intravariance.geometry.topology import closed_problem, signed_volume
from tests.support.meshes_on_disk import CUBE_TRIANGLES, CUBE_VERTICES

CUBE = mesh_from_arrays(np.array(CUBE_VERTICES), np.array(CUBE_TRIANGLES))


def longest_edge(mesh):
    corners = mesh.vertices[mesh.faces]
    return np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max()


@settings(deadline=None)
@given(st.floats(0.1, 3), st.tuples(*[st.floats(0.05, 2)] * 3))
def test_subdividing_keeps_the_solid(longest, scale):
    mesh = mesh_from_arrays(CUBE.vertices * np.array(scale), CUBE.faces)
    fine = subdivide_long_edges(mesh, longest)
    assert longest_edge(fine) <= longest * (1 + 1e-6)
    assert closed_problem(fine) == ""
    assert signed_volume(fine) == pytest.approx(signed_volume(mesh), rel=1e-5)
    assert triangle_areas(fine).sum() == pytest.approx(triangle_areas(mesh).sum(), rel=1e-5)


def test_subdividing_leaves_short_edges_alone():
    assert subdivide_long_edges(CUBE, 3).faces.tolist() == CUBE.faces.tolist()


def test_long_thin_triangles_do_not_multiply():
    # a disc of 90 needles from the centre of each cap, as booleans leave them
    cylinder = trimesh.creation.cylinder(radius=1, height=0.2, sections=90)
    mesh = mesh_from_arrays(cylinder.vertices, cylinder.faces)
    fine = subdivide_long_edges(mesh, 0.1)
    assert closed_problem(fine) == ""
    # 0.1-edged triangles of the best shape would be 1,790
    assert len(fine.faces) < 4 * cylinder.area / (0.1**2 * 3**0.5 / 4)
    assert signed_volume(fine) == pytest.approx(cylinder.volume, rel=1e-6)


def test_the_surface_stays_where_it_is():
    cylinder = trimesh.creation.cylinder(radius=1, height=0.5, sections=12)
    fine = subdivide_long_edges(mesh_from_arrays(cylinder.vertices, cylinder.faces), 0.2)
    # outside a convex body no point has a positive distance to all of its planes
    distance = (fine.vertices @ cylinder.face_normals.T) - np.einsum(
        "ij,ij->i", cylinder.triangles_center, cylinder.face_normals
    )
    assert np.abs(distance.max(axis=1)).max() < 1e-5


def test_an_open_mesh_is_refused():
    with pytest.raises(InputError, match="closed mesh"):
        subdivide_long_edges(mesh_from_arrays(CUBE.vertices, CUBE.faces[1:]), 0.1)


def test_the_limit_of_faces_is_exact():
    count = len(subdivide_long_edges(CUBE, 0.3).faces)
    assert len(subdivide_long_edges(CUBE, 0.3, max_faces=count).faces) == count
    with pytest.raises(InputError, match="more than"):
        subdivide_long_edges(CUBE, 0.3, max_faces=count - 1)


def test_subdividing_stops_before_it_fills_the_memory():
    with pytest.raises(InputError, match="more than 1,000 faces"):
        subdivide_long_edges(CUBE, 1e-6, max_faces=1000)
