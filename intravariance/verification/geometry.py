# SPDX-License-Identifier: Apache-2.0
"""Checks that clouds lie where the labels, the displacement and the noise level say.

With the pose undone and the displacement taken off, every point must lie on its template's mesh
but for the noise: points labelled normal as they are, moved points after going back. Surface newly
exposed by a cut has no place on the template and is left out. The normals of points labelled normal
must be the template's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL
from intravariance.dataset.sample_checks import Expected, unposed
from intravariance.dataset.schema import Sample
from intravariance.geometry.mesh import Mesh
from intravariance.geometry.template_surface import (
    Fit,
    TemplateSurface,
    fit,
    mean_normal_cosine,
    sample_template,
    simulate,
)
from intravariance.verification.density import TemplateDensity

# Points of a sample that are looked up; a mean over these is as good as one over all.
_LOOKED_UP = 2_000
FEWEST_POINTS = 30
_TRAINING_CLOUDS = 8
_TRAINING_POINTS = 100_000  # of each; scans of millions would not fit
# The mean distance of points with noise depends on the region: on flat surface it is 0.80 sigma,
# at a sharp edge it is more, between two walls less.
_SAMPLE_EXCESS = 0.5  # of the simulated mean over the whole surface, for one sample
_POOLED_EXCESS = 0.2  # ... and for all samples with one defect, if there are this many:
_FEWEST_POOLED = 8
_ROOM = 0.002  # besides, in unit-sphere radii: the threshold below which displacement is no label
# Noise puts points nearest to surface that looks another way. On built files the mean cosine with
# the template's normals was 0.76 or more of the simulated one; normals left unturned give 0.
_COSINE_SHARE, _COSINE_ROOM = 0.5, 0.1
_SIGMA_EXCESS = 0.08
_SIGMA_ROOM = 0.0005


@dataclass(frozen=True)
class Deviation:
    """How far the points of one sample lie from its template.

    moved : points labelled anomalous, taken back by their displacement; else points labelled
    normal. count of points; distance : their mean distance; expected : the same simulated.
    sigma : the noise level at which the simulation gives `distance`.
    """

    id: str
    product: str
    defect: str
    moved: bool
    count: int
    distance: float
    expected: float
    sigma: float


@dataclass(frozen=True)
class _Product:
    """A template's surface, the noise of its samples, how densely points lie on it (None without
    probes), the mean distances (K,) simulated at noise levels (K,), and the mean cosine of the
    normals simulated at the level expected."""

    surface: TemplateSurface
    sigma: float
    density: TemplateDensity | None
    cosine: float
    sigmas: NDArray[np.float64]
    distances: NDArray[np.float64]


class CategoryGeometry:
    """Templates of one category, and its samples compared with them. Templates come first.

    probes : whether what only the probes look at is worked out too.
    """

    def __init__(self, expected: Expected, rng: np.random.Generator, probes: bool) -> None:
        self._probes = probes
        self.deviations: list[Deviation] = []
        self.normals_problems: list[str] = []
        self._expected = expected
        self._rng = rng
        self._products: dict[str, _Product] = {}
        self._training: list[NDArray[np.float64]] = []
        self._tree: Any = None

    def add_template(self, sample: Sample) -> None:
        """Learn the product from a training sample."""
        if len(self._training) < _TRAINING_CLOUDS:
            every = -(-len(sample.points) // _TRAINING_POINTS)
            self._training.append(unposed(sample.points[::every], sample.pose))
            self._tree = None
        if sample.mesh is not None and sample.subcategory not in self._products:
            sigma = self._expected.noise_of(f"{sample.category}/{sample.subcategory}")
            self._products[sample.subcategory] = self._product(sample.mesh, sigma)

    def training_tree(self) -> Any:
        """Return the k-d tree of the unposed training clouds; None when there are none."""
        from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

        if self._tree is None and self._training:
            self._tree = cKDTree(np.concatenate(self._training))
        return self._tree

    def density(self, sample: Sample) -> TemplateDensity | None:
        """Return how densely points lie on a sample's template; None without a template."""
        product = self._products.get(sample.subcategory)
        return None if product is None else product.density

    def compare(self, sample: Sample) -> Fit | None:
        """Compare a sample with its template: fills `deviations` and `normals_problems`, and
        returns how the points labelled normal lie on the template (None without a template,
        without such points, or without probes)."""
        product = self._products.get(sample.subcategory)
        if product is None:
            return None
        points = unposed(sample.points, sample.pose)
        normal = _some(np.flatnonzero(sample.labels == 0))
        known = (sample.labels == 1) & np.isfinite(sample.displacement).all(axis=1)
        moved = _some(np.flatnonzero(known))
        if len(moved) >= FEWEST_POINTS:
            back = sample.displacement[moved].astype(np.float64) @ sample.pose[:3, :3]
            offsets = product.surface.look_up(points[moved] - back)
            self._record(sample, product, offsets.distances, moved=True)
        if len(normal) < FEWEST_POINTS:
            return None
        offsets = product.surface.look_up(points[normal])
        self._record(sample, product, offsets.distances, moved=False)
        normals = sample.normals[normal].astype(np.float64) @ sample.pose[:3, :3]
        cosine = mean_normal_cosine(normals, offsets.normals)
        limit = _COSINE_SHARE * product.cosine - _COSINE_ROOM
        if cosine < limit:
            self.normals_problems.append(
                f"{sample.id}: the mean cosine of its normals with the template's is {cosine:.2f}, "
                f"expected above {limit:.2f}"
            )
        if not self._probes:
            return None
        return fit(product.surface, offsets, product.sigma, self._rng)

    def _product(self, mesh: Mesh, sigma: float) -> _Product:
        surface = sample_template(mesh, self._rng)
        sigmas = sigma * np.array([0.5, 0.8, 1.0, 1.25, 2.0])
        if sigma < 0.001:
            sigmas = sigma + np.array([0.0, 0.001, 0.002, 0.004, 0.008])
        distances, cosines = np.transpose(
            [simulate(mesh, surface, level, self._rng) for level in sigmas]
        )
        cosine = float(np.interp(sigma, sigmas, cosines))
        density = TemplateDensity(surface.points, sigma, self._rng) if self._probes else None
        return _Product(surface, sigma, density, cosine, sigmas, distances)

    def _record(
        self, sample: Sample, product: _Product, distances: NDArray[np.float64], moved: bool
    ) -> None:
        mean = float(distances.mean())
        self.deviations.append(
            Deviation(
                id=sample.id,
                product=f"{sample.category}/{sample.subcategory}",
                defect=sample.defect,
                moved=moved,
                count=len(distances),
                distance=mean,
                expected=float(np.interp(product.sigma, product.sigmas, product.distances)),
                sigma=float(np.interp(mean, product.distances, product.sigmas)),
            )
        )


