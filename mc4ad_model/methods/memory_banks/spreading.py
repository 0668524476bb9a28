# SPDX-License-Identifier: Apache-2.0
"""Local means of features, and scores of a few centres brought back to all points of a cloud."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from intravariance.looking.realism.two_sample import load_open3d

Floats = NDArray[np.float64]


def farthest_points(points: Floats, count: int) -> Floats:
    """Choose points of a cloud (N, 3) that lie far apart, its first one among them.

    Returns (min(count, N), 3): each is farthest from those chosen before it (Open3D).

    Raises
    ------
    BackendUnavailable
        Open3D cannot be loaded.
    """
    if count >= len(points):
        return points
    open3d = load_open3d()
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    return np.asarray(cloud.farthest_point_down_sample(count).points)


def local_means(
    values: NDArray[Any], points: Floats, centres: Floats, count: int
) -> NDArray[np.float32]:
    """Average the values (N, C) of each centre's nearest points.

    Parameters
    ----------
    points : (N, 3), at least `count`
    centres : (M, 3)

    Returns
    -------
    (M, C) float32
    """
    near = np.asarray(cKDTree(points).query(centres, np.arange(1, count + 1))[1])  # (M, count)
    ends = np.arange(0, near.size + 1, count)
    weights = np.full(near.size, 1 / count, dtype=np.float32)
    average = csr_matrix((weights, near.ravel(), ends), shape=(len(centres), len(points)))
    return np.asarray(average @ values.astype(np.float32))


def spread(scores: NDArray[Any], centres: Floats, points: Floats) -> Floats:
    """Interpolate the scores (M,) of centres (M, 3) to points (N, 3): (N,).

    A point has the mean of its three nearest centres' scores, weighed by 1 / (d^2 + 1e-8), as in
    PointNet++.
    """
    count = min(3, len(centres))
    distances, near = cKDTree(centres).query(points, np.arange(1, count + 1))  # (N, count)
    weights = 1 / (distances**2 + 1e-8)
    return np.asarray((weights * scores[near]).sum(axis=1) / weights.sum(axis=1))
