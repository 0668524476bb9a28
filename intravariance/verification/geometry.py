# SPDX-License-Identifier: Apache-2.0
"""Checks that clouds lie where the labels, the displacement and the noise level say.

With the pose undone and the displacement taken off, every point must lie on its template's mesh
but for the noise: points labelled normal as they are, moved points after going back. Surface newly
exposed by a cut has no place on the template and is left out. The normals of points labelled normal
must be the template's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
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


class ProductGeometry:
    """The template of one product, and samples compared with it.

    template : a training sample with the product's mesh, None where there is none. training :
    clouds (N, 3) of the category with their poses undone, to which probes measure distances. rng :
    for what is drawn of the template alone. probes : whether what only the probes look at is worked
    out too.
    """

    def __init__(
        self,
        template: Sample | None,
        training: Sequence[NDArray[np.float64]],
        expected: Expected,
        rng: np.random.Generator,
        probes: bool,
    ) -> None:
        self._probes = probes
        self.deviations: list[Deviation] = []
        self.normals_problems: list[str] = []
        self._expected = expected
        self._product: _Product | None = None
        if template is not None and template.mesh is not None:
            sigma = expected.noise_of(f"{template.category}/{template.subcategory}")
            self._product = _learnt(template.mesh, sigma, rng, probes)
        self.training_tree = _tree(training) if probes and training else None

    @property
    def density(self) -> TemplateDensity | None:
        """How densely points lie on the template; None without one."""
        return None if self._product is None else self._product.density

    def compare(self, sample: Sample, rng: np.random.Generator) -> Fit | None:
        """Compare a sample with the template: fills `deviations` and `normals_problems`, and
        returns how the points labelled normal lie on the template (None without a template,
        without such points, or without probes)."""
        product = self._product
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
        return fit(product.surface, offsets, product.sigma, rng)

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


def _learnt(mesh: Mesh, sigma: float, rng: np.random.Generator, probes: bool) -> _Product:
    """Learn a template's surface, and simulate points with noise on it."""
    surface = sample_template(mesh, rng)
    sigmas = sigma * np.array([0.5, 0.8, 1.0, 1.25, 2.0])
    if sigma < 0.001:
        sigmas = sigma + np.array([0.0, 0.001, 0.002, 0.004, 0.008])
    distances, cosines = np.transpose([simulate(mesh, surface, level, rng) for level in sigmas])
    cosine = float(np.interp(sigma, sigmas, cosines))
    density = TemplateDensity(surface.points, sigma, rng) if probes else None
    return _Product(surface, sigma, density, cosine, sigmas, distances)


def _tree(training: Sequence[NDArray[np.float64]]) -> Any:
    """Make the k-d tree of training clouds."""
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    return cKDTree(np.concatenate(training))


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
