# SPDX-License-Identifier: Apache-2.0
"""Scratches: on one side of a product, and narrower than the surface that they are on."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("bpy", reason="Blender is not installed: pip install '.[blender]'")

from blender_scripts.defects import make_defect
from blender_scripts.defects.scratch import (
    AROUND,
    EDGE,
    MOST_ASIDE,
    NARROWEST,
    SHORTEST,
    SLENDER,
    WIDTH,
    _aside,
    _one_side,
    no_scratch,
)
from blender_scripts.designs import shapes
from blender_scripts.meshes import GeometryError
from blender_scripts.shaping.paths import STEP, Path
from blender_scripts.surface import Surface, unit
from tests.blender_scripts.test_defects import mesh_of, prepared


def drawn(mesh, seed, severity=0.6):
    return make_defect("scratch", *mesh, np.random.default_rng(seed), severity)[0]


def path_of(normals):
    """Make a path of unit normals (K, 3) in the plane z = 0."""
    sides = np.tile([0.0, 0.0, 1.0], (len(normals), 1))
    steps = STEP * np.cross(sides, normals)
    return Path(np.cumsum(steps, axis=0), normals, sides, (False, False))


def turning(degrees, count=60):
    """Make a path around a cylinder whose normals turn by so much."""
    angle = np.radians(np.linspace(0, degrees, count))
    return path_of(np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1))


def test_a_line_ends_where_it_would_run_around_the_product():
    assert len(_one_side(turning(0.9 * AROUND), 0.1).points) == 60
    kept = _one_side(turning(2 * AROUND), 0.1)
    assert 28 <= len(kept.points) <= 30
    assert kept.normals[0] @ kept.normals[-1] >= np.cos(np.radians(AROUND)) - 1e-9


def test_a_line_ends_at_an_edge_and_the_longer_stretch_is_kept():
    normals = np.repeat([[1.0, 0, 0], [0, 1.0, 0]], (20, 30), axis=0)
    assert np.array_equal(_one_side(path_of(normals), 0.1).normals, normals[20:])
    slight = np.radians(0.9 * EDGE)
    normals[20:] = [np.cos(slight), np.sin(slight), 0]
    assert len(_one_side(path_of(normals), 0.1).points) == 50


@pytest.mark.parametrize(("radius", "narrow"), [(0.07, True), (0.5, False)])
def test_a_scratch_of_a_rod_is_narrower_than_the_rod(radius, narrow):
    found = drawn(prepared(shapes.cylinder(radius, 2.0, segments=32)), 0).parameters
    assert (found["width"] < WIDTH[0]) == narrow
    assert found["width"] >= NARROWEST * WIDTH[0]
    assert found["length"] >= max(SHORTEST, SLENDER * found["width"])
    assert found["around_degrees"] <= AROUND


def test_a_rod_thinner_than_every_groove_has_no_scratch():
    rod = prepared(shapes.cylinder(0.015, 2.0, segments=12))
    with pytest.raises(GeometryError, match="too narrow for a scratch"):
        make_defect("scratch", *rod, np.random.default_rng(0), 0.6, attempts=2)


def test_what_is_no_scratch_is_refused():
    defect = drawn(mesh_of("box"), 3)
    assert no_scratch(defect.surface, defect) == ""
    for key, value, reason in (
        ("around_degrees", AROUND + 1, "runs around"),
        ("edge_degrees", EDGE + 1, "crosses an edge"),
        ("length", 0.9 * SHORTEST, "that short"),
        ("width", defect.parameters["length"], "that short"),
    ):
        other = replace(defect, parameters=defect.parameters | {key: value})
        assert reason in no_scratch(defect.surface, other)


def test_the_share_that_looks_aside_is_that_of_a_tube_or_of_a_plate():
    tube = Surface(*prepared(shapes.cylinder(0.2, 2.0, segments=96)))
    x, y, z = tube.vertices.T
    along = np.abs(z) < 0.5
    for half, expected in ((20, 0.0), (90, 0.5)):  # degrees of the tube that a groove covers
        own = along & (np.degrees(np.arctan2(np.abs(y), x)) < half)
        shift = np.where(own[:, None], [-0.01, 0.0, 0.0], 0.0)
        share = _aside(tube, shift)
        assert share == pytest.approx(expected, abs=0.05)
        assert (share > MOST_ASIDE) == (half == 90)
    assert _aside(tube, np.zeros_like(tube.vertices)) == 1.0
    assert _aside(tube, -0.01 * unit(tube.vertices * [1, 1, 0])) < 0.1  # all of the side, inwards
