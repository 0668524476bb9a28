# SPDX-License-Identifier: Apache-2.0
"""Detection methods: one protocol, one dict, one module each.

A package of your own adds a method through the entry-point group `intravariance.methods`:

    [project.entry-points."intravariance.methods"]
    mine = "my_package.mine:Mine"
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import cast

from intravariance.errors import InputError
from mc4ad_model.methods.method import Method

DEFAULT_METHOD = "mc4ad"
GROUP = "intravariance.methods"

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
    "constant": "mc4ad_model.methods.controls:Constant",
    "random": "mc4ad_model.methods.controls:Random",
    "point_count": "mc4ad_model.methods.shortcuts:PointCount",
    "area": "mc4ad_model.methods.shortcuts:Area",
}


def method_names() -> list[str]:
    """List the methods of this package, then those that installed packages add."""
    return list(_entries())


def method_class(name: str) -> type[Method]:
    """Return the class of a method.

    Raises
    ------
    InputError
        There is no method of that name.
    """
    entry = _entries().get(name)
    if entry is None:
        raise InputError(f"method {name!r}: expected one of {', '.join(method_names())}")
    return cast("type[Method]", entry.load())


def _entries() -> dict[str, EntryPoint]:
    """Give every method's entry by name; nobody replaces one of this package's."""
    own = {name: EntryPoint(name, value, GROUP) for name, value in METHODS.items()}
    return {**own, **{e.name: e for e in entry_points(group=GROUP) if e.name not in own}}
