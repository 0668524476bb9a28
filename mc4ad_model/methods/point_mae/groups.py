# SPDX-License-Identifier: Apache-2.0
"""Groups of points: centres that lie far apart, and the nearest points of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Indices = NDArray[np.intp]
Floats = NDArray[np.float32]


def farthest_points(points: NDArray[Any], count: int) -> Indices:
    """Choose points of a cloud (N, 3) by farthest point sampling, the first one first.

    Returns
    -------
    (min(count, N),) indices: each is farthest from those before it; all, in their order, where
    there are no more.
    """
    if count >= len(points):
        return np.arange(len(points))
    values = np.ascontiguousarray(points.T, dtype=np.float64)  # (3, N)
    gap = np.full(len(points), np.inf)
    chosen = np.zeros(count, dtype=np.intp)
    for k in range(1, count):
        x, y, z = values - values[:, chosen[k - 1], None]
        np.minimum(gap, x * x + y * y + z * z, out=gap)
        chosen[k] = int(gap.argmax())
    return chosen


def group_points(points: NDArray[Any], count: int, size: int) -> tuple[Floats, Floats]:
    """Divide a cloud (N, 3), N >= size, into groups that overlap.

    Parameters
    ----------
    count
        Groups; as many as points where there are fewer.
    size
        Points of a group.

    Returns
    -------
    groups : (G, size, 3) float32
        The nearest points of each centre, relative to it.
    centres : (G, 3) float32
    """
    centres = points[farthest_points(points, count)].astype(np.float64)
    groups = points[nearest_points(points, centres, size)] - centres[:, None]
    return groups.astype(np.float32), centres.astype(np.float32)


def nearest_points(points: NDArray[Any], centres: NDArray[Any], size: int) -> Indices:
    """Find the nearest points of a cloud (N, 3) to each of some centres (G, 3): (G, size)."""
    return np.asarray(cKDTree(points).query(centres, np.arange(1, size + 1))[1])
