# SPDX-License-Identifier: Apache-2.0
"""Rigid registration of a noisy cloud in any pose to the templates of its category.

Rotations on a grid over SO(3) are scored against a distance field of each template, the best are
refined by iterative closest points (ICP), and the one is taken for which cloud and template lie
closest to each other, seen from both sides. Nothing is drawn at random. Features such as FPFH are
not used: at the default noise a point's neighbourhood is more noise than shape.

Not a part of MC4AD: `data.frame = "registered"` says so in a run's configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from intravariance.errors import InputError

Points = NDArray[np.float64]

# Distances beyond this count as this much: parts that are missing or twisted away pull no more.
FAR = 0.2

_ROTATIONS = 2500  # about 15 degrees apart, within the reach of ICP
_CELL, _REACH = 0.04, 1.6  # of the distance field; what lies outside counts as at its border
# Rounds: so many poses are refined by so many steps of ICP with so many points of the cloud.
_GRID_POINTS = 250
_FIRST = (24, 6, 700)
_SECOND = (8, 12, 700)
_FINALISTS = 4  # compared from both sides, with all points of the cloud
_LAST = (1, 25, 4000)
_BACK_POINTS = 3000  # of the template, for the view from its side


@dataclass(frozen=True)
class Pose:
    """The pose in which a cloud lies on a template.

    template : index of the template; rotation : (3, 3) and shift : (3,), so that
    points @ rotation + shift lie in the template's frame; distance : mean distance of the cloud's
    points from the template, each cut off at `FAR`.
    """

    template: int
    rotation: Points
    shift: Points
    distance: float


class Registration:
    """A registration of clouds to templates.

    Parameters
    ----------
    templates : sequence of (S, 3)
        Noise-free points of each template's surface in its unit-ball frame, a few thousand or more.
    """

    def __init__(self, templates: Sequence[NDArray[Any]]) -> None:
        self.templates = [np.asarray(template, dtype=np.float64) for template in templates]
        self._trees = [cKDTree(template) for template in self.templates]
        self._fields = [_distance_field(template) for template in self.templates]

    def register(self, points: NDArray[Any]) -> Pose:
        """Find the pose of a cloud (N, 3), any rotation and shift, in the templates' scale.

        Raises
        ------
        InputError
            A coordinate is not finite.
        """
        cloud = np.asarray(points, dtype=np.float64)
        if not np.isfinite(cloud).all():
            raise InputError("point cloud: expected finite coordinates, found NaN or infinity")
        # A part of the cloud stands for all of it, so the points' order must mean nothing.
        cloud = cloud[np.random.default_rng(0).permutation(len(cloud))]
        poses = self._candidates(cloud)
        for round_ in (_FIRST, _SECOND):
            poses = self._refined(cloud, poses, *round_)
        tree = cKDTree(cloud)
        finalists = [self._from_both_sides(tree, pose) for pose in poses[:_FINALISTS]]
        finalists.sort(key=lambda pose: pose.distance)
        return self._from_both_sides(tree, self._refined(cloud, finalists, *_LAST)[0])

    def offsets(self, points: NDArray[Any], pose: Pose) -> Points:
        """Return (N, 3) from the nearest point of the pose's template to each point (N, 3) of a
        cloud, in the template's frame."""
        tree = self._trees[pose.template]
        moved = points @ pose.rotation + pose.shift
        return np.asarray(moved - tree.data[tree.query(moved)[1]])

    def _refined(
        self, cloud: Points, poses: Sequence[Pose], count: int, steps: int, points: int
    ) -> list[Pose]:
        """Refine the first poses by ICP with some of the points; return them best first."""
        refined = [self._refine(cloud[:points], pose, steps) for pose in poses[:count]]
        return sorted(refined, key=lambda pose: pose.distance)

    def _candidates(self, cloud: Points) -> list[Pose]:
        """Return the best poses on the grid of rotations, with centroid on centroid."""
        centre = cloud.mean(axis=0)
        rotations = rotation_grid()
        turned = ((cloud[:_GRID_POINTS] - centre) @ rotations).astype(np.float32)  # (R, P, 3)
        turned /= _CELL
        poses = []
        for index, (template, field) in enumerate(zip(self.templates, self._fields, strict=True)):
            middle = template.mean(axis=0)
            size = field.shape[0]
            cells = (turned + ((middle + _REACH) / _CELL).astype(np.float32)).astype(np.int32)
            np.clip(cells, 0, size - 1, out=cells)
            flat = (cells[..., 0] * size + cells[..., 1]) * size + cells[..., 2]
            distances = field.ravel()[flat].mean(axis=1)  # (R,)
            for best in np.argsort(distances, kind="stable")[: _FIRST[0]]:
                shift = middle - centre @ rotations[best]
                poses.append(Pose(index, rotations[best], shift, float(distances[best])))
        return sorted(poses, key=lambda pose: pose.distance)

    def _refine(self, cloud: Points, pose: Pose, steps: int) -> Pose:
        """Refine one pose by steps of ICP."""
        tree = self._trees[pose.template]
        rotation, shift = pose.rotation, pose.shift
        for _ in range(steps):
            moved = cloud @ rotation + shift
            distances, nearest = tree.query(moved)
            close = distances < FAR
            if close.sum() < 10:
                break
            source, target = cloud[close], tree.data[nearest[close]]
            rotation, shift = _fit(source, target)
        distances, _ = tree.query(cloud @ rotation + shift)
        return Pose(pose.template, rotation, shift, float(np.minimum(distances, FAR).mean()))

    def _from_both_sides(self, tree: Any, pose: Pose) -> Pose:
        """Replace the distance by the mean of both: a part's in a whole template is small."""
        template = self.templates[pose.template][:_BACK_POINTS]
        distances, _ = tree.query((template - pose.shift) @ pose.rotation.T)
        distance = 0.5 * (pose.distance + float(np.minimum(distances, FAR).mean()))
        return replace(pose, distance=distance)


