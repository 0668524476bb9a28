# SPDX-License-Identifier: Apache-2.0
"""Fewer points of a scan: one a voxel, or a random draw. Points keep their labels and normals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files import PointCloud
from intravariance.dataset.store import Dataset
from intravariance.errors import InputError
from intravariance.seeds import generator

_CELLS = 2**20  # along an axis, so that a cell's number fits into 63 bits
_MANY_POINTS = 200_000  # of a cloud


@dataclass(frozen=True)
class Thinning:
    """voxel : length of a voxel's edge in the unit of the file, None for none; max_points : that a
    cloud keeps at most, None for all. Voxels come first."""

    voxel: float | None = None
    max_points: int | None = None

    def __post_init__(self) -> None:
        if self.voxel is not None and not 0 < self.voxel < np.inf:
            raise InputError(f"--voxel {self.voxel}: expected a length above 0")

    def __bool__(self) -> bool:
        return self != Thinning()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-able form, without what was not asked for."""
        both = {"voxel": self.voxel, "max_points": self.max_points}
        return {name: value for name, value in both.items() if value is not None}

    def __str__(self) -> str:
        """Return the options of `iv import` that ask for it."""
        given = self.to_dict().items()
        return " ".join(f"--{name.replace('_', '-')} {value:.12g}" for name, value in given)


KEEP_ALL = Thinning()


def thinned(cloud: PointCloud, thinning: Thinning, name: str, seed: int = 0) -> PointCloud:
    """Return the cloud with fewer points, in their order. name : of the scan, for the draw.

    Raises InputError where the voxels are too small for the cloud.
    """
    keep = kept_points(cloud.points, thinning, name, seed)
    if len(keep) == len(cloud.points):
        return cloud
    return replace(
        cloud,
        points=cloud.points[keep],
        normals=None if cloud.normals is None else cloud.normals[keep],
        labels=None if cloud.labels is None else cloud.labels[keep],
        displacement=None if cloud.displacement is None else cloud.displacement[keep],
    )


def kept_points(
    points: NDArray[np.float64], thinning: Thinning, name: str, seed: int = 0
) -> NDArray[np.intp]:
    """Return which of points (N, 3) `thinned` keeps, increasing. Raises as it does."""
    keep = np.arange(len(points))
    if thinning.voxel is not None:
        keep = voxel_points(points, thinning.voxel)
    if thinning.max_points is not None and len(keep) > thinning.max_points:
        rng = generator(seed, name, "thinning")
        keep = np.sort(rng.choice(keep, thinning.max_points, replace=False))
    return keep


def voxel_points(points: NDArray[np.float64], size: float) -> NDArray[np.intp]:
    """Return the index of the point nearest to the middle of each voxel that has any, increasing.

    Raises InputError where there are more than a million voxels along an axis.
    """
    low = points.min(axis=0)
    places = (points - low) / size
    if not places.max() < _CELLS:
        raise InputError(
            f"voxels of {size:g} are too small for a cloud that is "
            f"{np.ptp(points, axis=0).max():g} long, in the unit of the file"
        )
    cells = np.floor(places)
    offsets = places - cells - 0.5
    distance = np.einsum("ij,ij->i", offsets, offsets)
    x, y, z = cells.astype(np.int64).T
    number = (x * _CELLS + y) * _CELLS + z
    order = np.lexsort((distance, number))  # of equal ones, the first in the file
    first = np.append(True, number[order][1:] != number[order][:-1])
    return np.sort(order[first])


def thinning_note(dataset: Dataset) -> str:
    """Say what thinning did to imported clouds, or that it would pay; "" where it would not."""
    after = [record.n_points for record in dataset]
    if "thinning" in dataset.metadata["identity"]["imported"]:
        before = sum(record.parameters["imported"]["points"] for record in dataset)
        return f"thinned: {before:,} points to {sum(after):,}"
    if max(after) <= _MANY_POINTS:
        return ""
    return (
        f"clouds have up to {max(after):,} points, and training takes time in proportion: "
        "--max-points 50000 or --voxel SIZE thins them, and those that are scored later"
    )
