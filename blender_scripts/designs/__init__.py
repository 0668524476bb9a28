# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded base meshes: one module a category, one function a product; modules lie by kind.

A function returns its mesh anywhere above or below the ground; `build` puts it down.

`catalogue.toml` beside this file lists what there is, so that nobody needs Blender to know.
"""

import importlib

import numpy as np

from blender_scripts.meshes import without_short_edges
from blender_scripts.portable import norm

# Booleans leave edges so short that float32 coordinates cannot hold the faces at them; this share
# of the diagonal is far below any detail.
SHORTEST_EDGE = 2e-4

KINDS = {
    "vessels": ("bottle", "bowl", "bucket", "cone", "cup", "vase"),
    "furniture": ("desk", "door", "night_stand"),
    "devices": ("keyboard", "microphone", "radio", "tap", "xbox"),
    "headwear": ("cap", "helmet"),
}


def build(category, subcategory):
    """Build a design: (vertices, faces) in its own units, standing on the ground z = 0.

    Raises KeyError when there is none of that name.
    """
    vertices, faces = designs_of(category)[subcategory]()
    vertices = vertices - [0, 0, vertices[:, 2].min()]
    diagonal = norm(np.ptp(vertices, axis=0))
    return without_short_edges(vertices, faces, SHORTEST_EDGE * diagonal)


def designs_of(category):
    """Return the functions of a category's designs, by subcategory. Raises KeyError for others."""
    kinds = {name: kind for kind, names in KINDS.items() for name in names}
    module = importlib.import_module(f"blender_scripts.designs.{kinds[category]}.{category}")
    return module.DESIGNS
