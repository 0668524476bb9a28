# SPDX-License-Identifier: Apache-2.0
"""Defects that installed packages add; docs/extending.md shows one.

An entry point names an `AddedDefect`, which says what the defect is and which function of Blender's
process makes it. Nothing here imports that function. A specification that uses such a defect
records what is known of it: files are read, checked and described without the package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from annotations.vocabulary import DEFECT_TYPES, FOREIGN_DEFECT_TYPES, NORMAL, DefectType
from intravariance.extensions import Extension, added, find

OWN = (NORMAL, *DEFECT_TYPES, *FOREIGN_DEFECT_TYPES)
_KINDS = ("deformation", "cut")


@dataclass(frozen=True)
class AddedDefect:
    """A type of defect that a package adds, made by a function that Blender's process calls.

    Parameters
    ----------
    kind
        "deformation" moves surface, "cut" removes material.
    description
        One line that tells people what the defect is.
    function
        "module:function", called with the product's `Surface`, a random generator and a severity
        from 0 to 1.
    least, most
        Labelled share of the whole area: a defect outside is refused and drawn again, as with all
        that follow.
    departure
        Least departure from the pristine surface, in unit-sphere radii: a quarter of the labelled
        area of a deformation moves at least so far, and a cut is at least so deep.
    visible
        Share of the labelled area that can be seen.
    stretch, slope
        Limits of a deformation: the greatest principal stretch of a triangle (and its inverse), and
        the greatest difference of the displacement along an edge, as a share of its length.
    """

    kind: Literal["deformation", "cut"]
    description: str
    function: str
    least: float = 0.002
    most: float = 0.4
    departure: float = 0.006
    visible: float = 0.3
    stretch: float = 2.0
    slope: float = 1.3

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"kind = {self.kind!r}: expected {' or '.join(_KINDS)}")
        if not (isinstance(self.description, str) and self.description.isprintable()):
            raise ValueError(f"description = {self.description!r}: expected a line of text")
        if not re.fullmatch(r"[\w.]+:\w+", self.function):
            raise ValueError(f"function = {self.function!r}: expected MODULE:FUNCTION")
        if not 0 < self.least < self.most < 1:
            raise ValueError(f"least, most = {self.least}, {self.most}: expected shares in order")
        if not (0.002 < self.departure < 1 and 0 <= self.visible <= 1):
            raise ValueError(
                f"departure, visible = {self.departure}, {self.visible}: expected more than the "
                "0.002 radii that are labelled, and a share"
            )
        if not (self.stretch > 1 and self.slope > 0):
            raise ValueError(f"stretch, slope = {self.stretch}, {self.slope}: expected > 1 and > 0")


@dataclass(frozen=True)
class RecordedDefect(DefectType):
    """A defect that a package adds, as a specification records it."""

    package: str
    version: str

    @property
    def identity(self) -> dict[str, str]:
        """Return what `Extension.identity` says of the defect."""
        return {
            "kind": "defect",
            "name": self.name,
            "package": self.package,
            "version": self.version,
        }


def added_defect_names() -> list[str]:
    """List the types of defect that installed packages add; nothing is imported."""
    return added("defect", OWN)


def find_defect(name: str) -> Extension | None:
    """Return the extension that adds a type of defect; None where it is ours or nobody's.

    Raises
    ------
    ExtensionError
        The name is one of ours too, or two packages add it.
    """
    return find("defect", name, OWN)


def load_defect(extension: Extension) -> AddedDefect:
    """Import what an extension says of its defect.

    Raises
    ------
    ExtensionError
        It cannot be imported, or is no `AddedDefect`.
    """
    found = extension.load()
    if not isinstance(found, AddedDefect):
        raise extension.refuse("an intravariance.AddedDefect", f"{found!r}"[:80])
    return found


def recorded(extension: Extension) -> RecordedDefect:
    """Return what a specification records of an extension's defect. Errors as `load_defect`."""
    found = load_defect(extension)
    return RecordedDefect(
        extension.name, found.kind, found.description, extension.package, extension.version
    )
