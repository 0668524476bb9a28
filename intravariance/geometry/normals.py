# SPDX-License-Identifier: Apache-2.0
"""Normals of scanned points: estimated where a file has none, and turned outwards where it has.

Points (N, 3) float64 in any unit; normals (N, 3) float64 of length 1. Large clouds are worked on by
two threads, whose results do not depend on which does what.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from intravariance.geometry.viewing import look_from, sphere_directions

Floats = NDArray[np.float64]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_NEIGHBOURS = 16  # their plane is a point's tangent plane
_DIRECTIONS = 48  # of the viewers who tell the outside from the inside
_TOLERATED = 0.25  # share of normals that may seem to point inwards, as those inside a deep vase do
_CHUNK = 25_000  # points at a time: what is known of their neighbours takes 20 MiB
_LARGE = 10_000  # points from which on two threads are faster than one
_THREADS = 2
_LINE = 1e-12  # of the largest such square: neighbours on a line have no plane


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
    order = _along_a_curve(points)  # neighbours lie near each other in memory
    near = points[order]
    tree = cKDTree(near)
    columns = [np.ascontiguousarray(column) for column in near.T]
    count = min(_NEIGHBOURS, len(points))

    def planes(part: slice) -> Floats:
        index = tree.query(near[part], k=count)[1].reshape(-1, count)
        return plane_normals([column[index] for column in columns])

    parts = [slice(start, start + _CHUNK) for start in range(0, len(points), _CHUNK)]
    normals = np.zeros_like(points)
    found = np.concatenate(list(_in_threads(planes, parts, len(points))))
    turned = _turned_outwards(near, found, _votes(near, found, _cell(points, tree)))
    normals[order] = turned
    return normals


def plane_normals(neighbours: list[Floats]) -> Floats:
    """Return (C, 3) unit normals of the planes through K points each: x, y and z, (C, K) each.

    That is the eigenvector of the smallest eigenvalue of the points' covariance, by Cardano's
    formula; by LAPACK where points lie on a line, or all in one place. The arrays are overwritten.
    """
    for values in neighbours:
        values -= values.mean(axis=1, keepdims=True)
    x, y, z = neighbours

    def products(first: Floats, second: Floats) -> Floats:
        return np.asarray(np.einsum("ij,ij->i", first, second))

    xx, yy, zz = products(x, x), products(y, y), products(z, z)
    xy, xz, yz = products(x, y), products(x, z), products(y, z)
    total = xx + yy + zz
    scale = 1 / np.where(total > 0, total, 1.0)
    xx, yy, zz, xy, xz, yz = (values * scale for values in (xx, yy, zz, xy, xz, yz))
    mean = (xx + yy + zz) / 3
    a, b, c = xx - mean, yy - mean, zz - mean
    radius = np.sqrt((a * a + b * b + c * c + 2 * (xy * xy + xz * xz + yz * yz)) / 6)
    determinant = a * (b * c - yz * yz) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    cosine = np.clip(determinant / (2 * np.maximum(radius, 1e-100) ** 3), -1, 1)
    smallest = mean + 2 * radius * np.cos(np.arccos(cosine) / 3 + 2 * np.pi / 3)
    a, b, c = xx - smallest, yy - smallest, zz - smallest
    # products of two rows of the singular matrix: the longest is the most exact
    crossed = np.stack(
        [
            np.stack([xy * yz - xz * b, xy * xz - a * yz, a * b - xy * xy], axis=1),
            np.stack([xy * c - xz * yz, xz * xz - a * c, a * yz - xy * xz], axis=1),
            np.stack([b * c - yz * yz, xz * yz - xy * c, xy * yz - xz * b], axis=1),
        ],
        axis=1,
    )  # (C, 3, 3)
    squares = np.einsum("ijk,ijk->ij", crossed, crossed)
    rows, longest = np.arange(len(squares)), squares.argmax(axis=1)
    square = squares[rows, longest]
    normals = crossed[rows, longest] / np.sqrt(np.maximum(square, 1e-300))[:, None]
    if (lines := np.flatnonzero(~(square > _LINE))).size:
        covariance = np.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], axis=1)[lines]
        normals[lines] = np.linalg.eigh(covariance.reshape(-1, 3, 3))[1][:, :, 0]
    return np.asarray(normals)


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

    return _votes(points, normals, _cell(points, cKDTree(points)))


def _cell(points: Floats, tree: Any) -> float:
    """Return the edge of the cells in which a viewer tells what lies in front. tree : of points."""
    some = points[np.linspace(0, len(points) - 1, min(len(points), 1000)).astype(int)]
    nearby = tree.query(some, k=min(5, len(points)))[0]
    spacing = float(np.median(nearby.reshape(len(some), -1)[:, -1]))
    extent = float(np.ptp(points, axis=0).max())
    # a finer grid has cells without a point in front, through which the back is seen
    return max(2 * spacing, extent / 400, 1e-12)


def _votes(points: Floats, normals: Floats, cell: float) -> Floats:
    """Return (N,) votes, see `outward_votes`; cell : from `_cell`."""
    columns = [np.ascontiguousarray(column) for column in points.T]
    facing = [np.ascontiguousarray(column) for column in normals.T]

    def votes_of(direction: Floats) -> Floats:
        camera = look_from(direction)
        right, up, depth = (_along(columns, axis) for axis in camera)
        place = ((right - right.min()) / cell).astype(np.int32)
        width = int(place.max()) + 1
        place += width * ((up - up.min()) / cell).astype(np.int32)
        nearest = np.full(int(place.max()) + 1, -np.inf)
        np.maximum.at(nearest, place, depth)
        in_front = np.clip(1 - (nearest[place] - depth) / (1.5 * cell), 0.0, 1.0)
        return np.asarray(in_front * in_front * _along(facing, direction))

    votes = np.zeros(len(points))
    for some_votes in _in_threads(votes_of, sphere_directions(_DIRECTIONS), len(points)):
        votes += some_votes
    return votes


def _along(columns: list[Floats], axis: Floats) -> Floats:
    """Return (N,) lengths along an axis (3,) of vectors, given as three (N,) columns."""
    x, y, z = columns
    return np.asarray(x * axis[0] + y * axis[1] + z * axis[2])


def _along_a_curve(points: Floats) -> NDArray[np.intp]:
    """Return the order of points (N, 3) along Morton's curve of 1024 cells along an axis."""
    extent = float(np.ptp(points, axis=0).max())
    cells = (points - points.min(axis=0)) * (1023 / extent if extent > 0 else 0.0)
    code = np.zeros(len(points), dtype=np.int64)
    for axis, column in enumerate(cells.astype(np.int64).T):
        for shift, mask in ((16, 0x30000FF), (8, 0x300F00F), (4, 0x30C30C3), (2, 0x9249249)):
            column = (column | column << shift) & mask
        code |= column << axis
    return np.argsort(code, kind="stable")


def _in_threads(
    function: Callable[[_Item], _Result], items: Iterable[_Item], count: int
) -> Iterator[_Result]:
    """Yield what a function makes of each item, in their order. count : of points."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _THREADS
    threads = min(cores, _THREADS)
    if count < _LARGE or threads < 2:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(function, items)
