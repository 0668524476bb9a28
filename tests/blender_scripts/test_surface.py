# SPDX-License-Identifier: Apache-2.0
"""Surfaces: frames, open places, and points near others."""

import numpy as np
import pytest

pytest.importorskip("bpy", reason="Blender is not installed: pip install '.[blender]'")

from blender_scripts.meshes import GeometryError
from blender_scripts.surface import HEMISPHERE, Surface, about, dot, tangents
from tests.blender_scripts.test_defects import mesh_of


def test_frames_and_openness():
    normals = np.random.default_rng(0).standard_normal((50, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    across, along = tangents(normals)
    assert np.allclose(np.cross(across, along), normals)
    assert np.allclose(dot(across, along), 0)
    surface = Surface(*mesh_of("box"))
    assert all(surface.is_open(surface.centres[::500], surface.face_normals[::500], 1.0))
    vessel_surface = Surface(*mesh_of("vessel"))
    bottom = vessel_surface.vertices[:, 2].min()
    for seed in range(20):
        place = vessel_surface.seed(np.random.default_rng(seed))
        assert all(vessel_surface.is_open(place.point[None], place.normal[None], 0.5))
        assert place.normal[2] > -0.6 or place.point[2] > bottom + 0.3


@pytest.mark.parametrize("tries", [1, 20])
def test_seeds_drawn_together_are_those_of_one_call_after_the_other(tries):
    surface = Surface(*mesh_of("vessel"))
    failed = 0
    for start in range(20):
        one, many = np.random.default_rng(start), np.random.default_rng(start)
        try:
            single = [surface.seed(one, tries) for _ in range(8)]
        except GeometryError:
            failed += 1
            with pytest.raises(GeometryError, match="visible from outside"):
                surface.seeds(many, 8, tries)
        else:
            for a, b in zip(single, surface.seeds(many, 8, tries), strict=True):
                assert (a.point.tolist(), a.face) == (b.point.tolist(), b.face)
        assert one.random() == many.random()
    assert (failed > 0) == (tries == 1)


@pytest.mark.parametrize("share", [1 / 6, 0.5, 0.75, 1.0])
def test_a_place_is_open_when_that_share_of_all_rays_meets_nothing(share):
    surface = Surface(*mesh_of("vessel"))
    points, faces = surface.draw(np.random.default_rng(1), 60)
    normals = surface.face_normals[faces]
    across, along = tangents(normals)
    frames = np.stack([across, along, normals], axis=1)
    free = [
        np.isinf(surface.cast(point, HEMISPHERE @ frame)[0]).mean()
        for point, frame in zip(points, frames, strict=True)
    ]
    found = list(surface.is_open(points, normals, share))
    assert found == [value >= share for value in free]
    assert len(set(found)) == 2


def test_points_about_others_are_all_those_within_reach():
    rng = np.random.default_rng(3)
    points, others = rng.uniform(-1, 1, (2000, 3)), rng.uniform(-0.5, 0.4, (60, 3))
    distances = np.linalg.norm(points[:, None] - others, axis=2).min(axis=1)
    rows = about(points, others, 0.1)
    assert set(np.flatnonzero(distances < 0.1)) <= set(rows)
    assert distances[rows].max() < 0.1 * 2 * 1.001 * 3**0.5
    assert len(rows) < len(points) / 4
