# SPDX-License-Identifier: Apache-2.0
"""How `iv build --dry-run --check-meshes` prints what it found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from intravariance.building.mesh_check import MeshCheck
from intravariance.sources.repair import KEPT
from intravariance.tables import text_table


def as_json(checks: Sequence[MeshCheck]) -> list[dict[str, Any]]:
    """Return the checks as JSON-able data; what is not known is None."""
    return [_known(asdict(check)) for check in checks]


def unusable(checks: Sequence[MeshCheck]) -> list[str]:
    """Tell of each mesh that the build would stop at, and why."""
    lines = [f"{c.product} ({c.origin}): {c.problem}" for c in checks if c.problem]
    return lines + [
        f"{check.product} ({check.origin}): no {kind} fits: {reason}"
        for check in checks
        for kind, reason in check.impossible
    ]


def table(checks: Sequence[MeshCheck]) -> str:
    """Write a table with a row for each mesh; lengths in radii, and in mm where that is known."""
    header = ["base mesh", "closed", "parts", "faces", "size", "thickness", "defects that fit"]
    rows = [_row(check) for check in checks]
    return text_table(header, rows)


def _row(check: MeshCheck) -> list[str]:
    if check.problem:
        return [check.product, "cannot be used", "-", "-", "-", "-", "-"]
    closed = check.repair
    if check.repair != KEPT:
        closed = f"{check.repair}, moved by {check.surface_error:.3f}"
    refused = [kind for kind, _ in check.impossible]
    fit = f"all but {', '.join(refused)}" if refused else "all"
    return [
        check.product,
        closed,
        str(check.parts),
        f"{check.faces:,}",
        _length(check.size, check.millimetres, " x "),
        _length(check.thickness[:1], check.millimetres, ""),
        fit,
    ]


def _length(radii: Sequence[float], millimetres: float, between: str) -> str:
    text = between.join(f"{value:.3g}" for value in radii)
    if not math.isfinite(millimetres):
        return text
    return f"{text} ({between.join(f'{value * millimetres:.3g}' for value in radii)} mm)"


def _known(value: Any) -> Any:
    """Write what is not a number as None: JSON has no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    return [_known(item) for item in value] if isinstance(value, (list, tuple)) else value
