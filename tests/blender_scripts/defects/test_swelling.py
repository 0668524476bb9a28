# SPDX-License-Identifier: Apache-2.0
"""Swellings: what is in relief on a surface swells with it, and no part that juts out is moved."""

import numpy as np
import pytest

pytest.importorskip("bpy", reason="Blender is not installed: pip install '.[blender]'")

from blender_scripts.defects.swelling import RELIEF, no_swelling
from blender_scripts.designs import shapes
from blender_scripts.meshes import subdivide_long_edges
from blender_scripts.shaping.fields import smooth_step
from blender_scripts.shaping.result import deformed
from blender_scripts.surface import Surface

RADIUS = 0.25


def swollen(height):
    """Swell the middle of a block, on which a boss of that height stands, upwards."""
    block, boss = shapes.box((1.2, 1.2, 0.6)), shapes.cylinder(0.04, 2 * height, (0, 0, 0.3))
    surface = Surface(*subdivide_long_edges(*shapes.union(block, boss), 0.03))
    x, y, z = surface.vertices.T
    weight = 1 - smooth_step((np.hypot(x, y) / RADIUS - 0.2) / 0.8)
    weight[z < 0] = 0.0
    defect = deformed(
        surface,
        0.06 * weight[:, None] * [0.0, 0.0, 1.0],
        {
            "centre": [0.0, 0.0, 0.3],
            "direction": [0.0, 0.0, 1.0],
            "radius": RADIUS,
            "height": 0.06,
            "whole_wall": False,
        },
    )
    return no_swelling(defect.surface, defect)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_boss_swells_with_the_surface(share):
    assert swollen(share * RELIEF * RADIUS) == ""


def test_a_stem_is_not_carried_off():
    assert swollen(1.1 * RELIEF * RADIUS) == "a part that juts out moves"
