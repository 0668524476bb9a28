# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intravariance.errors import InputError
from intravariance.mesh import mesh_from_arrays, triangle_areas
from intravariance.mesh_topology import closed_problem, signed_volume, subdivide_long_edges
from tests.meshes_on_disk import CUBE_TRIANGLES, CUBE_VERTICES

CUBE = mesh_from_arrays(np.array(CUBE_VERTICES), np.array(CUBE_TRIANGLES))


def longest_edge(mesh):
    corners = mesh.vertices[mesh.faces]
    return np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max()


def test_cube_is_a_solid_of_volume_8():
    assert closed_problem(CUBE) == ""
    assert signed_volume(CUBE) == pytest.approx(8)


@pytest.mark.parametrize(
    ("faces", "problem"),
    [
        (CUBE.faces[1:], "open edges"),
        (CUBE.faces[:, ::-1], "faces that point inwards"),
        (np.concatenate([CUBE.faces[:1, ::-1], CUBE.faces[1:]]), "opposite orientation"),
        (np.concatenate([CUBE.faces, CUBE.faces[:1]]), "more than two faces"),
        (np.concatenate([CUBE.faces, [[0, 0, 1]]]), "faces without area"),
    ],
)
def test_what_is_no_solid_is_named(faces, problem):
    assert problem in closed_problem(mesh_from_arrays(CUBE.vertices, faces))


def test_vertices_that_are_not_finite_are_named():
    vertices = CUBE.vertices.copy()
    vertices[0, 0] = np.nan
    assert "not finite" in closed_problem(type(CUBE)(vertices, CUBE.faces))


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


def test_subdividing_an_edge_of_length_one_gives_the_halves():
    triangle = mesh_from_arrays(
        np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.1, 0]]), np.array([[0, 1, 2]])
    )
    fine = subdivide_long_edges(triangle, 0.6)
    assert fine.vertices[3].tolist() == [0.5, 0, 0]
    assert sorted(map(sorted, fine.faces.tolist())) == [[0, 2, 3], [1, 2, 3]]


def test_subdividing_stops_before_it_fills_the_memory():
    with pytest.raises(InputError, match="more than 1,000 faces"):
        subdivide_long_edges(CUBE, 1e-6, max_faces=1000)
