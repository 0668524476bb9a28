# SPDX-License-Identifier: Apache-2.0
"""In which poses a product looks the same, and how far a pose is from the nearest of them.

A symmetry is a rigid motion that lays the surface on itself: for 99.5 % of its points the distance
is at most 0.01, a fifth of the default noise. Motions that start on a grid of rotations are settled
by Gauss-Newton steps on the distance from the mesh. A solid of revolution has a continuum of
symmetries, of which the grid finds some; so the pose in question is settled as well, and the
symmetry that it ends in, if it is one, is most often the nearest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import open3d
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from intravariance.geometry.mesh import Mesh
from intravariance.geometry.sampling import sample_surface
from mc4ad_model.registration.poses import rotation_grid

TOLERANCE = 0.01  # of a symmetry
_SHARE = 0.995  # of the points within the tolerance
# Starts on the grid: their points, and the mean distance that they may have, before some steps
# and after them.
_START_POINTS = 100
_START, _BEGUN = 0.07, 0.015
_FIRST_STEPS, _STEPS = 6, 12
_MOST = 100  # that go on, about: a ball has symmetries without end
_SAME = np.radians(1)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Motions:
    """B rigid motions, points @ rotation + shift: rotation (B, 3, 3), shift (B, 3)."""

    rotation: Floats
    shift: Floats

    def __getitem__(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Motions:
        return Motions(self.rotation[rows], self.shift[rows])

    def __add__(self, other: Motions) -> Motions:
        return Motions(
            np.concatenate([self.rotation, other.rotation]),
            np.concatenate([self.shift, other.shift]),
        )

    def of(self, points: Floats) -> Floats:
        """Move points (P, 3): (B, P, 3)."""
        return np.asarray(np.matmul(points, self.rotation) + self.shift[:, None])


class Product:
    """A product's surface and its symmetries.

    Parameters
    ----------
    mesh : in any frame, of radius about 1.
    rng : draws points of the surface.
    count : of these points.
    """

    def __init__(self, mesh: Mesh, rng: np.random.Generator, count: int = 1500) -> None:
        self._scene = open3d.t.geometry.RaycastingScene()
        self._scene.add_triangles(
            open3d.core.Tensor(mesh.vertices.astype(np.float32)),
            open3d.core.Tensor(mesh.faces.astype(np.uint32)),
        )
        self.points = sample_surface(mesh, count, rng).points
        self.symmetries = self._symmetries()

    def distance(self, points: Floats) -> Floats:
        """Return the distances (...) of points (..., 3) from the surface."""
        return np.asarray(np.linalg.norm(self._offsets(points)[0], axis=-1))

    def error(self, motion: Motions) -> tuple[float, float]:
        """Return how far a motion, the only one, is from a symmetry: degrees, and the shift of the
        middle of the product's points."""
        settled = self._settled(motion)
        near = self.symmetries + settled[self._are_symmetries(settled)]
        apart = ((near.of(self.points) - motion.of(self.points)) ** 2).sum(axis=-1).mean(axis=1)
        best = near[np.argmin(apart)[None]]
        cosine = (np.trace(best.rotation[0].T @ motion.rotation[0]) - 1) / 2
        middle = self.points.mean(axis=0)[None]
        shift = np.linalg.norm(best.of(middle) - motion.of(middle))
        return float(np.degrees(np.arccos(np.clip(cosine, -1, 1)))), float(shift)

    def _offsets(self, points: Floats) -> tuple[Floats, Floats]:
        """Return offsets (..., 3) of points from the surface and the surface's normals there."""
        found = self._scene.compute_closest_points(open3d.core.Tensor(points.astype(np.float32)))
        closest = found["points"].numpy().astype(np.float64)
        return points - closest, found["primitive_normals"].numpy().astype(np.float64)

    def _are_symmetries(self, motions: Motions) -> NDArray[np.bool_]:
        reached = np.quantile(self.distance(motions.of(self.points)), _SHARE, axis=1)
        return np.asarray(reached <= TOLERANCE)

    def _symmetries(self) -> Motions:
        """Return different symmetries, the identity first."""
        grid, middle = rotation_grid(), self.points.mean(axis=0)
        starts = Motions(grid, middle - middle @ grid)
        few = self.points[:_START_POINTS]
        starts = starts[self.distance(starts.of(few)).mean(axis=1) < _START]
        begun = self._settled(starts, few, _FIRST_STEPS)
        begun = _different(begun[self.distance(begun.of(few)).mean(axis=1) < _BEGUN])
        settled = self._settled(begun[:: max(1, len(begun.shift) // _MOST)])
        identity = Motions(np.eye(3)[None], np.zeros((1, 3)))
        return _different(identity + settled[self._are_symmetries(settled)])

    def _settled(
        self, motions: Motions, points: Floats | None = None, steps: int = _STEPS
    ) -> Motions:
        """Take Gauss-Newton steps on the squared distances of the points from the surface."""
        points = self.points if points is None else points
        rotation, shift = motions.rotation, motions.shift
        for _ in range(steps):
            moved = Motions(rotation, shift).of(points)
            offset, normal = self._offsets(moved)
            distance = np.linalg.norm(offset, axis=-1, keepdims=True)
            along = np.where(distance > 1e-5, offset / np.maximum(distance, 1e-12), normal)
            lever = np.concatenate([np.cross(moved, along), along], axis=-1)  # (B, P, 6)
            matrix = np.matmul(lever.swapaxes(1, 2), lever)
            mean = np.trace(matrix, axis1=1, axis2=2) / 6
            matrix += 1e-4 * mean[:, None, None] * np.eye(6)
            slope = (lever * distance).sum(axis=1)
            update = -np.linalg.solve(matrix, slope[..., None])[..., 0]
            update *= np.minimum(1, 0.2 / np.maximum(np.linalg.norm(update, axis=1), 1e-12))[
                :, None
            ]
            turn = Rotation.from_rotvec(update[:, :3]).as_matrix().swapaxes(1, 2)
            rotation = rotation @ turn
            shift = np.einsum("bi,bij->bj", shift, turn) + update[:, 3:]
        return Motions(rotation, shift)


def _different(motions: Motions) -> Motions:
    """Leave out what is turned as one before it."""
    rows: list[int] = []
    for row, rotation in enumerate(motions.rotation):
        traces = np.einsum("bij,ij->b", motions.rotation[rows], rotation)
        if (traces < 1 + 2 * np.cos(_SAME)).all():
            rows.append(row)
    return motions[np.array(rows, dtype=np.intp)]
