# SPDX-License-Identifier: GPL-3.0-or-later
"""The defects, and `make_defect`, which makes one and checks it.

Lengths are in units of the unit-sphere radius of the product (area centroid at 0, greatest
distance from it 1); z is up.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from blender_scripts.defects.bending import bending
from blender_scripts.defects.broken import broken
from blender_scripts.defects.checks import problem
from blender_scripts.defects.crack import crack
from blender_scripts.defects.hole import hole
from blender_scripts.defects.misaligned import misaligned
from blender_scripts.defects.missing import missing
from blender_scripts.defects.scratch import scratch
from blender_scripts.defects.swelling import bulge, concavity
from blender_scripts.defects.twist import twist
from blender_scripts.meshes import GeometryError
from blender_scripts.shaping.result import Defective, recorded
from blender_scripts.surface import Surface

__all__ = ["DEFECTS", "Defective", "make_defect"]

DEFECTS = {
    "bulge": bulge,
    "concavity": concavity,
    "hole": hole,
    "missing": missing,
    "crack": crack,
    "broken": broken,
    "scratch": scratch,
    "bending": bending,
    "twist": twist,
    "misaligned": misaligned,
}


@lru_cache(maxsize=4)
def _surface(vertices, faces):
    """Return the `Surface` of a mesh given as bytes; many jobs start from the same product."""
    return Surface(np.frombuffer(vertices).reshape(-1, 3), np.frombuffer(faces, int).reshape(-1, 3))


def make_defect(kind, vertices, faces, rng, severity, attempts=100):
    """Make one defect of the given kind that passes every check: (Defective, rejections).

    kind : a key of DEFECTS. vertices (V, 3), faces (F, 3): the pristine mesh, closed.
    rng : numpy.random.Generator; each attempt draws on from it. severity : 0 slight .. 1 severe.
    rejections : why each attempt before the accepted one was refused.

    Raises GeometryError, with all reasons, when no attempt out of `attempts` is accepted, and
    ValueError for a severity outside 0 .. 1.
    """
    if not 0.0 <= severity <= 1.0:
        raise ValueError(f"severity is {severity}; it goes from 0 to 1")
    pristine = _surface(
        np.asarray(vertices, dtype=np.float64).tobytes(),
        np.asarray(faces, dtype=np.int64).tobytes(),
    )
    rejections = []
    for _ in range(attempts):
        try:
            defective = DEFECTS[kind](pristine, rng, severity)
            reason = problem(kind, pristine, defective)
        except GeometryError as error:
            reason = str(error)
        if not reason:
            return replace(defective, parameters=recorded(defective.parameters)), rejections
        rejections.append(reason)
    counted = {reason: rejections.count(reason) for reason in rejections}
    listed = "; ".join(f"{reason} ({count})" for reason, count in counted.items())
    raise GeometryError(f"no {kind} after {attempts} attempts: {listed}")
