# SPDX-License-Identifier: Apache-2.0
"""Defects that are made once, for samples that differ in what comes after the geometry."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable

from intravariance.building.blender import BlenderWorker, Defective
from intravariance.geometry.mesh import Mesh


class Remembering:
    """Asks Blender for each defect once, and remembers what it gave."""

    def __init__(self, blender: BlenderWorker) -> None:
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
        """Return what `BlenderWorker.defect` returns. Its errors are not remembered."""
        other = None if donor is None else _digest(donor)
        key = kind, _digest(mesh), tuple(entropy), severity, size, other
        if key not in self._made:
            self._made[key] = self._blender.defect(kind, mesh, entropy, severity, size, donor)
        return self._made[key]


MakesDefects = BlenderWorker | Remembering  # for a sample the two are the same


def _digest(mesh: Mesh) -> bytes:
    return hashlib.sha256(mesh.vertices.tobytes() + mesh.faces.tobytes()).digest()
