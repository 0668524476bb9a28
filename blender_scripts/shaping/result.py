# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a defect: the mesh and its ground truth."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from blender_scripts.surface import Surface

# The same number as in annotations/vocabulary.py, which Blender's Python cannot import.
DISPLACEMENT_THRESHOLD = 0.002


@dataclass(frozen=True)
class Defective:
    """A defective mesh with its ground truth, in the frame and units of the pristine mesh.

    vertices (V, 3), faces (F, 3): the mesh, closed when the pristine one was.
    displacement (V, 3): from the pristine surface to this one; 0 where untouched, and all 0 for
    cuts. vertices - displacement lies on the pristine surface.
    cut (F,) bool: the faces that a cut exposed.
    rim (K, 3): points at most 0.005 apart on the edges between cut and untouched surface.
    parameters: plain numbers, strings and lists; lengths in units of the unit-sphere radius.
    """

    vertices: np.ndarray
    faces: np.ndarray
    displacement: np.ndarray
    cut: np.ndarray
    rim: np.ndarray
    parameters: dict = field(default_factory=dict)

    @cached_property
    def surface(self):
        """Return the `Surface` of the mesh."""
        return Surface(self.vertices, self.faces)


def deformed(surface, displacement, parameters):
    """Make the `Defective` of a surface whose vertices moved by `displacement` (V, 3).

    The displacement is rounded to multiples of 2^-24, about what single precision holds at radius
    1: near 0 it would hold the arithmetic's own errors.
    """
    displacement = np.ldexp(np.rint(np.ldexp(displacement, 24)), -24)
    return Defective(
        vertices=surface.vertices + displacement,
        faces=surface.faces,
        displacement=displacement,
        cut=np.zeros(len(surface.faces), dtype=bool),
        rim=np.zeros((0, 3)),
        parameters=parameters,
    )


def recorded(value):
    """Return parameters with every float, also in lists, rounded to 9 digits."""
    if isinstance(value, dict):
        return {key: recorded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [recorded(item) for item in value]
    return round(value, 9) if isinstance(value, float) else value


def listed(vector):
    """Return a plain list of floats, rounded to 6 digits, for `parameters`."""
    return [round(float(x), 6) for x in vector]
