# SPDX-License-Identifier: Apache-2.0
"""The pristine surface of a product, and the distances of points from it.

Distances are compared with distances that were simulated: points drawn on the same surface, moved
by the same noise, measured in the same way. So thin walls, edges and the finite density of the
sampled surface need no formulas: they act on both sides alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.geometry.mesh import Mesh, triangle_areas
from intravariance.geometry.sampling import sample_surface

# Dense enough that the spacing is below the default noise (0.0447) on every product; more would
# only make the nearest-neighbour queries slower.
_SURFACE_POINTS = 30_000
_SIMULATED_POINTS = 4_000  # their mean distance is exact to 1.2 %


@dataclass(frozen=True)
class TemplateSurface:
    """A mesh sampled densely, in its unit-sphere frame.

    points, normals : (S, 3) float64. reach : radius within which a point of the surface has a
    sampled neighbour, practically always. tree : k-d tree of `points`.
    """

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    reach: float
    tree: Any

    def look_up(self, points: NDArray[np.float64]) -> Offsets:
        """Find the nearest place of the surface for each of points (N, 3)."""
        distance, index = self.tree.query(points)
        origins, normals = self.points[index], self.normals[index]
        along = ((points - origins) * normals).sum(axis=1)
        return Offsets(origins, normals, along, np.maximum(np.abs(along), distance - self.reach))


@dataclass(frozen=True)
class Offsets:
    """How points lie off a surface.

    origins, normals : (N, 3), the nearest sampled points and their normals. along : (N,) signed
    distance from the plane there. distances : (N,) distance from the surface, which is |along|, or
    the distance from the sampled point less the surface's reach, whichever is more.
    """

    origins: NDArray[np.float64]
    normals: NDArray[np.float64]
    along: NDArray[np.float64]
    distances: NDArray[np.float64]


def sample_template(mesh: Mesh, rng: np.random.Generator) -> TemplateSurface:
    """Sample a mesh of the unit-sphere frame."""
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    where = sample_surface(mesh, _SURFACE_POINTS, rng)
    # Three in a million (exp(-4 pi)) of points spread at random have no other within this radius.
    reach = 2 * float(np.sqrt(triangle_areas(mesh).sum() / _SURFACE_POINTS))
    return TemplateSurface(where.points, where.normals, reach, cKDTree(where.points))


def simulate(
    mesh: Mesh, surface: TemplateSurface, sigma: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Simulate points of the mesh after Gaussian noise of `sigma`.

    Returns their mean distance from the surface, and the mean cosine between their normals and
    those of the surface there.
    """
    where = sample_surface(mesh, _SIMULATED_POINTS, rng)
    noisy = where.points + rng.normal(scale=sigma, size=where.points.shape)
    offsets = surface.look_up(noisy)
    return float(offsets.distances.mean()), mean_normal_cosine(where.normals, offsets.normals)


def mean_normal_cosine(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the mean cosine between unit vectors (N, 3)."""
    return float((first * second).sum(axis=1).mean())


@dataclass(frozen=True)
class Fit:
    """How a cloud lies on a surface, beyond what noise explains.

    shift : length of the translation in units of its own standard errors, so that clouds that fix
    it less well (with a part missing, say) do not seem to be off. scale : relative error.
    residual : standard deviation of what is left of the distances along the surface normals, less
    the same of simulated noise.
    """

    shift: float
    scale: float
    residual: float


def fit(surface: TemplateSurface, offsets: Offsets, sigma: float, rng: np.random.Generator) -> Fit:
    """Make one linear step of a point-to-plane fit of translation and scale.

    Noise moves points off a curved or thin surface by more to one side than to the other, which
    looks like a change of scale that differs from region to region. So the same fit is made to
    the surface points found, with simulated noise of `sigma`, and its outcome taken off.
    """
    simulated = surface.look_up(
        offsets.origins + rng.normal(scale=sigma, size=offsets.origins.shape)
    )
    solution, residual, covariance = _least_squares(offsets)
    noise_solution, noise_residual, _ = _least_squares(simulated)
    solution = solution - noise_solution
    precision = np.linalg.pinv(covariance[:3, :3], rcond=1e-6)
    squared = float(solution[:3] @ precision @ solution[:3])
    shift = max(squared, 0.0) ** 0.5 / max(residual, 1e-12)
    return Fit(shift, float(solution[3]), residual - noise_residual)


def _least_squares(
    offsets: Offsets,
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Solve for translation and scale (4,) by least squares.

    Returns the solution, the standard deviation of the residuals, and the covariance (4, 4) of the
    solution for residuals of 1.
    """
    lever = (offsets.origins * offsets.normals).sum(axis=1)
    design = np.column_stack([offsets.normals, lever])  # (N, 4)
    # The pseudo-inverse leaves out what the surface does not fix, as the scale of a flat sheet.
    covariance = np.linalg.pinv(design.T @ design, rcond=1e-6)
    solution = covariance @ (design.T @ offsets.along)
    return solution, float((offsets.along - design @ solution).std()), covariance
