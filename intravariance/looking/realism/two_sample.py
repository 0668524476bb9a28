# SPDX-License-Identifier: Apache-2.0
"""Two-sample test: whether local shape alone tells pseudo-defects from real ones.

It is a classifier two-sample test (Lopez-Paz and Oquab 2017). Local shape is described by fast
point feature histograms (FPFH, Rusu et al. 2009) at labelled points. A logistic regression learns
to tell the two sides apart and is asked about objects it has not seen. Its AUROC is the answer: 1
is "always told apart", 0.5 is "cannot be told apart". Below 0.5 is chance: nothing was learnt.

The test is of defects and of nothing else, because of these rules:

* Whole objects are held out, and every object weighs the same, however many points it has.
* A pseudo-defect and the real one that it is the counterpart of are held out together. Otherwise
  the training set lacks a real object of just this product, and has its pseudo-defect: held-out
  real objects would look like pseudo-defects, and the AUROC would fall below 0.5.
* Only objects of the same category are compared, and in training both sides weigh the same in
  every category. So it does not matter which products have which defects.
* Normals are estimated from the noisy points on both sides alike; the stored ones, which know the
  noise-free surface, only say which way is out.
* The same is done at unlabelled points that are too far from the defect for a descriptor to see
  it. This control has to come out near 0.5. If it does not, the two sides differ in sampling,
  in noise or in where on the product the defects are, and the test is of that as well.

The objects of both sides have to be made independently. Two that are twins, as of two generators
that were given the same seed, are mistaken for each other, and the AUROC falls far below 0.5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from intravariance.errors import BackendUnavailable
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.realism.classifier import classified
from intravariance.looking.realism.distances import BOOTSTRAP_RESAMPLES, FEWEST_OBJECTS

Floats = NDArray[np.float64]
Part = Literal["defect", "control"]

# Three times the default noise, and the usual spacing of 100 to 300 neighbours.
DESCRIPTOR_RADIUS = 0.15

_NORMAL_SHARE = 2 / 3  # of the descriptor's radius, for normals: they have to be finer
_SEEN = 2 + _NORMAL_SHARE  # radii: neighbours of a query have neighbours, which have normals
_DIMENSIONS = 33  # of an FPFH: three angles, 11 bins each
_LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Descriptors:
    """FPFH of one object.

    Parameters
    ----------
    name, category
        Those of the cloud.
    group
        Objects of one group are held out together; a cloud's own name where it has no counterpart.
    defect
        (M, 33) float32 at labelled points; each of the three histograms sums to 200, or all are
        0 at a point without neighbours.
    control
        (C, 33) float32 at unlabelled points that cannot see a labelled one; C is 0 where the
        defect is too large.
    radius
        Radius of the descriptors.
    """

    name: str
    category: str
    defect: NDArray[np.float32]
    control: NDArray[np.float32]
    radius: float
    group: str


def describe_shape(
    cloud: LabelledCloud,
    rng: np.random.Generator,
    radius: float = DESCRIPTOR_RADIUS,
    limit: int = 64,
    group: str = "",
) -> Descriptors:
    """Describe the local shape at up to `limit` labelled points, and as many far from the defect.

    The points far from the defect lie together, as those of a defect do: they are drawn from as
    many neighbours of a random far point as there are labelled points. An FPFH looks at points
    within twice `radius`, whose normals are made from points within 2/3 of it; farther than that
    from every labelled point is far. group : see `Descriptors`; "" for the cloud's own name.
    """
    points = cloud.points.astype(np.float64)
    labelled = np.flatnonzero(cloud.labels > 0)
    chosen = [
        np.sort(rng.choice(candidates, min(limit, len(candidates)), replace=False))
        for candidates in (labelled, _far_patch(points, labelled, radius, rng))
    ]
    found = fpfh(points, cloud.normals.astype(np.float64), np.concatenate(chosen), radius)
    return Descriptors(
        name=cloud.name,
        category=cloud.category,
        defect=found[: len(chosen[0])],
        control=found[len(chosen[0]) :],
        radius=radius,
        group=group or cloud.name,
    )


def _far_patch(
    points: Floats, labelled: NDArray[np.intp], radius: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Choose neighbouring points that cannot see a labelled one; fewer where few are left."""
    gap = np.full(len(points), np.inf)
    if len(labelled):
        blind = _SEEN * radius
        gap, _ = cKDTree(points[labelled]).query(points, distance_upper_bound=blind)
    far = np.flatnonzero(np.isinf(gap))
    if len(far) == 0:
        return far
    distance = np.linalg.norm(points[far] - points[rng.choice(far)], axis=1)
    nearest = np.argsort(distance, kind="stable")[: max(len(labelled), 1)]
    return np.asarray(far[nearest])


