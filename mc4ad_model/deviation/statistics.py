# SPDX-License-Identifier: Apache-2.0
"""Calibrated deviation: how unusual a cloud is at places of a template.

Places ("anchors") lie on the template. In two cylinders along an anchor's normal three things are
measured: how many of the cloud's points are in it, the mean of their heights above the anchor, and
the standard deviation of these. The same is measured in clouds that are simulated from the
template, so that the mean and the spread of each number without any defect are known at each
anchor, and a cloud's numbers become z-scores. Nothing is trained.

Clouds are in the frame of the template (unit-sphere frame): registered, or at their true pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from intravariance.geometry.mesh import Mesh
from intravariance.geometry.sampling import sample_surface

Floats = NDArray[np.float64]

ANCHORS = 2_000
RADII = (0.07, 0.13)  # of the cylinders; half their height is HALF_HEIGHT
HALF_HEIGHT = 0.2
# Counts are those of a cloud of so many points; 2 sqrt(count) has a variance of about 1.
_COUNTED = 10_000
_REACH = float(np.hypot(max(RADII), HALF_HEIGHT))
_ROUNDING = 1e-3  # of what is computed in float32, and more
_BLOCK = 32  # anchors at most that are compared with the points around them in one go
# The variance of a few simulated clouds is uncertain: the mean over all anchors counts as so many
# further clouds.
_POOLED_CLOUDS = 8
_NEIGHBOURS = 8  # anchors whose mean is the score of a point
_TOP_SHARE = 0.02  # of the anchors, whose mean is the score of an object


@dataclass(frozen=True, eq=False)
class Anchors:
    """Places on a template's surface.

    points, normals : (A, 3), unit-sphere frame. blocks : indices of the anchors, in parts that are
    close together.
    """

    points: Floats
    normals: Floats
    blocks: tuple[NDArray[np.intp], ...]

    @classmethod
    def at(cls, points: Floats, normals: Floats) -> Anchors:
        """Make anchors of points and unit normals (A, 3) of a surface."""
        return cls(points, normals, tuple(_blocks(points, np.arange(len(points)))))

    @cached_property
    def balls(self) -> tuple[Floats, Floats]:
        """Centres (L, 3) of the blocks, and radii (L,) within which lie all points that count."""
        centres = np.array([self.points[block].mean(axis=0) for block in self.blocks])
        wide = [
            np.linalg.norm(self.points[block] - centre, axis=1).max()
            for block, centre in zip(self.blocks, centres, strict=True)
        ]
        return centres, np.array(wide) + _REACH

    @cached_property
    def tree(self) -> cKDTree:
        """A k-d tree of their points."""
        return cKDTree(self.points)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Statistics of clouds without a defect at each anchor.

    mean, spread : (A, 6), of the columns of `cylinder_statistics`; NaN where it cannot be known.
    """

    anchors: Anchors
    mean: Floats
    spread: Floats


def place_anchors(mesh: Mesh, rng: np.random.Generator, count: int = ANCHORS) -> Anchors:
    """Draw anchors uniformly on the surface of a mesh."""
    where = sample_surface(mesh, count, rng)
    return Anchors.at(where.points, where.normals)


def _blocks(points: Floats, members: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Halve along the longest side until no part has more than _BLOCK members."""
    if len(members) <= _BLOCK:
        return [members]
    own = points[members]
    order = members[np.argsort(own[:, np.ptp(own, axis=0).argmax()], kind="stable")]
    middle = len(order) // 2
    return _blocks(points, order[:middle]) + _blocks(points, order[middle:])


def cylinder_statistics(anchors: Anchors, points: Floats) -> Floats:
    """Measure a cloud at each anchor.

    points : (N, 3), template's frame. Returns (A, 6): for each of the RADII 2 sqrt(count x 10,000 /
    N), the mean height, and the standard deviation of the heights; NaN where there are too few
    points for it.
    """
    measured = np.full((len(anchors.points), 3 * len(RADII)), np.nan)
    columns = np.ascontiguousarray(points.T, dtype=np.float32)
    lengths = np.einsum("ij,ij->j", columns, columns)
    for block, centre, radius in zip(anchors.blocks, *anchors.balls, strict=True):
        squared = lengths - 2 * (centre.astype(np.float32) @ columns)
        limit = (radius + _ROUNDING) ** 2 - (centre**2).sum()
        near = points.take(np.flatnonzero(squared <= limit), axis=0) - centre  # (M, 3)
        origins, normals = anchors.points[block] - centre, anchors.normals[block]
        measured[block] = _measured(near, origins, normals, len(points))
    return measured


def _measured(near: Floats, origins: Floats, normals: Floats, total: int) -> Floats:
    """Measure (B, 6) at a block of B anchors; near : (M, 3), all points that count, perhaps more.

    total : number of the cloud's points. In float32, from the middle of the block: a rounding error
    is a ten-thousandth of any noise.
    """
    points = np.ones((5, len(near)), dtype=np.float32)  # x, y, z, 1, squared length
    points[:3] = near.T
    np.einsum("ij,ij->j", points[:3], points[:3], out=points[4])
    places, along = (a.astype(np.float32) for a in (origins, normals))
    heights = np.column_stack([along, -_dot(along, places)]) @ points[:4]  # (B, M)
    squared_heights = heights * heights
    to_places = np.column_stack([-2 * places, _dot(places, places), np.ones_like(places[:, 0])])
    squared = to_places @ points - squared_heights  # distance from the axis
    level = squared_heights <= HALF_HEIGHT**2
    columns = []
    for radius in RADII:
        inside = ((squared <= radius * radius) & level).astype(np.float32)
        count = (inside @ points[3]).astype(np.float64)
        mean = _divided(_dot(inside, heights), count)
        variance = _divided(_dot(inside, squared_heights), count) - mean * mean
        spread = np.where(count > 1, np.sqrt(np.maximum(variance, 0)), np.nan)
        columns += [2 * np.sqrt(count * _COUNTED / total), mean, spread]
    return np.column_stack(columns)


def _dot(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Multiply two arrays (B, M) row by row: (B,)."""
    return np.asarray(np.einsum("ij,ij->i", first, second))


