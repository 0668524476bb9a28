# SPDX-License-Identifier: Apache-2.0
"""Metrics of anomaly detection on point clouds: pure functions of labels and scores.

Conventions. A label is 0 (normal) or 1 (anomalous), a score is higher the more anomalous; arrays of
one object after another, concatenated, give a pooled metric (the field's protocol: all points of
all objects of a category, normal objects included). A metric that is undefined is an InputError,
never a NaN. AUROC is `intravariance.auroc`'s. Nothing here needs scikit-learn, whose import takes
longer than most evaluations of a category; it is the referee of the tests.

AU-PRO. A region is a connected component of an object's anomalous points, two of them being
neighbours within `REGION_RADIUS`. At each threshold, the per-region overlap is the mean over all
regions of all objects of the share of a region's points that are found, and the false positive rate
is the share of all normal points that are found. The area under overlap against rate, from rate 0
to `AU_PRO_LIMIT`, is divided by that limit: 1 is perfect, a constant score gets half the limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annotations.vocabulary import DISPLACEMENT_THRESHOLD
from intravariance.auroc import auroc, validate
from intravariance.errors import InputError
from mc4ad_model.evaluation.regions import components_within

__all__ = [
    "AU_PRO_LIMIT",
    "LEVEL",
    "REGION_RADIUS",
    "RESAMPLES",
    "anomalous_regions",
    "au_pro",
    "auroc",
    "auroc_interval",
    "average_precision",
    "displaced",
    "end_point_error",
    "mean_cosine",
    "mean_rank",
    "validate",
    "won_pairs",
]

# Radii of the unit-sphere frame. With 7,000 to 12,000 points and the default noise (0.0447), the
# 210 defects of a Group 2 (seed 101, one defect in each object) fall into 1496 components at 0.08,
# 467 at 0.1, of which 248 are single stray points, 258 at 0.12, and 215 at 0.15, of which 4 are; a
# stray point would count as much as a defect. Sparser clouds need a larger radius.
REGION_RADIUS = 0.15
AU_PRO_LIMIT = 0.3  # as for images (MVTec AD)
RESAMPLES = 2000
LEVEL = 0.95


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Compute the average precision, which the field calls AUPR (the paper misnames it AU-PRO).

    Raises
    ------
    InputError
        As `validate`.
    """
    truth, values = validate(labels, scores)
    hits, false = _found(truth, values, np.ones(len(values)))
    added = np.diff(hits / hits[-1], prepend=0)  # to the recall
    return float((added * hits / (hits + false)).sum())


