# SPDX-License-Identifier: Apache-2.0
"""Scanning of a surface: viewpoints, uneven density, noise, stray points.

Everything is in the unit-sphere frame of the pristine product. A specification asks for scanning
by its table `[scan]`; without one the surface is sampled evenly from all sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blender_scripts.portable import cos, dot, exp, log, norm, normal, sin
from intravariance.errors import InputError
from intravariance.geometry.mesh import Mesh
from intravariance.geometry.sampling import (
    SurfacePoints,
    join,
    random_pose,
    rotate,
    sample_surface,
)
from intravariance.geometry.viewing import sphere_directions
from intravariance.geometry.visibility import blocked, cosines

Floats = NDArray[np.float64]

# Far enough to see all of a product whose defect stands out, near enough to see in perspective.
VIEW_DISTANCE = 5.0  # from the centre, in unit-sphere radii
# Beyond 80 degrees next to nothing comes back to a scanner.
LEAST_COSINE = float(np.round(cos(np.radians(80)), 9))
# Stray points are spread evenly over a ball that holds the product and half as much again.
STRAY_RADIUS = 1.5

# Wave numbers of the uneven density: patches of about half a radius to two radii.
_WAVES = 6
_WAVE_NUMBER = (3.0, 12.0)
_ROUND = 100_000  # places tried at a time
_LEAST_YIELD = 0.001  # of the places tried are kept


def viewpoints(count: int, rng: np.random.Generator) -> Floats:
    """Draw (count, 3) viewpoints: evenly around the product, turned at random as one.

    They are rounded to 9 digits, as they are recorded.
    """
    return np.round(VIEW_DISTANCE * rotate(sphere_directions(count), random_pose("so3", rng)), 9)


def incidence(mesh: Mesh, where: SurfacePoints, views: Floats) -> Floats:
    """Return (N,) cosine of the angle of incidence at which points of a closed mesh are seen.

    views : (K, 3) viewpoints. The one that sees a point most squarely counts. The cosine is 0 where
    none sees it: the surface faces away, is seen at more than 80 degrees, or something of the mesh
    is in between.
    """
    corners = mesh.vertices.astype(np.float64)[mesh.faces]  # (F, 3, 3)
    best = np.zeros(len(where.points))
    for view in views:
        cosine = cosines(where.points, where.normals, view)
        better = np.flatnonzero(cosine > np.maximum(best, LEAST_COSINE))
        free = better[~blocked(where.points[better], corners, view)]
        best[free] = cosine[free]
    return best


@dataclass(frozen=True)
class DensityField:
    """A smooth random density in space, at most 1: the exponential of a sum of waves.

    wave_vectors : (W, 3), phases : (W,). strength : standard deviation of the logarithm.
    """

    wave_vectors: Floats
    phases: Floats
    strength: float

    def __call__(self, points: Floats) -> Floats:
        """Return the (N,) density at points (N, 3)."""
        total = np.zeros(len(points))
        for vector, phase in zip(self.wave_vectors, self.phases, strict=True):
            total += sin(dot(points, vector) + phase)
        # the variance of a sine is 1/2
        return np.asarray(
            exp(self.strength * np.sqrt(2 / len(self.phases)) * (total - len(self.phases)))
        )


def density_field(variation: float, rng: np.random.Generator) -> DensityField:
    """Draw a density whose standard deviation is about `variation` times its mean."""
    directions = normal(rng, (_WAVES, 3))
    directions /= norm(directions)[:, None]
    return DensityField(
        wave_vectors=directions * rng.uniform(*_WAVE_NUMBER, size=(_WAVES, 1)),
        phases=rng.uniform(0, 2 * np.pi, size=_WAVES),
        strength=float(np.sqrt(log(1 + variation * variation))),  # of a log-normal density
    )


@dataclass(frozen=True)
class Scanner:
    """The viewpoints and the density by which a scanner covers a surface.

    views : (K, 3) viewpoints, none for a scanner that covers all of the surface, also inside.
    density : an uneven density besides; None for an even one.
    """

    views: Floats
    density: DensityField | None = None

    @property
    def even(self) -> bool:
        """Whether all of a surface is covered alike."""
        return not len(self.views) and self.density is None

    def cosines(self, mesh: Mesh, where: SurfacePoints) -> Floats:
        """Return (N,) `incidence` at points of a mesh; 1 without viewpoints."""
        if not len(self.views):
            return np.ones(len(where.points))
        return incidence(mesh, where, self.views)

    def coverage(self, where: SurfacePoints, cosine: Floats) -> Floats:
        """Return (N,) relative density, at most 1: that of the field times the cosine (N,)."""
        return cosine if self.density is None else cosine * self.density(where.points)

    def sample(
        self, mesh: Mesh, count: int, rng: np.random.Generator
    ) -> tuple[SurfacePoints, Floats]:
        """Draw `count` points as densely as the scanner covers them; return their cosines too.

        By rejection, some at a time, so that memory does not grow with what is refused. Raises
        InputError when the scanner sees next to nothing of the mesh.
        """
        if self.even:
            return sample_surface(mesh, count, rng), np.ones(count)
        parts: list[SurfacePoints] = []
        cosines: list[Floats] = []
        missing, tries = count, 0
        while missing:
            tried = sample_surface(mesh, min(_ROUND, 8 * missing + 100), rng)
            cosine = self.cosines(mesh, tried)
            kept = rng.random(len(cosine)) < self.coverage(tried, cosine)
            chosen = np.flatnonzero(kept)[:missing]
            parts.append(tried.take(chosen))
            cosines.append(cosine[chosen])
            missing, tries = missing - len(chosen), tries + len(cosine)
            if count - missing < tries * _LEAST_YIELD:
                raise InputError(
                    f"a scan keeps {count - missing} of {tries} points of a surface, expected "
                    f"{_LEAST_YIELD:.1%} at least; ask for more viewpoints or a smaller variation"
                )
        return join(parts), np.concatenate(cosines)


def noise_factor(cosine: Floats | float, growth: float) -> Floats:
    """Return (N,) by how much noise is larger at angles of incidence: 1 where seen squarely.

    It grows with one over the cosine (N,), as the footprint of a ray does; `growth` says how much
    of that shows.
    """
    return np.asarray(1 + growth * (1 / cosine - 1))


def stray_points(count: int, rng: np.random.Generator) -> Floats:
    """Draw (count, 3) points evenly from the ball of radius `STRAY_RADIUS`."""
    directions = normal(rng, (count, 3))
    directions /= norm(directions)[:, None]
    # the largest of three uniform numbers is distributed as the radius in a ball
    return np.asarray(STRAY_RADIUS * rng.random((count, 3)).max(axis=1, keepdims=True) * directions)
