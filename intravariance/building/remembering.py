# SPDX-License-Identifier: Apache-2.0
"""Defects that are made once, for samples that differ in what comes after the geometry."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from typing import Protocol

from intravariance.building.blender import Defective
from intravariance.geometry.mesh import Mesh


class MakesDefects(Protocol):
    """What makes a mesh defective; see `BlenderWorker.defect`."""

    def defect(
        self,
        kind: str,
        mesh: Mesh,
        entropy: list[int],
        severity: float | None,
        size: float | None = None,
        donor: Mesh | None = None,
    ) -> Defective:
        """Make `mesh` defective; the same arguments give the same result."""
        ...


class Remembering:
    """Asks another for each defect once, and remembers what it was given."""

    def __init__(self, blender: MakesDefects) -> None:
        self._blender = blender
        self._made: dict[Hashable, Defective] = {}

    def defect(
        self,
        kind: str,
        mesh: Mesh,
        entropy: list[int],
        severity: float | None,
        size: float | None = None,
        donor: Mesh | None = None,
    ) -> Defective:
        """Return what the other makes. What it raises is raised each time."""
        other = None if donor is None else _digest(donor)
        key = kind, _digest(mesh), tuple(entropy), severity, size, other
        if key not in self._made:
            self._made[key] = self._blender.defect(kind, mesh, entropy, severity, size, donor)
        return self._made[key]


def _digest(mesh: Mesh) -> bytes:
    return hashlib.sha256(mesh.vertices.tobytes() + mesh.faces.tobytes()).digest()
