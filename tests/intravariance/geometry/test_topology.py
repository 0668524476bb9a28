# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from intravariance.geometry.mesh import mesh_from_arrays
from intravariance.geometry.topology import closed_problem, signed_volume
from tests.support.meshes_on_disk import CUBE_TRIANGLES, CUBE_VERTICES

CUBE = mesh_from_arrays(np.array(CUBE_VERTICES), np.array(CUBE_TRIANGLES))


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
