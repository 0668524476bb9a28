# SPDX-License-Identifier: GPL-3.0-or-later
"""Defects that packages outside this project add.

Their function is called as those of this package are, with (surface, rng, severity). It returns the
displacement (V, 3) of the vertices, a `Defective`, or None where a draw has no room. The checks are
those of every defect; limits come with the request.
"""

import sys
import traceback
from functools import partial
from importlib import import_module

import numpy as np

from blender_scripts.defects import DEFECTS
from blender_scripts.defects.checks import LIMITS, Limits
from blender_scripts.defects.plausibility import STRAINS, Strain
from blender_scripts.meshes import GeometryError
from blender_scripts.shaping.result import Defective, deformed


class AddedDefectError(Exception):
    """A function that a package adds cannot be imported, raised, or gave the wrong thing."""


def add_defect(kind, about):
    """Let `make_defect` know a kind.

    about : of `AddedDefect` its "function" ("module:function"), "kind", and limits; "folder", where
    the module is, "" for anywhere. Raises AddedDefectError when the function cannot be imported.
    """
    if about["folder"] and about["folder"] not in sys.path:
        sys.path.append(about["folder"])  # Blender's own packages come first
    module, name = about["function"].split(":")
    try:
        function = getattr(import_module(module), name)
    except Exception as error:
        raise AddedDefectError(f"there is no {about['function']}: {_shown(error)}") from error
    DEFECTS[kind] = partial(_made, function, about["kind"])
    limits = (about[name] for name in ("least", "most", "departure", "visible"))
    LIMITS[kind] = Limits(*limits)
    STRAINS[kind] = Strain(about["stretch"], about["slope"])


def _made(function, kind, surface, rng, severity):
    """Return the `Defective` that an added function makes."""
    try:
        found = function(surface, rng, severity)
    except GeometryError:
        raise
    except Exception as error:
        raise AddedDefectError(f"it raised {_shown(error)}") from error
    if found is None:
        raise GeometryError("no room for it")
    if kind == "deformation":
        shape = np.shape(found)
        if shape != surface.vertices.shape or np.asarray(found).dtype.kind not in "fiu":
            raise AddedDefectError(
                f"it gave {type(found).__name__} {shape}, expected the displacement "
                f"{surface.vertices.shape} of each vertex"
            )
        return deformed(surface, np.asarray(found, dtype=np.float64), {})
    if not isinstance(found, Defective):
        raise AddedDefectError(f"it gave {type(found).__name__}, expected a Defective for a cut")
    return found


def _shown(error):
    """Name an exception and the last place in its trace."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"