def load_open3d() -> Any:
    """Import Open3D and return the module.

    Raises
    ------
    BackendUnavailable
        A system library that it needs is missing.
    """
    try:
        import open3d  # noqa: PLC0415 - weight
    except OSError as error:
        raise BackendUnavailable(
            f"Open3D cannot be loaded ({error}). On Debian and Ubuntu: apt-get install "
            "libusb-1.0-0 libgl1 libgomp1"
        ) from error
    return open3d


def fpfh(
    points: Floats, normals: Floats, queries: NDArray[np.intp], radius: float
) -> NDArray[np.float32]:
    """Compute (Q, 33) float32 FPFH at some points (Q, indices) of a cloud.

    points : (N, 3). normals : (N, 3) outward; they only orient those estimated from the points.
    Points that no query can see are left out, which changes nothing.
    """
    if len(queries) == 0:
        return np.zeros((0, _DIMENSIONS), dtype=np.float32)
    gap, _ = cKDTree(points[queries]).query(points, distance_upper_bound=1.001 * _SEEN * radius)
    near = np.flatnonzero(np.isfinite(gap))
    points, normals, queries = points[near], normals[near], np.searchsorted(near, queries)
    open3d = load_open3d()
    geometry, registration = open3d.geometry, open3d.pipelines.registration
    cloud = geometry.PointCloud(open3d.utility.Vector3dVector(points))
    cloud.estimate_normals(geometry.KDTreeSearchParamRadius(_NORMAL_SHARE * radius))
    estimated = np.asarray(cloud.normals)
    inward = (estimated * normals).sum(axis=1, keepdims=True) < 0
    cloud.normals = open3d.utility.Vector3dVector(np.where(inward, -estimated, estimated))
    order = np.argsort(queries, kind="stable")  # Open3D answers in increasing order
    feature = registration.compute_fpfh_feature(
        cloud, geometry.KDTreeSearchParamRadius(radius), queries[order].tolist()
    )
    found = np.zeros((len(queries), _DIMENSIONS), dtype=np.float32)
    found[order] = np.asarray(feature.data).T
    return found


@dataclass(frozen=True)
class TwoSample:
    """Outcome of a two-sample test.

    Parameters
    ----------
    auroc
        Mean, over pairs of a pseudo and a real object of the same category that were held out
        together, of the chance that a point of the pseudo object is the more suspicious one.
    low, high
        95 % percentile interval of the bootstrap over objects, the classifiers as they are.
    radius
        Radius of the descriptors.
    n_real, n_pseudo
        Objects that took part: with descriptors, of categories that both sides have.
    """

    auroc: float
    low: float
    high: float
    radius: float
    n_real: int
    n_pseudo: int


def two_sample_test(
    real: Sequence[Descriptors],
    pseudo: Sequence[Descriptors],
    rng: np.random.Generator,
    folds: int = 5,
    part: Part = "defect",
    repeats: int = 3,
    resamples: int = BOOTSTRAP_RESAMPLES,
) -> TwoSample | None:
    """Tell pseudo-defects from real ones.

    Parameters
    ----------
    part
        "control" compares the descriptors far from the defects.
    folds
        Folds of the cross-validation; fewer where a side has fewer objects.
    repeats
        Cross-validations, each with folds of its own, that are averaged.

    Returns
    -------
    None when a side has fewer than `FEWEST_OBJECTS` objects, or no category has both.

    Raises
    ------
    ValueError
        The descriptors were made with different radii.
    """
    if len({item.radius for item in (*real, *pseudo)}) > 1:
        raise ValueError("descriptors of different radii cannot be compared")
    sides = _comparable(real, pseudo, part)
    n_real, n_pseudo = (sum(item.side == side for item in sides) for side in (0, 1))
    if min(n_real, n_pseudo) < FEWEST_OBJECTS:
        return None
    rows = np.concatenate([item.rows for item in sides]).astype(np.float64)
    wins, pairs = np.zeros((2, n_pseudo, n_real))
    for _ in range(repeats):
        fold = _deal(sides, min(folds, n_real, n_pseudo), rng)
        for number in range(int(fold.max()) + 1):
            _play(sides, rows, fold == number, wins, pairs)
    if pairs.sum() == 0:
        return None
    low, high = _interval(wins, pairs, rng, resamples)
    area = float(wins.sum() / pairs.sum())
    return TwoSample(area, low, high, real[0].radius, n_real, n_pseudo)


