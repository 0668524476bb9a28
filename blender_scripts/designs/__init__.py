# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded base meshes: one module a category, one function a product.

`catalogue.toml` beside this file lists what there is, so that nobody needs Blender to know.
"""

import importlib


def build(category, subcategory):
    """(vertices, faces) of a design in its own units; KeyError when there is none of that name."""
    module = importlib.import_module(f"blender_scripts.designs.{category}")
    return module.DESIGNS[subcategory]()
