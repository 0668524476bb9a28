# SPDX-License-Identifier: Apache-2.0
"""Points of a cloud that are kept because the surface bends there, and enough of the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mc4ad_model.methods.point_mae.groups import farthest_points

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def normal_changes(points: Floats, neighbours: int) -> Floats:
    """Say how much normals change around each point of a cloud (N, 3), N >= neighbours.

    A normal is that of the plane through the nearest points, of either sign.

    Returns
    -------
    (N,) radians, 0 to pi / 2: the mean angle between a point's normal and its neighbours'.
    """
    near = np.asarray(cKDTree(points).query(points, np.arange(1, neighbours + 1))[1])  # (N, K)
    around = points[near] - points[near].mean(axis=1, keepdims=True)
    normals = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))[1][:, :, 0]  # (N, 3)
    cosines = np.abs(np.einsum("ni,nki->nk", normals, normals[near]))
    return np.asarray(np.arccos(np.minimum(cosines, 1)).mean(axis=1))


def geometry_aware_sample(points: Floats, count: int, neighbours: int, key_share: float) -> Indices:
    """Choose `count` points of a cloud (N, 3), half of them where normals change most.

    Parameters
    ----------
    neighbours
        Their number around a point, for its normal and its change.
    key_share
        Share of the points that are taken for key points, those with the largest changes.

    Returns
    -------
    (min(count, N),) indices: key points that lie far apart, then others that do.
    """
    if count >= len(points):
        return np.arange(len(points))
    order = np.argsort(-normal_changes(points, neighbours), kind="stable")
    keys = max(round(key_share * len(points)), 1)
    first = min(count // 2, keys)
    first = max(first, count - (len(points) - keys))  # the others may be too few
    key, rest = order[:keys], order[keys:]
    chosen = [key[farthest_points(points[key], first)]]
    if count > first:
        chosen.append(rest[farthest_points(points[rest], count - first)])
    return np.concatenate(chosen)
