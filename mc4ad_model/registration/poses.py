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
from mc4ad_model.registration.likelihood import Field, Floats, Points
from mc4ad_model.registration.lookalikes import Motions, distinct, lookalikes
from mc4ad_model.registration.refinement import Poses, refined, valued

DEFAULT_NOISE = 0.0447  # of runs that were saved without it
_SMALLEST_BLUR = 0.035  # a finer field needs a finer grid
_CELL = 0.04
_COARSE_BLUR = 0.10  # within the reach of a step of the grid of rotations
_COARSE_CELL = 0.08

_ROTATIONS = 2500  # about 15 degrees apart
# Rounds. On the grid: points of the cloud, and poses of each template that stay.
_GRID = ((64, 120), (400, 16))
# Steps: points, number of steps, and poses of each template that stay, which differ by _SAME.
_COARSE = (256, 4, 6)
_FINE = (800, 5, 2)
# Templates that are less likely by so much than the best one are given up after _FINE.
_BEHIND = 0.3
# Poses in which the template looks alike: points, poses that stay, steps.
_ALIKE = (3000, 5, 3)
_LAST_POINTS, _LAST_STEPS = 12_000, 2
_REGION_WIDTHS = (0.04, 0.02, 0.015, 0.015)
_SAME = np.radians(8)
_NEAR = np.radians(3)


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
        self._trees = dict[int, cKDTree]()
        self._middles = np.array([template.mean(axis=0) for template in self.templates])
        self._fine = fine_field(self.templates, noise_sigma)
        self._coarse = Field(self.templates, _COARSE_BLUR, _COARSE_CELL)
        # of templates with their middles on 0: one row for a point, a column for each template
        centred = Field(
            [t - middle for t, middle in zip(self.templates, self._middles, strict=True)],
            _COARSE_BLUR, _COARSE_CELL,
        )  # fmt: skip
        values = centred.values[:, 0].reshape(len(self.templates), -1)
        self._grid = np.ascontiguousarray(values.T)
        self._alike = dict[int, Motions]()

    def register(self, points: NDArray[Any]) -> Pose:
        """Find the pose of a cloud (N, 3), any rotation and shift, in the templates' scale.

        The search draws 12,000 points from a larger cloud, always the same ones.

        Raises
        ------
        InputError
            As `check_points`.
        """
        check_points(points)
        # A part of the cloud stands for all of it, so the points' order must mean nothing.
        chosen = np.random.default_rng(0).permutation(len(points))[:_LAST_POINTS]
        drawn = np.asarray(points)[chosen].astype(np.float64)
        centre = drawn.mean(axis=0)
        cloud = np.ascontiguousarray((drawn - centre).T, dtype=np.float32)  # (3, P)
        poses = self._candidates(cloud)
        count, steps, kept = _COARSE
        poses = self._best(refined(self._coarse, _part(cloud, count), poses, steps), kept)
        count, steps, kept = _FINE
        poses = self._best(refined(self._fine, _part(cloud, count), poses, steps), kept)
        poses = poses[poses.value > poses.value.max() - _BEHIND]
        best = self._turned(cloud, poses)
        regions = _REGION_WIDTHS
        best = refined(self._fine, cloud, best, len(regions), smooth=True, regions=regions)
        rotation = best.rotation[0]
        return Pose(
            int(best.template[0]), rotation, best.shift[0] - centre @ rotation, float(best.value[0])
        )

    def offsets(self, points: NDArray[Any], pose: Pose) -> Points:
        """Return (N, 3) from the nearest point of the pose's template to each point (N, 3) of a
        cloud, in the template's frame."""
        if pose.template not in self._trees:
            self._trees[pose.template] = cKDTree(self.templates[pose.template])
        tree = self._trees[pose.template]
        moved = points @ pose.rotation + pose.shift
        return np.asarray(moved - tree.data[tree.query(moved)[1]])

    def log_likelihood(self, points: NDArray[Any], pose: Pose) -> float:
        """Return the mean log-likelihood of points (N, 3) in a pose, whatever the pose says."""
        return log_likelihood(self._fine, points, pose)

    def _candidates(self, cloud: Floats) -> Poses:
        """Return the best poses on the grid of rotations, with middle on middle.

        cloud : (3, P), its middle on 0.
        """
        grid = rotation_grid()
        count, kept = _GRID[0]
        values = self._grid_values(_part(cloud, count), grid)  # (R, T)
        chosen = np.argsort(-values, axis=0, kind="stable")[:kept]  # (kept, T)
        count, kept = _GRID[1]
        template = np.repeat(np.arange(len(self.templates)), len(chosen))
        rotation = grid[chosen.T.ravel()]
        poses = Poses(template, rotation, self._middles[template], np.zeros(len(template)))
        return self._best(valued(self._coarse, _part(cloud, count), poses), kept, apart=0.0)

    def _grid_values(self, cloud: Floats, rotations: Points) -> Points:
        """Return (R, T) coarse log-likelihoods of a cloud in some rotations, on each template."""
        turned = np.matmul(rotations.astype(np.float32).swapaxes(1, 2), cloud)
        rows = self._coarse.rows(turned)
        return np.asarray(np.take(self._grid, rows, axis=0).mean(axis=1, dtype=np.float64))

    def _best(self, poses: Poses, kept: int, apart: float = _SAME) -> Poses:
        """Keep the best poses of each template that differ from each other."""
        rows = list[NDArray[np.intp]]()
        for template in range(len(self.templates)):
            own = np.flatnonzero(poses.template == template)
            part = poses[own]
            best = distinct(part, apart, kept) if apart else part.best_first[:kept]
            rows.append(own[best])
        return poses[np.concatenate(rows)]

    def _turned(self, cloud: Floats, poses: Poses) -> Poses:
        """Return the best pose, the only one, among these and those in which its template looks
        alike."""
        count, kept, steps = _ALIKE
        some = _part(cloud, count)
        variants = [self._variants(poses[b : b + 1]) for b in range(len(poses.value))]
        poses = Poses(*(np.concatenate(p) for p in zip(*map(_fields, variants), strict=True)))
        poses = valued(self._fine, some, poses)
        poses = poses[distinct(poses, _NEAR, kept)]
        poses = refined(self._fine, some, poses, steps, smooth=True)
        poses = poses[poses.best_first[:2]]
        poses = refined(self._fine, cloud, poses, _LAST_STEPS, smooth=True)
        return poses[poses.best_first[:1]]

    def _variants(self, pose: Poses) -> Poses:
        """Return a pose, the only one, in all ways in which its template looks alike."""
        template = int(pose.template[0])
        if template not in self._alike:
            self._alike[template] = lookalikes(
                self._coarse, self._fine, template, self.templates[template], rotation_grid()
            )
        alike = self._alike[template]
        rotation = pose.rotation[0] @ alike.rotation
        shift = pose.shift[0] @ alike.rotation + alike.shift
        count = len(shift)
        return Poses(np.full(count, template), rotation, shift, np.zeros(count))


