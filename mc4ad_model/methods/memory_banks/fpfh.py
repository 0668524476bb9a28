# SPDX-License-Identifier: Apache-2.0
"""Fast point feature histograms (FPFH, Rusu et al. 2009) of all points of a cloud, by Open3D.

Normals are estimated from the cloud itself and not oriented, as the memory-bank methods do it: the
sign of a normal is then what Open3D's eigenvector has, and turns with the frame. A histogram is
therefore only nearly invariant to rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.looking.realism.two_sample import load_open3d

Features = NDArray[np.float32]

DIMENSIONS = 33  # three angles, 11 bins each


@dataclass(frozen=True)
class Neighbourhood:
    """The points around a point, itself among them.

    count : at most so many, the nearest ones. radius : no farther away than this, in the cloud's
    units; None for any distance.
    """

    count: int
    radius: float | None = None


def fpfh(
    points: NDArray[Any], normals: Neighbourhood, features: Sequence[Neighbourhood]
) -> list[Features]:
    """Compute (N, 33) float32 histograms of a cloud, for each of some neighbourhoods.

    Parameters
    ----------
    points : (N, 3), finite
    normals
        The points that a plane is fitted to for a normal.
    features
        The points that a histogram is taken over.

    Raises
    ------
    BackendUnavailable
        Open3D cannot be loaded.
    """
    open3d = load_open3d()
    values = np.ascontiguousarray(points, dtype=np.float64)
    # the histograms of the older interface, but for pairs in a tie, in half the processor time
    tensors = open3d.t.geometry.PointCloud(open3d.core.Tensor(values))
    tensors.point.normals = open3d.core.Tensor(estimated_normals(values, normals))
    compute = open3d.t.pipelines.registration.compute_fpfh_feature
    found = [compute(tensors, around.count, around.radius).numpy() for around in features]
    return [histograms.astype(np.float32) for histograms in found]


def estimated_normals(points: NDArray[Any], around: Neighbourhood) -> NDArray[np.float64]:
    """Return (N, 3) unit normals of planes through the neighbourhoods of points, either way round.

    Raises
    ------
    BackendUnavailable
        Open3D cannot be loaded.
    """
    open3d = load_open3d()
    values = np.ascontiguousarray(points, dtype=np.float64)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(values))
    if around.radius is None:
        cloud.estimate_normals(open3d.geometry.KDTreeSearchParamKNN(around.count))
    else:
        search = open3d.geometry.KDTreeSearchParamHybrid(around.radius, around.count)
        cloud.estimate_normals(search)
    return np.array(cloud.normals)  # a copy: the cloud goes
