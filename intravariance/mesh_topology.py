# SPDX-License-Identifier: Apache-2.0
"""What makes a triangle mesh a solid, and splitting its long edges without opening it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError
from intravariance.mesh import Mesh, mesh_from_arrays, triangle_areas

MAX_EDGE = 0.04
"""Longest edge of a prepared base mesh (unit-sphere radii), so that defects can bend it."""

_SMALLEST_AREA = 1e-14  # below this a float32 triangle of the unit sphere has no reliable normal
_CORNER_PAIRS = ([0, 1], [1, 2], [2, 0])


def closed_problem(mesh: Mesh) -> str:
    """Why the mesh is not a solid with outward faces; "" when it is.

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
    """(3F,) int64 start and end vertex of each face's edges 0-1, 1-2 and 2-0, face after face."""
    pairs = faces.astype(np.int64)[:, _CORNER_PAIRS].reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def signed_volume(mesh: Mesh) -> float:
    """Volume enclosed by a closed mesh, negative when its faces point inwards."""
    return float(signed_volumes(mesh).sum())


def signed_volumes(mesh: Mesh) -> NDArray[np.float64]:
    """(F,) float64 volume of the tetrahedron of each face and the origin."""
    a, b, c = np.moveaxis(mesh.vertices.astype(np.float64)[mesh.faces], 1, 0)
    return np.einsum("ij,ij->i", a, np.cross(b, c)) / 6  # type: ignore[no-any-return]


def subdivide_long_edges(mesh: Mesh, longest: float, max_faces: int = 2_000_000) -> Mesh:
    """The same surface with no edge longer than `longest` (same unit as the vertices).

    Longest-edge bisection (Rivara 1984): in each pass an edge is halved when it is too long and
    the longest of all its faces, so each face is cut in two at most, an edge is cut in all its
    faces or in none, a closed mesh stays closed, and angles do not degrade.

    Raises InputError when more than `max_faces` faces would be needed.
    """
    vertices, faces = mesh.vertices.astype(np.float64), mesh.faces.astype(np.int64)
    while True:
        start, end = directed_edges(faces)
        low, high = np.minimum(start, end), np.maximum(start, end)
        codes, edge_of = np.unique(low * len(vertices) + high, return_inverse=True)
        ends = np.stack([codes // len(vertices), codes % len(vertices)], axis=1)  # (E, 2)
        lengths = np.linalg.norm(vertices[ends[:, 0]] - vertices[ends[:, 1]], axis=1)
        if not (lengths > longest).any():
            return mesh_from_arrays(vertices, faces)
        if len(faces) > max_faces:
            raise InputError(f"splitting its long edges takes more than {max_faces:,} faces")
        rank = np.argsort(np.argsort(lengths, kind="stable"), kind="stable")  # ties: lower index
        edge_of = edge_of.reshape(-1, 3)  # (F, 3) edges 0-1, 1-2, 2-0 of each face
        first = np.argmax(rank[edge_of], axis=1)
        longest_edge = np.take_along_axis(edge_of, first[:, None], axis=1)[:, 0]  # (F,)
        uses = np.bincount(edge_of.ravel(), minlength=len(codes))
        agreed = np.bincount(longest_edge, minlength=len(codes)) == uses
        split = agreed & (lengths > longest)
        middle = len(vertices) - 1 + np.cumsum(split)  # index of the new vertex of a split edge
        vertices = np.concatenate([vertices, vertices[ends[split]].mean(axis=1)])
        cut = split[longest_edge]
        turned = (first[cut, None] + np.arange(3)) % 3
        a, b, c = np.take_along_axis(faces[cut], turned, axis=1).T  # a-b is the edge to cut
        m = middle[longest_edge[cut]]
        halves = np.stack([np.stack([a, m, c], axis=1), np.stack([m, b, c], axis=1)], axis=1)
        faces = np.concatenate([faces[~cut], halves.reshape(-1, 3)])
