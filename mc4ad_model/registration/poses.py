# SPDX-License-Identifier: Apache-2.0
"""Rigid registration of a noisy cloud in any pose to the templates of its category.

Rotations on a grid over SO(3) are compared by the likelihood of the cloud on each template, coarse
first. The best of each template are refined by Gauss-Newton steps on the likelihood, in which every
point pulls along the field's gradient and points that fit nowhere pull little. The most likely pose
of all templates is taken. Nothing is drawn at random. Features such as FPFH are not used: at the
default noise a point's neighbourhood is more noise than shape.

Not a part of MC4AD: `data.frame = "registered"` says so in a run's configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from intravariance.errors import InputError
from mc4ad_model.registration.likelihood import (
    SIZE,
    cells,
    field,
    inlier_weight,
    interpolated,
)

Points = NDArray[np.float64]

DEFAULT_NOISE = 0.0447  # of runs that were saved without it
_SMALLEST_BLUR = 0.035  # a finer field needs a finer grid
_COARSE_BLUR = 0.10  # within the reach of a step of the grid of rotations

_ROTATIONS = 2500  # about 15 degrees apart
# Rounds. On the grid: points of the cloud, and poses of each template that stay.
_GRID = ((96, 100), (500, 24))
# Steps: points, number of steps, and poses of each template that stay, which differ by _SAME.
_COARSE = (300, 5, 7)
_FINE = (1000, 6, 2)
_LAST = ((3000, 3), (12_000, 2))
_SAME = np.radians(8)
_LARGEST_TURN, _LARGEST_SHIFT = 0.3, 0.15  # of a step, in radians and radii


@dataclass(frozen=True)
class Pose:
    """The pose in which a cloud lies on a template.

    template : index of the template; rotation : (3, 3) and shift : (3,), so that
    points @ rotation + shift lie in the template's frame; log_likelihood : mean over the cloud's
    points, higher is better.
    """

    template: int
    rotation: Points
    shift: Points
    log_likelihood: float


@dataclass(frozen=True)
class _Poses:
    """B poses: template (B,), rotation (B, 3, 3), shift (B, 3), log-likelihood (B,)."""

    template: NDArray[np.intp]
    rotation: Points
    shift: Points
    value: Points

    def __getitem__(self, rows: Any) -> _Poses:
        return _Poses(self.template[rows], self.rotation[rows], self.shift[rows], self.value[rows])

    @property
    def best_first(self) -> NDArray[np.intp]:
        """Return the rows by decreasing likelihood."""
        return np.argsort(-self.value, kind="stable")


class Registration:
    """A registration of clouds to templates.

    Parameters
    ----------
    templates : sequence of (S, 3)
        Noise-free points of each template's surface in its unit-ball frame, a few thousand or more.
    noise_sigma
        Standard deviation of the clouds' noise on each coordinate.
    """

    def __init__(
        self, templates: Sequence[NDArray[Any]], noise_sigma: float = DEFAULT_NOISE
    ) -> None:
        self.templates = [np.asarray(template, dtype=np.float64) for template in templates]
        self._trees = [cKDTree(template) for template in self.templates]
        self._middles = np.array([template.mean(axis=0) for template in self.templates])
        self._blur = max(noise_sigma, _SMALLEST_BLUR)
        self._fine = np.concatenate([field(t, self._blur) for t in self.templates])
        self._coarse = np.concatenate([field(t, _COARSE_BLUR) for t in self.templates])
        self._coarse_values = np.ascontiguousarray(self._coarse[:, 0])

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
        count, steps, kept = _COARSE
        poses = self._distinct(self._stepped(cloud[:count], poses, steps, coarse=True), kept)
        count, steps, kept = _FINE
        poses = self._distinct(self._stepped(cloud[:count], poses, steps), kept)
        for count, steps in _LAST:
            poses = self._stepped(cloud[:count], poses, steps, smooth=True)
            poses = poses[poses.best_first[:2]]
        best = poses[poses.best_first[0]]
        return Pose(int(best.template), best.rotation, best.shift, float(best.value))

    def offsets(self, points: NDArray[Any], pose: Pose) -> Points:
        """Return (N, 3) from the nearest point of the pose's template to each point (N, 3) of a
        cloud, in the template's frame."""
        tree = self._trees[pose.template]
        moved = points @ pose.rotation + pose.shift
        return np.asarray(moved - tree.data[tree.query(moved)[1]])

    def log_likelihood(self, points: NDArray[Any], pose: Pose) -> float:
        """Return the mean log-likelihood of points (N, 3) in a pose, whatever the pose says of it;
        10 million points a few seconds, in pieces."""
        start = np.full((1, 1), pose.template * SIZE**3)
        total = 0.0
        for piece in np.array_split(points, len(points) // 100_000 + 1):
            moved = piece.astype(np.float64) @ pose.rotation + pose.shift
            total += interpolated(self._fine, start, moved[None])[..., 0].sum(dtype=np.float64)
        return float(total / len(points))

    def _candidates(self, cloud: Points) -> _Poses:
        """Return the best poses on the grid of rotations, with centroid on centroid."""
        centre, grid = cloud.mean(axis=0), rotation_grid()
        chosen = np.tile(np.arange(len(grid)), (len(self.templates), 1))  # (T, R)
        for count, kept in _GRID:
            values = np.stack(
                [
                    self._grid_values(cloud[:count] - centre, t, grid[c])
                    for t, c in enumerate(chosen)
                ]
            )
            order = np.argsort(-values, axis=1, kind="stable")[:, :kept]
            chosen, values = (np.take_along_axis(a, order, axis=1) for a in (chosen, values))
        template = np.repeat(np.arange(len(chosen)), chosen.shape[1])
        rotation = grid[chosen.ravel()]
        return _Poses(
            template, rotation, self._middles[template] - centre @ rotation, values.ravel()
        )

    def _grid_values(self, centred: Points, template: int, rotations: Points) -> Points:
        """Return (R,) coarse log-likelihoods of a centred cloud in some rotations."""
        turned = centred @ rotations + self._middles[template]  # (R, P, 3)
        values = self._coarse_values[cells(turned) + template * SIZE**3]
        return np.asarray(values.mean(axis=1, dtype=np.float64))

    def _stepped(
        self, cloud: Points, poses: _Poses, steps: int, coarse: bool = False, smooth: bool = False
    ) -> _Poses:
        """Refine all poses by some steps, with these points; smooth : interpolate the field."""
        values, blur = (self._coarse, _COARSE_BLUR) if coarse else (self._fine, self._blur)
        start = (poses.template * SIZE**3)[:, None]
        rotation, shift = poses.rotation, poses.shift
        for step in range(steps + 1):
            moved = cloud @ rotation + shift[:, None]  # (B, P, 3)
            found = interpolated(values, start, moved) if smooth else values[cells(moved) + start]
            if step < steps:
                rotation, shift = _step(moved, found, rotation, shift, blur)
        return _Poses(poses.template, rotation, shift, found[..., 0].mean(axis=1, dtype=np.float64))

    def _distinct(self, poses: _Poses, kept: int) -> _Poses:
        """Keep the best poses of each template that differ from each other."""
        chosen = list[np.intp]()
        for template in range(len(self.templates)):
            own = list[np.intp]()
            for row in poses.best_first:
                turns = [np.trace(poses.rotation[row].T @ poses.rotation[r]) for r in own]
                if poses.template[row] == template and all(
                    t < 1 + 2 * np.cos(_SAME) for t in turns
                ):
                    own.append(row)
                if len(own) == kept:
                    break
            chosen += own
        return poses[np.array(chosen)]


def _step(
    moved: Points, found: NDArray[np.float32], rotation: Points, shift: Points, blur: float
) -> tuple[Points, Points]:
    """Return rotations (B, 3, 3) and shifts (B, 3) after a Gauss-Newton step.

    moved : (B, P, 3) the cloud in each pose. found : (B, P, 4) log-likelihood and gradient there. A
    point on a blurred surface tells its place along the gradient with the precision 1 / blur ** 2.
    """
    gradient = found[..., 1:].astype(np.float64)
    along = gradient / np.sqrt((gradient**2).sum(axis=-1, keepdims=True) + 1e-12)
    weight = inlier_weight(found[..., 0])[..., None]
    centre = moved.mean(axis=1, keepdims=True)
    arm = moved - centre
    lever = np.concatenate([np.cross(arm, along), along], axis=-1)  # (B, P, 6)
    slope = np.concatenate([np.cross(arm, gradient), gradient], axis=-1).sum(axis=1)
    information = np.matmul((lever * weight).swapaxes(1, 2), lever) / blur**2  # (B, 6, 6)
    # along symmetries nothing is known: a little of the mean information keeps the pose there
    mean = np.trace(information, axis1=1, axis2=2) / 6
    information += 1e-3 * mean[:, None, None] * np.eye(6)
    update = np.linalg.solve(information, slope[..., None])[..., 0]
    turn = Rotation.from_rotvec(_shortened(update[:, :3], _LARGEST_TURN)).as_matrix()
    turn = turn.swapaxes(1, 2)  # for row vectors
    centre = centre[:, 0]
    turned = np.einsum("bi,bij->bj", shift - centre, turn) + centre
    return rotation @ turn, turned + _shortened(update[:, 3:], _LARGEST_SHIFT)


def _shortened(vectors: Points, longest: float) -> Points:
    """Return vectors (B, 3) cut to a length."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors * np.minimum(1, longest / np.maximum(lengths, 1e-12)))


def saved_noise(description: Mapping[str, Any], path: Path) -> float:
    """Return `noise_sigma` of a saved method's description; runs of version 0.1.0 lack it.

    Raises
    ------
    InputError
        It is no number that noise can have.
    """
    noise_sigma = description.get("noise_sigma", DEFAULT_NOISE)
    if not isinstance(noise_sigma, float | int) or not 0 <= noise_sigma < 1:
        raise InputError(f"{path}.json: noise_sigma = {noise_sigma!r}, expected 0 to 1")
    return float(noise_sigma)


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