def _interval(
    wins: Floats, pairs: Floats, rng: np.random.Generator, resamples: int
) -> tuple[float, float]:
    """Bootstrap the share of wins over objects: tables (n_pseudo, n_real) of wins and pairs."""
    counts = [
        rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)
        for count in wins.shape
    ]
    won, met = (((counts[0] @ table) * counts[1]).sum(axis=1) for table in (wins, pairs))
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(won[met > 0] / met[met > 0], (tail, 1 - tail)).tolist()
    return low, high


@dataclass(frozen=True, eq=False)
class _Object:
    """One object of a side: 0 real, 1 pseudo. number : on its side. rows : (M, 33) descriptors."""

    side: int
    number: int
    category: str
    group: str
    rows: NDArray[np.float32]


def _comparable(
    real: Sequence[Descriptors], pseudo: Sequence[Descriptors], part: Part
) -> list[_Object]:
    """List the objects that have descriptors and a counterpart: real ones first, by name."""
    groups = [
        sorted((item for item in side if len(getattr(item, part))), key=lambda item: item.name)
        for side in (real, pseudo)
    ]
    both = set.intersection(*({item.category for item in side} for side in groups))
    return [
        _Object(side, number, item.category, item.group, getattr(item, part))
        for side, group in enumerate(groups)
        for number, item in enumerate(item for item in group if item.category in both)
    ]


def _deal(objects: list[_Object], folds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Deal (objects,) into folds: groups of one category that have the same sides in turn."""
    groups: dict[tuple[str, str], list[int]] = {}
    for number, item in enumerate(objects):
        groups.setdefault((item.category, item.group), []).append(number)
    strata: dict[tuple[str, tuple[int, ...]], list[list[int]]] = {}
    for (category, _), members in sorted(groups.items()):
        sides = tuple(sorted({objects[number].side for number in members}))
        strata.setdefault((category, sides), []).append(members)
    fold = np.zeros(len(objects), dtype=np.intp)
    for _, dealt in sorted(strata.items()):
        first = rng.integers(folds)
        for place, chosen in enumerate(rng.permutation(len(dealt))):
            fold[dealt[chosen]] = (first + place) % folds
    return fold


def _play(
    objects: list[_Object],
    rows: Floats,
    held_out: NDArray[np.bool_],
    wins: Floats,
    pairs: Floats,
) -> None:
    """Train on the others, and add the held-out pairs to the tables (pseudo, real).

    rows : (M, 33) of all objects, one after the other. held_out : (objects,).
    """
    weights = np.zeros(len(objects))
    train = np.flatnonzero(~held_out)
    weights[train] = _weights([objects[number] for number in train])
    if {item.side for item, weight in zip(objects, weights, strict=True) if weight > 0} != {0, 1}:
        return
    sizes = np.array([len(item.rows) for item in objects])
    sides = np.repeat([item.side for item in objects], sizes)
    scores = np.split(classified(rows, sides, np.repeat(weights / sizes, sizes)), sizes.cumsum())
    test = np.flatnonzero(held_out)
    for category in {objects[number].category for number in test}:
        reals, pseudos = (
            [n for n in test if (objects[n].category, objects[n].side) == (category, side)]
            for side in (0, 1)
        )
        if reals and pseudos:
            cell = np.ix_(*([objects[n].number for n in some] for some in (pseudos, reals)))
            wins[cell] += _chances(*([scores[n] for n in some] for some in (pseudos, reals)))
            pairs[cell] += 1


def _weights(objects: list[_Object]) -> list[float]:
    """Weigh objects so that both sides weigh the same in every category.

    A category weighs as much as it has real objects, and 0 where one side is missing.
    """
    count = Counter((item.side, item.category) for item in objects)
    return [
        (count[0, item.category] / count[1, item.category] if item.side else 1.0)
        if count[0, item.category] and count[1, item.category]
        else 0.0
        for item in objects
    ]


def _chances(higher: list[Floats], lower: list[Floats]) -> Floats:
    """Return (H, L) chances that a score of one object exceeds one of the other; ties half."""
    first, second = np.concatenate(higher), np.concatenate(lower)
    signs = np.sign(first[:, None] - second[None, :])
    for axis, groups in enumerate((higher, lower)):
        sizes = np.array([len(group) for group in groups])
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        sums = np.add.reduceat(signs, starts, axis=axis)
        signs = sums / (sizes[:, None] if axis == 0 else sizes)
    return np.asarray((signs + 1) / 2)
