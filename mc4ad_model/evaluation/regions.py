# SPDX-License-Identifier: Apache-2.0
"""Finds which points hang together, in memory and time that grow with their number alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def components_within(points: ArrayLike, radius: float) -> NDArray[np.int64]:
    """Find the connected components of points, two being neighbours at most a radius apart.

    Pairs of neighbours are never listed: their number grows with the square of the density. All
    points of a grid cell whose diagonal is the radius are neighbours, so cells are joined instead,
    first by one point of each, then by the nearest two points of cells that are still apart.

    Parameters
    ----------
    points : (N, 3), finite
    radius : above 0, in the unit of the points

    Returns
    -------
    (N,) int64, from 0, in the order of the components' first points
    """
    from scipy.cluster.hierarchy import DisjointSet  # noqa: PLC0415 - weight
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    places = np.asarray(points, dtype=np.float64)
    if not len(places):
        return np.zeros(0, dtype=np.int64)
    side = radius / np.sqrt(3) * (1 - 1e-9)
    grid = np.floor((places - places.min(axis=0)) / side).astype(np.int64)
    cells, cell = np.unique(grid, axis=0, return_inverse=True)
    offset = np.linalg.norm(places - places.min(axis=0) - (grid + 0.5) * side, axis=1)
    order = np.lexsort((offset, cell))  # the point nearest to the cell's middle is first
    starts = np.searchsorted(cell[order], np.arange(len(cells)))
    members = np.split(places[order], starts[1:])
    middle = places[order[starts]]
    # neighbours are less than two cells apart on each axis, or just two
    pairs = cKDTree(cells).query_pairs(2, p=np.inf, output_type="ndarray")
    near = np.linalg.norm(middle[pairs[:, 0]] - middle[pairs[:, 1]], axis=1) <= radius
    joined = DisjointSet(range(len(cells)))
    for first, second in pairs[near].tolist():
        joined.merge(first, second)
    for first, second in pairs[~near].tolist():
        if not joined.connected(first, second):
            distance, _ = cKDTree(members[first]).query(members[second])
            if distance.min() <= radius:
                joined.merge(first, second)
    roots = np.array([joined[one] for one in range(len(cells))])[cell]
    _, found, component = np.unique(roots, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(found))[component]