def _found(
    truth: NDArray[np.bool_], values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what is found at each threshold, which are the T distinct scores, highest first.

    Parameters
    ----------
    truth, values, weights : (M,), weights of the anomalous ones

    Returns
    -------
    hits, false : (T,) float64
        The weight of the anomalous that are found, and the count of the normal.
    """
    order = np.argsort(-values, kind="stable")
    last = np.append(np.diff(values[order]) != 0, True)  # of equal scores
    found = truth[order]
    return np.cumsum(found * weights[order])[last], np.cumsum(~found, dtype=np.float64)[last]


def anomalous_regions(
    points: ArrayLike, labels: ArrayLike, radius: float = REGION_RADIUS
) -> NDArray[np.int64]:
    """Find the regions of one object.

    Parameters
    ----------
    points : (N, 3), stored frame
    labels : (N,), 0 or 1
    radius
        Largest distance of two neighbours, in the unit of the points.

    Returns
    -------
    regions : (N,) int64
        0 for a normal point, else the number of its region, from 1.
    """
    truth = np.asarray(labels) != 0
    regions = np.zeros(len(truth), dtype=np.int64)
    regions[truth] = 1 + components_within(np.asarray(points)[truth], radius)
    return regions


def au_pro(regions: ArrayLike, scores: ArrayLike, limit: float = AU_PRO_LIMIT) -> float:
    """Compute the area under the per-region overlap up to a false positive rate, over that rate.

    Without equal scores this is MVTec's own evaluation to within half a step of the rate. Equal
    scores are joined by a line here and by a staircase there: a constant score has limit / 2 here,
    and about 0 there.

    Parameters
    ----------
    regions : (M,), 0 for a normal point, else a number that no other region of any object has
    scores : (M,), finite
    limit
        Largest false positive rate, in (0, 1]; between thresholds the curve is linear.

    Raises
    ------
    InputError
        As `validate`.
    """
    numbers = np.asarray(regions)
    truth, values = validate(numbers > 0, scores)
    _, region, sizes = np.unique(numbers[truth], return_inverse=True, return_counts=True)
    # weighted by 1 / size, the true positive rate is the mean over regions of the share found
    weights = np.ones(len(values))
    weights[truth] = 1 / sizes[region]
    hits, false = _found(truth, values, weights)
    rate, overlap = np.append(0, false / false[-1]), np.append(0, hits / hits[-1])
    inside = rate <= limit
    x = np.append(rate[inside], limit)
    y = np.append(overlap[inside], np.interp(limit, rate, overlap))
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() / limit)


def won_pairs(
    labels: Sequence[NDArray[Any]], scores: Sequence[NDArray[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Count, for each pair of objects (i, j), how often a point of one beats one of the other.

    Parameters
    ----------
    labels, scores : O arrays, those of an object's points

    Returns
    -------
    won : (O, O) float64
        Pairs of an anomalous point of i and a normal point of j in which the anomalous one scores
        higher, a tie counting one half: exact, whole numbers and halves.
    anomalous, normal : (O,) int64
        Numbers of points.
    """
    truths = [np.asarray(truth).astype(bool) for truth in labels]
    anomalous = np.array([truth.sum() for truth in truths])
    normal = np.array([(~truth).sum() for truth in truths])
    values = np.concatenate([score[truth] for truth, score in zip(truths, scores, strict=True)])
    owners = np.repeat(np.arange(len(truths)), anomalous)
    order = np.argsort(values, kind="stable")  # look-ups in ascending order are faster
    values, owners = values[order], owners[order]
    won = np.zeros((len(truths), len(truths)))
    for j, (truth, score) in enumerate(zip(truths, scores, strict=True)):
        opponents = np.sort(score[~truth])
        below = np.searchsorted(opponents, values, side="left")
        not_above = np.searchsorted(opponents, values, side="right")
        won[:, j] = np.bincount(owners, (below + not_above) / 2, minlength=len(truths))
    return won, anomalous, normal


def auroc_interval(
    labels: Sequence[NDArray[Any]],
    scores: Sequence[NDArray[Any]],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Draw the bootstrap interval of the pooled AUROC: objects are redrawn with all their points.

    Objects with and without anomalous points are redrawn apart, with replacement; the interval is
    between percentiles. For an AUROC of objects, each has one label and one score.

    Parameters
    ----------
    labels, scores : O arrays, those of an object's points
    rng
        Source of the redraws.
    resamples
        Number of redraws.
    level
        Share of the redraws that the interval holds.

    Raises
    ------
    InputError
        As `validate`, on all points together.
    """
    validate(np.concatenate(labels), np.concatenate(scores))
    won, anomalous, normal = won_pairs(labels, scores)
    times = np.zeros((resamples, len(labels)))  # how often each object was drawn
    for stratum in (anomalous > 0, anomalous == 0):
        if count := int(stratum.sum()):
            times[:, stratum] = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    total = (times @ anomalous) * (times @ normal)
    values = ((times @ won) * times).sum(axis=1)[total > 0] / total[total > 0]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def displaced(labels: ArrayLike, displacement: ArrayLike) -> NDArray[np.bool_]:
    """Tell which anomalous points have a true force: moved by the defect, and known by how much.

    Those that a cut exposed have none, and those at its rim, which are labelled, did not move.

    Parameters
    ----------
    labels : (N,), 0 or 1
    displacement : (N, 3), NaN where unknown

    Returns
    -------
    (N,) bool
    """
    length = np.linalg.norm(np.asarray(displacement, dtype=np.float64), axis=1)
    moved = length > DISPLACEMENT_THRESHOLD  # NaN is not above it
    return np.asarray(moved & (np.asarray(labels) == 1), dtype=np.bool_)


def end_point_error(force: ArrayLike, displacement: ArrayLike) -> float:
    """Compute the mean length of the difference, in the unit of both.

    Parameters
    ----------
    force, displacement : (M, 3), finite, in one frame

    Raises
    ------
    InputError
        There is no point, shapes differ, or a number is not finite.
    """
    found, true = _vectors(force, displacement)
    return float(np.linalg.norm(found - true, axis=1).mean())


def mean_cosine(force: ArrayLike, displacement: ArrayLike) -> float:
    """Compute the mean cosine of the angle between the two; 0 where the force is zero.

    Parameters
    ----------
    force, displacement : (M, 3), finite, in one frame; no displacement is zero

    Raises
    ------
    InputError
        There is no point, shapes differ, a number is not finite, or a displacement is zero.
    """
    found, true = _vectors(force, displacement)
    lengths, true_lengths = (np.linalg.norm(vectors, axis=1) for vectors in (found, true))
    if not true_lengths.all():
        raise InputError("displacement: expected none of length zero; it has no direction")
    products = (found * true).sum(axis=1) / true_lengths
    return float(np.divide(products, lengths, np.zeros_like(lengths), where=lengths > 0).mean())


def mean_rank(table: ArrayLike) -> NDArray[np.float64]:
    """Compute the mean over categories of each method's rank, 1 being best; equals share theirs.

    Parameters
    ----------
    table : (methods, categories), finite, higher is better

    Returns
    -------
    (methods,) float64

    Raises
    ------
    InputError
        The table is empty or has a gap.
    """
    from scipy.stats import rankdata  # noqa: PLC0415 - weight

    values = np.asarray(table, dtype=np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise InputError(
            f"mean rank: expected a value for each method and category, found {values.shape} "
            f"with {int((~np.isfinite(values)).sum())} missing"
        )
    return np.asarray(rankdata(-values, axis=0, method="average").mean(axis=1), dtype=np.float64)


def _vectors(
    force: ArrayLike, displacement: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found, true = (np.asarray(values, dtype=np.float64) for values in (force, displacement))
    if found.ndim != 2 or found.shape[1] != 3 or found.shape != true.shape or not len(found):
        raise InputError(
            f"expected as many forces as displacements, (M, 3), at least one; found "
            f"{found.shape} and {true.shape}"
        )
    if not (np.isfinite(found).all() and np.isfinite(true).all()):
        raise InputError("forces and displacements: expected finite numbers only")
    return found, true