def _fit(source: Points, target: Points) -> tuple[Points, Points]:
    """Solve for rotation and shift with source @ rotation + shift = target (Kabsch).

    The solution is that of least squares.
    """
    a, b = source.mean(axis=0), target.mean(axis=0)
    u, _, vt = np.linalg.svd((source - a).T @ (target - b))
    u[:, 2] *= np.sign(np.linalg.det(u @ vt))
    rotation = u @ vt
    return rotation, b - a @ rotation


def _distance_field(template: Points) -> NDArray[np.float32]:
    """Compute each cell's distance from the template, at most FAR, in a cube of edge 2 * _REACH."""
    size = round(2 * _REACH / _CELL)
    empty = np.ones((size, size, size), dtype=bool)
    cells = ((template + _REACH) / _CELL).astype(np.int64).clip(0, size - 1)
    empty[cells[:, 0], cells[:, 1], cells[:, 2]] = False
    distances = distance_transform_edt(empty, sampling=_CELL)
    return np.asarray(np.minimum(distances, FAR), dtype=np.float32)


@cache
def rotation_grid() -> Points:
    """Return (R, 3, 3) rotations spread evenly over SO(3).

    They lie on a super-Fibonacci spiral of quaternions (Alexa, Super-Fibonacci Spirals, CVPR 2022).
    """
    phi, psi = np.sqrt(2), 1.533751168755204288118041
    s = np.arange(_ROTATIONS) + 0.5
    t = s / _ROTATIONS
    a, b = 2 * np.pi * s / phi, 2 * np.pi * s / psi
    r, q = np.sqrt(t), np.sqrt(1 - t)
    quaternions = np.stack([r * np.sin(a), r * np.cos(a), q * np.sin(b), q * np.cos(b)], axis=1)
    return np.asarray(Rotation.from_quat(quaternions).as_matrix())
