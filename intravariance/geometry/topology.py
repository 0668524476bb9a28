# SPDX-License-Identifier: Apache-2.0
"""The properties that make a triangle mesh a solid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blender_scripts.portable import sixfold_volumes
from intravariance.geometry.mesh import Mesh, triangle_areas

MAX_EDGE = 0.04
"""Longest edge of a prepared base mesh (unit-sphere radii), so that defects can bend it."""

_SMALLEST_AREA = 1e-14  # below this a float32 triangle of the unit sphere has no reliable normal
_CORNER_PAIRS = ([0, 1], [1, 2], [2, 0])


def closed_problem(mesh: Mesh) -> str:
    """Say why the mesh is not a solid with outward faces; return "" when it is.

    Closed, manifold along its edges and consistently oriented means: each directed edge belongs
    to exactly one face, and so does its reverse. Several components are fine.
    """
    if not np.isfinite(mesh.vertices).all():
        return "vertices that are not finite"
    start, end = directed_edges(mesh.faces)
    forward = np.sort(start * len(mesh.vertices) + end)
    if (start == end).any() or (triangle_areas(mesh) <= _SMALLEST_AREA).any():
        return "faces without area"
    if (forward[1:] == forward[:-1]).any():
        return "edges of more than two faces, or neighbouring faces of opposite orientation"
    if not np.array_equal(forward, np.sort(end * len(mesh.vertices) + start)):
        return "open edges"
    if signed_volume(mesh) <= 0:
        return "faces that point inwards"
    return ""


def directed_edges(faces: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the (3F,) int64 start and end vertices of each face's edges 0-1, 1-2 and 2-0.

    Edges come face after face.
    """
    pairs = faces.astype(np.int64)[:, _CORNER_PAIRS].reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def signed_volume(mesh: Mesh) -> float:
    """Return the volume enclosed by a closed mesh, negative when its faces point inwards."""
    return float(signed_volumes(mesh).sum())


def signed_volumes(mesh: Mesh) -> NDArray[np.float64]:
    """Return the (F,) float64 volume of the tetrahedron of each face and the origin."""
    return np.asarray(sixfold_volumes(mesh.vertices, mesh.faces) / 6)
