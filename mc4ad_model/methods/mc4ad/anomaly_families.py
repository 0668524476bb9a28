# SPDX-License-Identifier: Apache-2.0
"""AF3AD's pseudo-anomalies: families of shapes in the local frame of a random point.

Paper. AF3AD (ECCV 2026): PO3AD's network, loss and evaluation with other pseudo-anomalies.

Followed. A frame from the 64 points nearest to a random one (principal axes u, v and the normal n);
a distance t that counts u, v and n by radii of each family, in units of a drawn R; a weight w that
falls from 1 at t = 0; a displacement of sign x B x w along the points' normals, n or u. R and B are
drawn by Beta(2, 5) over their ranges.

Different. Seven of its eleven families are here, those whose radii we know. The normal n is turned
to the side of the mean normal of the neighbours; in the source its sign is arbitrary, and ridges
and trenches depend on the global z axis. Which kernel a family has where the source's radii name
none is our choice.

Licence of the source. MIT; nothing of it is used, this is written from the method and its
parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mc4ad_model.methods.mc4ad.configuration import AnomalyConfig

Vectors = NDArray[np.float64]
Kernel = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_NEIGHBOURS = 64
_BETA = (2.0, 5.0)


def cosine(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fall from 1 at 0 to 0 at 1, smoothly at both."""
    return np.asarray((1 + np.cos(np.pi * np.minimum(t, 1))) / 2)


def gaussian(width: float) -> Kernel:
    """Return a Gaussian of that standard deviation, cut off at 1."""
    return lambda t: np.where(t < 1, np.exp(-(t**2) / (2 * width**2)), 0)


def polynomial(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fall from 1 at 0 to 0 at 1, flat in the middle and steep at the rim."""
    return np.asarray(np.maximum(1 - t**2, 0) ** 2)


@dataclass(frozen=True)
class Family:
    """A shape: its radii along u, v and n in units of R, its kernel, and where points move."""

    radii: tuple[float, float, float]
    kernel: Kernel
    along: Literal["normals", "n", "u"]
    sign: float


FAMILIES: dict[str, Family] = {
    "bulge": Family((1, 1, 1), cosine, "normals", 1),
    "dent": Family((1, 1, 1), cosine, "normals", -1),
    "ridge": Family((2.5, 0.7, 0.6), gaussian(0.4), "n", 1),
    "trench": Family((3, 0.7, 0.5), cosine, "n", -1),
    "flat spot": Family((1.3, 1, 0.5), gaussian(0.5), "n", -1),
    "crater": Family((1, 1, 0.6), polynomial, "n", -1),
    "shear": Family((1.2, 1.2, 0.8), cosine, "u", 1),
}


def deform_by_family(
    points: Vectors, normals: Vectors, config: AnomalyConfig, rng: np.random.Generator
) -> Vectors:
    """Displace `config.deformed` places of a cloud, each by a family drawn at random.

    Parameters
    ----------
    points, normals : (N, 3) float64, finite

    Returns
    -------
    (N, 3) float64 displacement; where two places overlap, the later one's.
    """
    displacement = np.zeros_like(points)
    tree, names = cKDTree(points), list(FAMILIES)
    for _ in range(config.deformed):
        family = FAMILIES[names[rng.integers(len(names))]]
        centre = int(rng.integers(len(points)))
        radius, size = (
            low + (high - low) * rng.beta(*_BETA) for low, high in (config.radius, config.magnitude)
        )
        nearest = np.atleast_1d(tree.query(points[centre], min(_NEIGHBOURS, len(points)))[1])
        frame = local_frame(points[nearest], normals[nearest])
        moved = displacement_of(family, points, normals, points[centre], frame, radius)
        inside = moved.any(axis=1)
        displacement[inside] = size * moved[inside]
    return displacement


def local_frame(points: Vectors, normals: Vectors) -> Vectors:
    """Return the rows u, v, n (3, 3) of neighbouring points (K, 3): principal axes, the longest
    first, n on the side of the mean of their normals."""
    axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=True)[2]
    if axes[2] @ normals.sum(axis=0) < 0:
        axes = axes * [[1], [1], [-1]]
    return np.asarray(axes)


def displacement_of(
    family: Family,
    points: Vectors,
    normals: Vectors,
    centre: Vectors,
    frame: Vectors,
    radius: float,
) -> Vectors:
    """Return the displacement (N, 3) of points by a family of size 1."""
    t = np.linalg.norm((points - centre) @ frame.T / family.radii, axis=1) / radius
    directions = normals if family.along == "normals" else frame[{"u": 0, "n": 2}[family.along]]
    return np.asarray(family.sign * family.kernel(t)[:, None] * directions)
