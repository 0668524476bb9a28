# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks that a defect happened, can be seen, and is labelled where it is."""

from dataclasses import dataclass

import numpy as np
from mathutils.kdtree import KDTree

from blender_scripts.defects.bending import no_bending
from blender_scripts.defects.plausibility import implausible
from blender_scripts.defects.scratch import no_scratch
from blender_scripts.defects.swelling import no_swelling
from blender_scripts.defects.twist import no_twist
from blender_scripts.portable import norm
from blender_scripts.shaping.result import DISPLACEMENT_THRESHOLD
from blender_scripts.surface import Surface, about, inside

# The same number as in annotations/vocabulary.py, which Blender's Python cannot import.
RIM_WIDTH = 0.03

# Single-precision ray and distance queries are this good on a product of radius 1.
PRECISION = 1e-5
# Unlabelled surface departs less than this: what rounding and the threshold leave.
UNTOUCHED = 0.003


@dataclass(frozen=True)
class Limits:
    """Limits that a defect of one type has to keep.

    least, most: labelled share of the whole area.
    departure: see `problem`: the least departure of a cut; of a deformation, a quarter of the
    labelled area is at least this far from the pristine surface.
    visible: share of the labelled area from which a sixth of the hemisphere is free.
    """

    least: float
    most: float
    departure: float
    visible: float


LIMITS = {
    "bulge": Limits(0.002, 0.40, 0.008, 0.4),
    "concavity": Limits(0.002, 0.40, 0.008, 0.4),
    "hole": Limits(0.002, 0.25, 0.010, 0.3),
    "missing": Limits(0.002, 0.40, 0.020, 0.3),
    "crack": Limits(0.002, 0.40, 0.006, 0.3),
    "broken": Limits(0.003, 0.40, 0.020, 0.3),
    "scratch": Limits(0.002, 0.25, 0.006, 0.4),
    "bending": Limits(0.020, 0.40, 0.002, 0.3),
    "twist": Limits(0.020, 0.40, 0.002, 0.3),
    "misaligned": Limits(0.005, 0.40, 0.010, 0.3),
    "wrong_part": Limits(0.005, 0.40, 0.010, 0.3),
}


def problem(kind, pristine, defect):
    """Say why a `Defective` of the pristine `Surface` is not acceptable; return "" when it is.

    An acceptable one gets `parameters["departure"]`, its size against which noise counts, in radii:

    - deformations: root mean square, over the labelled area, of the distance between the labelled
      surface and the pristine surface (sliding along the surface does not count), from 200 faces
      spread over that area;
    - cuts: the depth. The greater of two distances: the greatest of a removed part of the pristine
      surface from what is left, and that which a tenth of the exposed surface exceeds from the
      pristine surface.
    """
    limits = LIMITS[kind]
    surface = defect.surface
    if len(surface.faces) == 0:
        return "nothing is left"
    if not np.isfinite(surface.vertices).all():
        return "vertices that are not finite"
    size = norm(defect.displacement)
    labelled = defect.cut | (surface.mean_of_corners(size) > DISPLACEMENT_THRESHOLD)
    if defect.cut.any():
        if surface.problem:
            return f"the cut left {surface.problem}"
        _add_rim(labelled, surface, defect.rim)
    share = surface.areas[labelled].sum() / surface.areas.sum()
    if not limits.least <= share <= limits.most:
        return f"{share:.2%} of the area would be labelled"
    if defect.cut.any():
        departure = _cut_departure(pristine, surface, defect)
        reason = _cut_problem(kind, pristine, surface, departure, limits)
    else:
        distances = _distances(pristine, surface, labelled)
        departure = float(np.sqrt((distances * distances).mean()))
        reason = _deformation_problem(pristine, surface, defect, labelled, distances, limits)
    reason = reason or _hidden(surface, labelled, limits)
    if not (reason or defect.cut.any() or kind == "misaligned"):
        reason = _misnamed(kind, surface, defect)
        reason = reason or implausible(kind, surface, defect.displacement, labelled)
    if reason:
        return reason
    defect.parameters["departure"] = round(departure, 6)
    return ""


def _hidden(surface, labelled, limits):
    """Say that too little of the labelled surface can be seen; return "" when enough can."""
    chosen = surface.spread(labelled, 60)
    seen = list(surface.is_open(surface.centres[chosen], surface.face_normals[chosen], 1 / 6))
    if np.mean(seen) < limits.visible:
        return f"only {np.mean(seen):.0%} of the labelled surface can be seen"
    return ""


def _misnamed(kind, surface, defect):
    """Say why a deformation does not deserve the name of its type; return "" when it does."""
    if kind in ("bulge", "concavity"):
        return no_swelling(surface, defect)
    if kind == "bending":
        return no_bending(defect)
    if kind == "twist":
        return no_twist(defect)
    return no_scratch(surface, defect) if kind == "scratch" else ""


def _distances(pristine, surface, labelled):
    """Return the distances (N,) of places spread over the labelled area from the pristine one."""
    return pristine.distances(surface.centres[surface.spread(labelled, 200)])


def _deformation_problem(pristine, surface, defect, labelled, distances, limits):
    """Say what is wrong with a deformation; return "" when nothing is."""
    typical = float(np.quantile(distances, 0.75))
    if typical < limits.departure:
        return f"the labelled surface departs by {typical:.3f} only"
    rest = surface.spread(~labelled, 60)
    if len(rest) and pristine.distances(surface.centres[rest]).max() > UNTOUCHED:
        return "unlabelled surface moved"
    before = Surface(defect.vertices - defect.displacement, defect.faces)
    moved = np.unique(surface.faces[surface.spread(labelled, 200)])
    if pristine.distances(before.vertices[moved]).max() > PRECISION:
        return "the displacement does not start on the pristine surface"
    if surface.volume <= 0:
        return "the product is inside out"
    return ""


def _cut_problem(kind, pristine, surface, departure, limits):
    """Say what is wrong with a cut; return "" when nothing is."""
    taken = surface.volume <= pristine.volume * (1 - 1e-5)
    if kind != "wrong_part" and not taken:
        return "no material went"
    if departure < limits.departure:
        return f"the cut departs by {departure:.3f} only"
    return ""


def _cut_departure(pristine, surface, defect):
    """Return the depth of a cut: see `problem`."""
    # what is not there any more, and what there was not before
    exposed = surface.vertices[surface.faces[defect.cut].reshape(-1)]
    around = inside(pristine.centres, exposed.min(axis=0) - 0.01, exposed.max(axis=0) + 0.01)
    removed = surface.distances(pristine.centres[pristine.spread(around, 600)])
    exposed = pristine.distances(surface.centres[surface.spread(defect.cut, 200)])
    return max(removed.max(initial=0.0), float(np.quantile(exposed, 0.9)))


def _add_rim(labelled, surface, rim):
    """Add to `labelled` (F,) bool the faces whose centroid is within RIM_WIDTH of the rim."""
    if len(rim) == 0:
        return
    rows = np.flatnonzero(~labelled)
    rows = rows[about(surface.centres[rows], rim, RIM_WIDTH)]
    tree = KDTree(len(rim))
    for i, point in enumerate(rim.tolist()):
        tree.insert(point, i)
    tree.balance()
    find = tree.find
    labelled[rows] = [find(point)[2] < RIM_WIDTH for point in surface.centres[rows].tolist()]
