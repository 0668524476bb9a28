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
from blender_scripts.defects.wrong_part import wrong_part
from blender_scripts.meshes import GeometryError
from blender_scripts.portable import log
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
    "wrong_part": wrong_part,
}


WRONG_PART = "wrong_part"  # the kind that needs a donor
# For a size asked for: the share within which it is met, how far the severity moves for a departure
# that is too small by a factor e, and how often in a row it may want to leave 0 .. 1.
ALMOST, PACE, BEYOND = 0.1, 0.4, 8


@lru_cache(maxsize=4)
def _surface(vertices, faces):
    """Return the `Surface` of a mesh given as bytes; many jobs start from the same product."""
    return Surface(np.frombuffer(vertices).reshape(-1, 3), np.frombuffer(faces, int).reshape(-1, 3))


def make_defect(kind, vertices, faces, rng, severity, attempts=100, donor=None):
    """Make one defect of the given kind that passes every check: (Defective, rejections).

    kind : a key of DEFECTS. vertices (V, 3), faces (F, 3): the pristine mesh, closed.
    rng : numpy.random.Generator; each attempt draws on from it. severity : 0 slight .. 1 severe.
    donor : (vertices, faces) of the product that gives a wrong part, None for other kinds.
    rejections : why each attempt before the accepted one was refused.

    Raises GeometryError, with all reasons, when no attempt out of `attempts` is accepted, and
    ValueError for a severity outside 0 .. 1, and where a donor is missing or not needed.
    """
    if not 0.0 <= severity <= 1.0:
        raise ValueError(f"severity is {severity}; it goes from 0 to 1")
    product, donor = _known(kind, (vertices, faces), donor)
    rejections = []
    for _ in range(attempts):
        defective, reason = _attempt(kind, product, rng, severity, donor)
        if not reason:
            return defective, rejections
        rejections.append(reason)
    raise _impossible(kind, rejections)


def make_sized_defect(kind, vertices, faces, rng, size, attempts=100, donor=None):
    """Make one defect that departs by `size` radii: (Defective, its severity, rejections).

    Departure is what `checks.problem` calls so: of a deformation the root mean square distance of
    the labelled surface from the pristine one, of a cut its depth. It is met within the share
    ALMOST. The severity that gives it is searched: each attempt that misses it moves the severity.
    Else as `make_defect`; raises GeometryError also where the kind has no such size here.
    """
    product, donor = _known(kind, (vertices, faces), donor)
    severity, rejections, seen, beyond = 0.5, [], [], 0
    for _ in range(attempts):
        defective, reason = _attempt(kind, product, rng, severity, donor)
        if not reason:
            departure = defective.parameters["departure"]
            if abs(departure - size) <= ALMOST * size:
                return defective, severity, rejections
            seen.append(departure)
            wanted = severity + PACE * float(log(size / departure))
            beyond = beyond + 1 if not 0.0 <= wanted <= 1.0 and severity in (0.0, 1.0) else 0
            severity = round(min(max(wanted, 0.0), 1.0), 9)
            reason = f"it would depart by {departure:.3g}"
        rejections.append(reason)
        if beyond == BEYOND:
            break
    if not seen:
        raise _impossible(kind, rejections)
    raise GeometryError(
        f"no {kind} after {len(rejections)} attempts: of a size of {size:.3g} radii there is none; "
        f"those that were tried have {min(seen):.3g} to {max(seen):.3g}"
    )


def _known(kind, product, donor):
    """Return the `Surface` of the product and of its donor (None where there is none)."""
    if (kind == WRONG_PART) != (donor is not None):
        raise ValueError(f"{kind} {'needs a' if donor is None else 'has no use for a'} donor")
    surfaces = [
        _surface(
            np.asarray(vertices, dtype=np.float64).tobytes(),
            np.asarray(faces, dtype=np.int64).tobytes(),
        )
        for vertices, faces in (product, *([donor] if donor is not None else []))
    ]
    return surfaces[0], surfaces[1] if donor is not None else None


def _attempt(kind, product, rng, severity, donor):
    """Draw one defect: (the Defective, or None; why it is refused, "" when it is not)."""
    more = () if donor is None else (donor,)
    try:
        defective = DEFECTS[kind](product, rng, severity, *more)
        reason = problem(kind, product, defective)
    except GeometryError as error:
        return None, str(error)
    if not reason:
        defective = replace(defective, parameters=recorded(defective.parameters))
    return defective, reason


def _impossible(kind, rejections):
    counted = {reason: rejections.count(reason) for reason in rejections}
    listed = "; ".join(f"{reason} ({count})" for reason, count in counted.items())
    return GeometryError(f"no {kind} after {len(rejections)} attempts: {listed}")
