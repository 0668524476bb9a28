# SPDX-License-Identifier: Apache-2.0
"""Detection methods: one protocol, one dict, one module each.

A package of your own adds a method through the entry-point group `intravariance.methods`:

    [project.entry-points."intravariance.methods"]
    mine = "my_package.mine:Mine"
"""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint
from typing import cast

from intravariance.errors import InputError, did_you_mean
from intravariance.extensions import GROUPS, Extension, added, find, named_on_command_line
from mc4ad_model.methods.method import Method

DEFAULT_METHOD = "mc4ad"

# "module:class", so that a method's libraries are loaded when it is used and not before.
METHODS: dict[str, str] = {
    "mc4ad": "mc4ad_model.methods.mc4ad.method:MC4AD",
    "registered_distance": "mc4ad_model.methods.registered_distance:RegisteredDistance",
    "calibrated_deviation": "mc4ad_model.methods.calibrated_deviation:CalibratedDeviation",
    "btf": "mc4ad_model.methods.memory_banks.btf:BTF",
    "patchcore": "mc4ad_model.methods.memory_banks.patchcore:PatchCore",
    "m3dm": "mc4ad_model.methods.memory_banks.m3dm:M3DM",
    "reg3d_ad": "mc4ad_model.methods.memory_banks.reg3d_ad:Reg3DAD",
    "cpmf": "mc4ad_model.methods.memory_banks.cpmf:CPMF",
    "ismp": "mc4ad_model.methods.memory_banks.ismp:ISMP",
    "simple3d": "mc4ad_model.methods.memory_banks.simple3d:Simple3D",
    "po3ad": "mc4ad_model.methods.po3ad:PO3AD",
    "af3ad": "mc4ad_model.methods.po3ad:AF3AD",
    "signed_distance": "mc4ad_model.methods.signed_distance.method:SignedDistance",
    "imrnet": "mc4ad_model.methods.reconstruction.imrnet:IMRNet",
    "r3d_ad": "mc4ad_model.methods.reconstruction.r3d_ad:R3DAD",
    "constant": "mc4ad_model.methods.controls:Constant",
    "random": "mc4ad_model.methods.controls:Random",
    "point_count": "mc4ad_model.methods.shortcuts:PointCount",
    "radius": "mc4ad_model.methods.shortcuts:Radius",
    "area": "mc4ad_model.methods.shortcuts:Area",
}


# A class needs these attributes to be a method; `Method` says what each is.
_PARTS = ("title", "Settings", "files", "check", "fit", "score", "save", "load")
# MODULE:CLASS that this process's command line names: nothing else of that form is imported.
_NAMED: dict[str, Extension] = {}


def method_names() -> list[str]:
    """List the methods of this package, then those that installed packages add."""
    return [*METHODS, *added("method", METHODS)]


def method_class(name: str) -> type[Method]:
    """Return the class of a method.

    Raises
    ------
    InputError
        There is no method of that name, or one that an installed package adds cannot be used.
    """
    extension = method_extension(name)
    if extension is not None:
        return _added_class(extension)
    if name not in METHODS:
        hint = "; MODULE:CLASS goes with `iv evaluate --method` alone" if tried(name) else ""
        known = method_names()
        raise InputError(
            f"method {name!r}: expected one of {', '.join(known)}{hint}.{did_you_mean(name, known)}"
        )
    return cast("type[Method]", EntryPoint(name, METHODS[name], GROUPS["method"]).load())


def method_extension(name: str) -> Extension | None:
    """Return what a package, or the command line, adds under a method's name; None for ours."""
    return _NAMED.get(name) or find("method", name, METHODS)


def tried(name: str) -> bool:
    """Tell whether a method's name is MODULE:CLASS, which the command line alone may name."""
    return ":" in name


def try_method(text: str) -> type[Method]:
    """Import the class that MODULE:CLASS names, and let `method_class` give it by that name.

    For what a user names on the command line, and for nothing that a file says.

    Raises
    ------
    InputError
        It cannot be imported, or is no method.
    """
    extension = named_on_command_line("method", text)
    found = _added_class(extension)
    _NAMED[text] = extension
    return found


def _added_class(extension: Extension) -> type[Method]:
    found = extension.load()
    if not inspect.isclass(found):
        raise extension.refuse("a class", f"{found!r}")
    if missing := [part for part in _PARTS if not hasattr(found, part)]:
        raise extension.refuse(
            f"a method, which has {', '.join(_PARTS)}",
            f"{found.__name__} without {', '.join(missing)}",
        )
    return cast("type[Method]", found)