def _divided(total: Floats, count: Floats) -> Floats:
    """Divide, NaN where the count is 0."""
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def calibrate(anchors: Anchors, clouds: Sequence[Floats]) -> Calibration:
    """Measure clouds without a defect: at least two, each (N, 3), template's frame.

    An anchor's variance is a weighted mean of its own and of the mean of all anchors.
    """
    return calibration_of(anchors, np.stack([cylinder_statistics(anchors, c) for c in clouds]))


def calibration_of(anchors: Anchors, measured: Floats) -> Calibration:
    """Return mean and spread of what was measured in K clouds at each anchor, (K, A, C)."""
    known = np.isfinite(measured)
    count = known.sum(axis=0).astype(np.float64)  # (A, C)
    mean = _divided(np.where(known, measured, 0).sum(axis=0), count)
    squared = (np.where(known, measured - mean, 0) ** 2).sum(axis=0)
    freedom = np.maximum(count - 1, 0)
    pooled = squared.sum(axis=0) / freedom.sum(axis=0)  # (C,)
    variance = (squared + _POOLED_CLOUDS * pooled) / (freedom + _POOLED_CLOUDS)
    return Calibration(anchors, np.where(count > 1, mean, np.nan), np.sqrt(variance))


def z_scores(calibration: Calibration, points: Floats) -> Floats:
    """Compare a cloud (N, 3), template's frame, with the calibration: (A, 6).

    0 where a number cannot be told in the cloud or in the clouds that were simulated.
    """
    return standardised(calibration, cylinder_statistics(calibration.anchors, points))


def standardised(calibration: Calibration, measured: Floats) -> Floats:
    """Turn what was measured at the anchors, (A, C), into z-scores; 0 where it is not known."""
    return np.nan_to_num((measured - calibration.mean) / calibration.spread, nan=0.0)


def deviations(z: Floats) -> Floats:
    """Return the score of each anchor, (A,): the root mean square of its z-scores (A, 6)."""
    return np.asarray(np.sqrt(np.square(z).mean(axis=1)))


def nearest_anchors(anchors: Anchors, points: Floats) -> NDArray[np.intp]:
    """Find the anchors whose mean is the score of each of points (N, 3): (N, K)."""
    _, nearest = anchors.tree.query(points, k=min(_NEIGHBOURS, len(anchors.points)))
    return np.asarray(nearest.reshape(len(points), -1))


def point_scores(scores: Floats, nearest: NDArray[np.intp]) -> Floats:
    """Give each of N points the mean score of the anchors nearest to it.

    scores : (A,) or (A, C). nearest : (N, K), from `nearest_anchors`.
    """
    return np.asarray(scores[nearest].mean(axis=1))


def object_score(scores: Floats) -> float:
    """Return the mean of the highest 2 % of the anchors' scores (A,)."""
    count = max(1, round(_TOP_SHARE * len(scores)))
    return float(np.sort(scores)[-count:].mean())


def density_change(calibration: Calibration, points: Floats) -> float:
    """Return the logarithm of the cloud's density over that of a pristine product with as many.

    The median over the anchors, so that what is far from a defect decides. Uniformly sampled, a
    product with a larger surface has a lower density.
    """
    counts = cylinder_statistics(calibration.anchors, points)[:, 3 * len(RADII) - 3]
    usual = calibration.mean[:, 3 * len(RADII) - 3]
    return 2 * float(np.log(np.median(counts / np.maximum(usual, 1e-9))))
