# SPDX-License-Identifier: Apache-2.0
"""Normals of scanned points: estimated where a file has none, and turned outwards where it has.

Points (N, 3) float64 in any unit; normals (N, 3) float64 of length 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intravariance.geometry.viewing import look_from, sphere_directions

Floats = NDArray[np.float64]

_NEIGHBOURS = 16  # their plane is a point's tangent plane
_DIRECTIONS = 48  # of the viewers who tell the outside from the inside
_TOLERATED = 0.25  # share of normals that may seem to point inwards, as those inside a deep vase do
_CHUNK = 100_000  # points at a time: their neighbours take 40 MiB


def estimated_normals(points: Floats) -> Floats:
    """Estimate (N, 3) unit normals of points (N, 3) float64, pointing outwards.

    A normal is that of the plane through 16 neighbours. Its outward side is the one that the point
    can be seen from. Each of 48 viewers around the cloud sees the points that lie in front for him
    and votes for the side that faces him, less for a point that lies a little behind (the other
    side of a thin wall). A point that nobody sees faces away from the centroid.
    """
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    if len(points) < 3:
        return np.tile((0.0, 0.0, 1.0), (len(points), 1))
    tree = cKDTree(points)
    normals = np.zeros_like(points)
    for start in range(0, len(points), _CHUNK):
        part = slice(start, start + _CHUNK)
        index = tree.query(points[part], k=min(_NEIGHBOURS, len(points)))[1]
        near = points[index]  # (C, K, 3)
        near -= near.mean(axis=1, keepdims=True)
        # eigenvectors in increasing order of their values: the first is the normal
        normals[part] = np.linalg.eigh(near.transpose(0, 2, 1) @ near)[1][:, :, 0]
    return _turned_outwards(points, normals, outward_votes(points, normals))


def outward_normals(points: Floats, normals: Floats) -> tuple[Floats, bool]:
    """Turn the normals (N, 3) of a file outwards; return them and whether that took a change.

    Many tools write them inwards, and some without a side. The former are turned together, the
    latter one by one; a few against the others are the file's own business.
    """
    votes = outward_votes(points, normals)
    wrong = float((votes < 0).mean())
    if wrong <= _TOLERATED:
        return normals, False
    if wrong >= 1 - _TOLERATED:
        return -normals, True
    return _turned_outwards(points, normals, votes), True


def _turned_outwards(points: Floats, normals: Floats, votes: Floats) -> Floats:
    """Turn the normals that have votes against them, or that face the centroid without votes."""
    away = np.einsum("ni,ni->n", normals, points - points.mean(axis=0))
    turned = np.where(votes != 0, votes, away) < 0
    return np.where(turned[:, None], -normals, normals)


def outward_votes(points: Floats, normals: Floats) -> Floats:
    """Return (N,) votes on unit normals (N, 3) of points (N, 3): positive where a normal faces the
    viewers around the cloud, 0 where nobody sees it."""
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    some = points[np.linspace(0, len(points) - 1, min(len(points), 1000)).astype(int)]
    nearby = cKDTree(points).query(some, k=min(5, len(points)))[0]
    spacing = float(np.median(nearby.reshape(len(some), -1)[:, -1]))
    votes = np.zeros(len(points))
    extent = float(np.ptp(points, axis=0).max())
    # a finer grid has cells without a point in front, through which the back is seen
    cell = max(2 * spacing, extent / 400, 1e-12)
    for direction in sphere_directions(_DIRECTIONS):
        camera = look_from(direction)
        right, up, depth = np.einsum("ij,nj->in", camera, points)
        column = np.floor((right - right.min()) / cell).astype(np.intp)
        row = np.floor((up - up.min()) / cell).astype(np.intp)
        place = row * (column.max() + 1) + column
        nearest = np.full(int(place.max()) + 1, -np.inf)
        np.maximum.at(nearest, place, depth)
        in_front = np.clip(1 - (nearest[place] - depth) / (1.5 * cell), 0.0, 1.0)
        votes += in_front**2 * np.einsum("nj,j->n", normals, direction)
    return votes
