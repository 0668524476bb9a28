# SPDX-License-Identifier: Apache-2.0
"""From a mesh and its ground truth to labelled points, as the specification's scanner sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intravariance.building.blender import Defective
from intravariance.dataset.scan import ALL_SIDES, Scan
from intravariance.geometry.mesh import Mesh, triangle_areas
from intravariance.geometry.sampling import (
    SurfacePoints,
    interpolate,
    label_points,
    sample_surface,
)
from intravariance.geometry.scanning import (
    Scanner,
    density_field,
    incidence,
    noise_factor,
    stray_points,
    viewpoints,
)
from intravariance.seeds import generator

Floats = NDArray[np.float64]

# Viewpoints that see less than this of a product, as of a door from its edge, are drawn again. That
# looks at the pristine product alone, so it tells nothing of a defect.
_LEAST_OF_PRODUCT = 0.15
_TRIES = 50
_TRIED_POINTS = 2_000
# A defect is shown when this much of its labelled surface is seen, and so many of its points are in
# the cloud; and a cloud that is nearly all defect shows no product any more.
_LEAST_OF_DEFECT = 0.2
_FEWEST_LABELLED = 10
_MOST_LABELLED = 0.9
# Points by which the area that a scanner covers is measured: to 1 %.
_MEASURED_POINTS = 10_000


@dataclass(frozen=True)
class Scanned:
    """Points of a surface in its unit-sphere frame, before noise.

    points, normals, displacement : (N, 3) float64, labels : (N,) uint8, as in `Sample`.
    noise_factor : (N, 1) float64, by which the noise of each point is larger than usual.
    """

    points: Floats
    normals: Floats
    labels: NDArray[np.uint8]
    displacement: Floats
    noise_factor: Floats


@dataclass(frozen=True)
class Glance:
    """A scanner's coverage of a whole surface.

    area : covered, weighted by how densely. shown : share of the labelled surface that is seen.
    """

    area: float
    shown: float


def draw_scanner(product: Mesh, scan: Scan, seed: int, identity: str, attempt: int) -> Scanner:
    """Draw the scanner of a sample; its viewpoints see a fair part of the pristine product."""
    density = None
    if scan.density_variation:
        density = density_field(scan.density_variation, generator(seed, identity, "density"))
    if not scan.views:
        return Scanner(np.zeros((0, 3)), density)
    rng = generator(seed, identity, "viewpoints", str(attempt))
    where = sample_surface(product, _TRIED_POINTS, rng)
    best, most = np.zeros((0, 3)), -1.0
    for _ in range(_TRIES):
        views = viewpoints(scan.views, rng)
        seen = float((incidence(product, where, views) > 0).mean())
        if seen > most:
            best, most = views, seen
        if most >= _LEAST_OF_PRODUCT:
            break
    return Scanner(best, density)


def glance(defective: Defective, scanner: Scanner, rng: np.random.Generator) -> Glance:
    """Measure what a scanner covers."""
    area = float(triangle_areas(defective.mesh).sum())
    if scanner.even:
        return Glance(area, 1.0)
    where = sample_surface(defective.mesh, _MEASURED_POINTS, rng)
    cosine = scanner.cosines(defective.mesh, where)
    labels, _ = _truth(defective, where)
    shown = float((cosine[labels == 1] > 0).mean()) if labels.any() else 0.0
    return Glance(area * float(scanner.coverage(where, cosine).mean()), shown)


def scan_surface(
    defective: Defective, count: int, scan: Scan, scanner: Scanner, seed: int, identity: str
) -> Scanned:
    """Scan a mesh: `count` points.

    Each purpose has a generator of its own, so that one option does not change what another draws.
    """

    def rng(purpose: str) -> np.random.Generator:
        return generator(seed, identity, purpose)

    where, cosine = scanner.sample(defective.mesh, count, rng("surface"))
    labels, displacement = _truth(defective, where)
    factor = noise_factor(cosine, scan.incidence_noise)[:, None]
    points, normals = where.points, where.normals
    if stray := round(scan.outliers * count):
        chosen = rng("outliers").choice(count, stray, replace=False)
        points[chosen] = stray_points(stray, rng("stray points"))
        normals[chosen], labels[chosen], displacement[chosen], factor[chosen] = 0, 0, 0, 1
    return Scanned(points, normals, labels, displacement, factor)


def shows_defect(seen: Glance, scanned: Scanned, scan: Scan) -> bool:
    """Tell whether a defect is in a cloud; of a scan from viewpoints, enough of it and the rest."""
    if scan == ALL_SIDES:
        return bool(scanned.labels.any())
    return (
        seen.shown >= _LEAST_OF_DEFECT
        and int(scanned.labels.sum()) >= _FEWEST_LABELLED
        and float(scanned.labels.mean()) <= _MOST_LABELLED
    )


def _truth(defective: Defective, where: SurfacePoints) -> tuple[NDArray[np.uint8], Floats]:
    """Return labels (N,) and displacement (N, 3) of points on the defective mesh."""
    displacement = interpolate(defective.displacement, defective.mesh, where)
    newly_exposed = defective.cut[where.face]
    labels = label_points(where.points, displacement, newly_exposed, defective.rim)
    displacement[labels == 0] = 0
    displacement[newly_exposed] = np.nan
    return labels, displacement
