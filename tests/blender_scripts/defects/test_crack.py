# SPDX-License-Identifier: Apache-2.0
"""Cracks: they eat up nothing that they run along."""

import numpy as np
import pytest

pytest.importorskip("bpy", reason="Blender is not installed: pip install '.[blender]'")

from blender_scripts.defects import make_defect
from blender_scripts.defects.crack import ABOUT, EATEN, MUCH, SECTIONS, lost
from blender_scripts.designs import shapes
from blender_scripts.meshes import GeometryError
from blender_scripts.shaping.paths import STEP, Path
from blender_scripts.surface import Surface
from tests.blender_scripts.test_defects import prepared

WIDTH, DEPTH = 0.1, 0.12


def line(top, count=40):
    """Make a straight path along x at the height `top`."""
    points = np.stack([STEP * (np.arange(count) - count / 2), *np.zeros((2, count))], axis=1)
    points[:, 2] = top
    normals, sides = np.tile([0, 0, 1.0], (count, 1)), np.tile([0, 1.0, 0], (count, 1))
    return Path(points, normals, sides, (False, False))


def cut(solid, top):
    """Cut a groove along the line into a solid: (surface before, surface after)."""
    groove = shapes.box((2.0, WIDTH, 2 * DEPTH), (0, 0, top))
    return Surface(*solid), Surface(*shapes.difference(solid, groove))


def test_of_a_tube_no_wider_than_the_crack_much_is_lost_and_of_a_wall_little():
    radius = 0.08
    shares = lost(*cut(shapes.cylinder(radius, 1.5, axis="x"), radius), line(radius), ABOUT * WIDTH)
    assert shares.shape == (SECTIONS,)
    # a strip as wide as the groove, DEPTH of 2 radii deep
    height = np.linspace(-radius, DEPTH - radius, 2001)[1:]
    chord = np.minimum(WIDTH, 2 * np.sqrt(radius**2 - height**2))
    expected = chord.sum() * (height[1] - height[0]) / (np.pi * radius**2)
    assert shares.mean() == pytest.approx(expected, abs=0.12)
    assert (shares > MUCH).mean() > EATEN
    plate = shapes.box((1.5, 1.5, 0.1))
    shares = lost(*cut(plate, 0.05), line(0.05), ABOUT * WIDTH)
    assert shares.mean() == pytest.approx(1 / (2 * ABOUT), abs=0.06)
    assert not (shares > MUCH).any()
    block = Surface(*plate)
    assert not lost(block, block, line(0.05), ABOUT * WIDTH).any()


def test_a_thin_rod_has_no_severe_crack_along_it():
    rod = prepared(shapes.cylinder(0.1, 2.0, segments=32))
    with pytest.raises(GeometryError, match="eat up what it runs along"):
        make_defect("crack", *rod, np.random.default_rng(1), 1.0, attempts=10)