def surface_problems(deviations: Iterable[Deviation], expected: Expected) -> list[str]:
    """List samples, and kinds of them, whose points lie farther off the template than the noise."""
    tolerance, growth = expected.specification.tolerance, expected.noise_growth
    problems = []
    pooled: dict[tuple[str, bool], list[Deviation]] = defaultdict(list)
    for item in deviations:
        pooled[item.defect, item.moved].append(item)
        limit = item.expected * (growth + _SAMPLE_EXCESS) + tolerance + _ROOM
        if item.distance > limit:
            problems.append(
                f"{item.id}: its {_kind(item.moved)} points lie {item.distance:.4f} from the "
                f"template on average, expected below {limit:.4f}"
            )
    for (defect, moved), items in sorted(pooled.items()):
        distance = float(np.mean([item.distance for item in items]))
        limit = float(np.mean([item.expected for item in items])) * (growth + _POOLED_EXCESS)
        limit += tolerance + _ROOM
        if len(items) >= _FEWEST_POOLED and distance > limit:
            problems.append(
                f"{defect}: the {_kind(moved)} points of its {len(items)} samples lie "
                f"{distance:.4f} from the templates on average, expected below {limit:.4f}"
            )
    return problems


def noise_estimates(deviations: Iterable[Deviation]) -> dict[str, float]:
    """Estimate the noise of each product: the mean over its normal samples, templates included."""
    estimates: dict[str, list[float]] = defaultdict(list)
    for item in deviations:
        if item.defect == NORMAL:
            estimates[item.product].append(item.sigma)
    return {product: float(np.mean(values)) for product, values in estimates.items()}


def noise_problems(estimates: dict[str, float], expected: Expected) -> list[str]:
    """List the products whose noise is not the recorded one, or grown from it as it may."""
    problems = []
    for product, estimate in estimates.items():
        sigma = expected.noise_of(product)
        room = _SIGMA_EXCESS * sigma + _SIGMA_ROOM + expected.specification.tolerance
        if not sigma - room <= estimate <= sigma * expected.noise_growth + room:
            problems.append(
                f"{product}: noise sigma {estimate:.4f}, recorded {sigma:.4f} (room {room:.4f})"
            )
    return problems


def _kind(moved: bool) -> str:
    return "moved" if moved else "normal"


def _some(indices: NDArray[Any]) -> NDArray[Any]:
    """Choose at most `_LOOKED_UP` of the indices, evenly."""
    if len(indices) <= _LOOKED_UP:
        return indices
    return np.asarray(indices[np.linspace(0, len(indices) - 1, _LOOKED_UP).astype(int)])