def check_points(points: NDArray[Any]) -> None:
    """Check that a cloud (N, 3) can be registered at all.

    Raises
    ------
    InputError
        It has no point, or a coordinate is not finite.
    """
    if len(points) == 0:
        raise InputError("point cloud: expected at least one point, found none")
    if not np.isfinite(points).all():
        raise InputError("point cloud: expected finite coordinates, found NaN or infinity")


def fine_field(templates: Sequence[NDArray[Any]], noise_sigma: float) -> Field:
    """Make the field in which a pose's likelihood is found, of templates (S, 3)."""
    return Field(templates, max(noise_sigma, _SMALLEST_BLUR), _CELL)


def log_likelihood(field: Field, points: NDArray[Any], pose: Pose) -> float:
    """Return the mean log-likelihood of points (N, 3) in a pose, whatever the pose says of it;
    10 million points a few seconds, in pieces."""
    template = np.array([pose.template])
    total = 0.0
    for piece in np.array_split(points, len(points) // 100_000 + 1):
        moved = piece.astype(np.float64) @ pose.rotation + pose.shift
        found = field.interpolated(template, moved.T[None].astype(np.float32))
        total += float(found[..., 0].sum(dtype=np.float64))
    return total / len(points)


def _part(cloud: Floats, count: int) -> Floats:
    """Return the first points of a cloud (3, P)."""
    return np.ascontiguousarray(cloud[:, :count])


def _fields(poses: Poses) -> tuple[NDArray[Any], ...]:
    return poses.template, poses.rotation, poses.shift, poses.value


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
