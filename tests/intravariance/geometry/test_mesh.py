# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from intravariance.errors import InputError
from intravariance.geometry.mesh import (
    digest_arrays,
    mesh_from_arrays,
    to_unit_sphere,
    triangle_areas,
)
from tests.support.meshes_on_disk import CUBE_QUADS, CUBE_TRIANGLES, CUBE_VERTICES

VERTICES, FACES = np.array(CUBE_VERTICES, dtype=float), np.array(CUBE_TRIANGLES)


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (VERTICES, np.array(CUBE_QUADS), r"expected .*\(F, 3\) faces"),
        (VERTICES[:, :2], FACES, r"expected \(V, 3\) vertices"),
        (VERTICES, FACES[:0], "at least one face"),
        (VERTICES, FACES - 1, r"0\.\.7"),
        (VERTICES, FACES + 2**32, r"0\.\.7"),  # cast to int32 first they would be right
        (np.where(VERTICES > 0, np.nan, VERTICES), FACES, "NaN"),
    ],
)
def test_arrays_that_are_no_mesh_are_refused(vertices, faces, message):
    with pytest.raises(InputError, match=message):
        mesh_from_arrays(vertices, faces)


def test_the_unit_sphere_frame_is_that_of_the_surface():
    # repeated vertices at one corner must not pull the centroid
    crowded = np.concatenate([VERTICES, np.repeat(VERTICES[:1], 50, axis=0)])
    mesh = to_unit_sphere(mesh_from_arrays(crowded * 7 + [3, -2, 100], FACES))
    np.testing.assert_allclose(mesh.vertices[:8], VERTICES / 3**0.5, atol=1e-6)
    assert triangle_areas(mesh).sum() == pytest.approx(8)


def test_a_mesh_without_area_has_no_frame():
    with pytest.raises(InputError, match="no surface"):
        to_unit_sphere(mesh_from_arrays(VERTICES * [1, 0, 0], FACES))


def test_a_digest_depends_on_names_shapes_and_types_but_not_on_memory_layout():
    array = np.arange(6, dtype=np.int32)
    digest = digest_arrays(a=array.reshape(2, 3))
    assert digest == digest_arrays(a=np.asfortranarray(array.reshape(2, 3)))
    assert digest == digest_arrays(a=array.reshape(2, 3).astype(">i4"))
    others = [digest_arrays(a=array), digest_arrays(b=array.reshape(2, 3))]
    others.append(digest_arrays(a=array.reshape(2, 3).astype(np.int64)))
    assert len({digest, *others}) == 4
