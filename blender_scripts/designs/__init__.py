# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded base meshes: one module a category, one function a product.

A function returns its mesh anywhere above or below the ground; `build` puts it down.

`catalogue.toml` beside this file lists what there is, so that nobody needs Blender to know.
"""

import importlib

import numpy as np

from blender_scripts.meshes import without_short_edges

# Booleans leave edges so short that float32 coordinates cannot hold the faces at them; this share
# of the diagonal is far below any detail.
SHORTEST_EDGE = 2e-4


def build(category, subcategory):
    """Build a design: (vertices, faces) in its own units, standing on the ground z = 0.

    Raises KeyError or ImportError when there is none of that name.
    """
    module = importlib.import_module(f"blender_scripts.designs.{category}")
    vertices, faces = module.DESIGNS[subcategory]()
    vertices = vertices - [0, 0, vertices[:, 2].min()]
    diagonal = np.linalg.norm(np.ptp(vertices, axis=0))
    return without_short_edges(vertices, faces, SHORTEST_EDGE * diagonal)
