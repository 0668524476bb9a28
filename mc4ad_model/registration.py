# SPDX-License-Identifier: Apache-2.0
"""Rigid registration of a noisy cloud in any pose to the templates of its category.

Rotations on a grid that covers SO(3) are scored against a distance field of each template, the best
are refined by iterative closest points (ICP), and the one whose cloud and template lie closest to
each other, seen from both sides, is taken. Nothing is drawn at random. Features such as FPFH are not
used: at the default noise a point's neighbourhood is more noise than shape.

Not a part of MC4AD: `data.frame = "registered"` says so in a run's configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

Points = NDArray[np.float64]

# Distances beyond this count as this much: parts that are missing or twisted away pull no more.
FAR = 0.2

_ROTATIONS = 2500  # about 15 degrees apart
_COARSE_POINTS = 250
_CELL, _REACH = 0.04, 1.6  # of the distance field; a cloud's noise and shift must fit in
_REFINED, _FINALISTS = 24, 4
_REFINING_POINTS = 700
_REFINING_STEPS, _FINAL_STEPS = 12, 25


@dataclass(frozen=True)
class Pose:
    """template : index of the template; rotation : (3, 3) and shift : (3,), so that
    points @ rotation + shift lie in the template's frame; distance : mean distance between cloud
    and template, both ways, each cut off at `FAR`."""

    template: int
    rotation: Points
    shift: Points
    distance: float


class Registration:
    """Registers clouds to templates.

    Parameters
    ----------
    templates : sequence of (S, 3)
        Noise-free points of each template's surface in its unit-ball frame, a few thousand or more.
    """

    def __init__(self, templates: Sequence[NDArray[Any]]) -> None:
        self._templates = [np.asarray(template, dtype=np.float64) for template in templates]
        self._trees = [cKDTree(template) for template in self._templates]
        self._fields = [_distance_field(template) for template in self._templates]

    def register(self, points: NDArray[Any]) -> Pose:
        """The pose of a cloud (N, 3), any rotation and shift, in the templates' scale."""
        cloud = np.asarray(points, dtype=np.float64)
        # every k-th point in the order of a fixed permutation: the file's order may be anything
        cloud = cloud[np.random.default_rng(0).permutation(len(cloud))]
        candidates = self._candidates(cloud[:_COARSE_POINTS], cloud.mean(axis=0))
        refined = [self._refine(cloud[:_REFINING_POINTS], pose, 6) for pose in candidates]
        refined.sort(key=lambda pose: pose.distance)
        refined = [
            self._refine(cloud[:_REFINING_POINTS], pose, _REFINING_STEPS) for pose in refined[:8]
        ]
        tree = cKDTree(cloud)
        finalists = [
            self._both_ways(cloud, tree, pose)
            for pose in sorted(refined, key=lambda pose: pose.distance)[:_FINALISTS]
        ]
        best = min(finalists, key=lambda pose: pose.distance)
        best = self._refine(cloud[:4000], best, _FINAL_STEPS)
        return best

    def _candidates(self, cloud: Points, centre: Points) -> list[Pose]:
        turned = (cloud - centre) @ rotation_grid()  # (R, P, 3)
        poses = []
        for index, template in enumerate(self._templates):
            middle = template.mean(axis=0)
            cells = ((turned + (middle + _REACH)) / _CELL).astype(np.int64)
            field = self._fields[index]
            np.clip(cells, 0, field.shape[0] - 1, out=cells)
            distances = field[cells[..., 0], cells[..., 1], cells[..., 2]].mean(axis=1)  # (R,)
            for best in np.argsort(distances, kind="stable")[:_REFINED]:
                rotation = rotation_grid()[best]
                shift = middle - centre @ rotation
                poses.append(Pose(index, rotation, shift, float(distances[best])))
        return sorted(poses, key=lambda pose: pose.distance)[:_REFINED]

    def _refine(self, cloud: Points, pose: Pose, steps: int) -> Pose:
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

    def _both_ways(self, cloud: Points, tree: Any, pose: Pose) -> Pose:
        template = self._templates[pose.template][:3000]
        back, _ = tree.query((template - pose.shift) @ pose.rotation.T)
        distance = 0.5 * (pose.distance + float(np.minimum(back, FAR).mean()))
        return Pose(pose.template, pose.rotation, pose.shift, distance)


def _fit(source: Points, target: Points) -> tuple[Points, Points]:
    """Least-squares rotation and shift with source @ rotation + shift = target (Kabsch)."""
    a, b = source.mean(axis=0), target.mean(axis=0)
    u, _, vt = np.linalg.svd((source - a).T @ (target - b))
    u[:, 2] *= np.sign(np.linalg.det(u @ vt))
    rotation = u @ vt
    return rotation, b - a @ rotation


def _distance_field(template: Points) -> NDArray[np.float32]:
    """Distance of each cell of a cube of edge 2 * _REACH from the template, at most FAR."""
    size = round(2 * _REACH / _CELL)
    empty = np.ones((size, size, size), dtype=bool)
    cells = ((template + _REACH) / _CELL).astype(np.int64).clip(0, size - 1)
    empty[cells[:, 0], cells[:, 1], cells[:, 2]] = False
    return np.minimum(distance_transform_edt(empty, sampling=_CELL), FAR).astype(np.float32)


@cache
def rotation_grid() -> Points:
    """(R, 3, 3) rotations spread evenly over SO(3): a super-Fibonacci spiral of quaternions (Alexa,
    Super-Fibonacci Spirals, CVPR 2022)."""
    phi, psi = np.sqrt(2), 1.533751168755204288118041
    s = np.arange(_ROTATIONS) + 0.5
    t = s / _ROTATIONS
    a, b = 2 * np.pi * s / phi, 2 * np.pi * s / psi
    r, q = np.sqrt(t), np.sqrt(1 - t)
    quaternions = np.stack([r * np.sin(a), r * np.cos(a), q * np.sin(b), q * np.cos(b)], axis=1)
    return np.asarray(Rotation.from_quat(quaternions).as_matrix())
