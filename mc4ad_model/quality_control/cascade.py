# SPDX-License-Identifier: Apache-2.0
"""Hierarchical quality control (HQC): a fast scorer V_P accepts what is surely normal, a thorough
one V_O judges the rest (paper Section 4.4, Eq. 11). Any two detectors will do.

Which objects are accepted. Paper: of a batch of N, the floor(b N) with the lowest score of V_P
(`accept_lowest`; equal scores in the order they come in). That takes a batch, and accepts b of it
also when everything is defective. For one object after another: those not above a threshold from
V_P's scores of normal products (`evaluation.alarms.alarm_threshold`), which are simulated from the
templates (`evaluation.normal_products`), never taken from test data. It accepts a share b of normal
products at least, in the mean over calibrations.

The paper does not say how to join the scores of the two stages; this is our choice. Objects:
accepted ones are ranked below all others, in V_P's order; the others in V_O's. Points: an accepted
object has V_P's map, another V_O's. The two networks' point scores are not on one scale, so V_P's
are brought to V_O's by matching their quantiles on points that both have scored: those of the
objects that were not accepted, or with a threshold those of the normal products. No label is used.

`mc4ad_model.quality_control.gain` says what it is worth, in AUROC and in time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intravariance.errors import InputError
from intravariance.progress import track
from mc4ad_model.evaluation.evaluate import CategoryEvaluation, checked_prediction
from mc4ad_model.evaluation.scoring import predicted_object_score
from mc4ad_model.methods.method import Scorer

# Enough to follow the shape of a distribution; a category has some 10^5 points.
_QUANTILES = 1001

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Scores:
    """A scorer's scores of B objects, higher being more anomalous.

    objects : (B,) float64; points : (N_b,) for each object; seconds : (B,) that it took.
    """

    objects: NDArray[np.float64]
    points: tuple[Floats, ...]
    seconds: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.objects)

    def chosen(self, which: NDArray[np.bool_]) -> Scores:
        """Those of some objects, (B,) true for them."""
        points = tuple(p for p, keep in zip(self.points, which, strict=True) if keep)
        return Scores(self.objects[which], points, self.seconds[which])


@dataclass(frozen=True, eq=False)
class Reference:
    """Point scores of both scorers at the same points, (M,) each, to bring them to one scale."""

    first: Floats
    second: Floats

    @classmethod
    def of(cls, first: Scores, second: Scores) -> Reference:
        """From the same objects, at least one."""
        return cls(np.concatenate(first.points), np.concatenate(second.points))

    @cached_property
    def quantiles(self) -> tuple[Floats, Floats]:
        """Both scorers' quantiles at the same levels; the first's are strictly increasing."""
        levels = np.linspace(0, 1, _QUANTILES)
        first, index = np.unique(np.quantile(self.first, levels), return_index=True)
        return first, np.quantile(self.second, levels)[index]


def score_objects(
    clouds: Iterable[NDArray[np.float32]],
    total: int,
    scorer: Scorer,
    label: str = "score",
    quiet: bool = True,
) -> Scores:
    """Score one object after another, timing each; the first is scored once before, untimed.

    Parameters
    ----------
    clouds : (N_b, 3) float32 each, stored frame
    total
        How many there are.
    label, quiet
        Name of the progress on stderr, and whether there is none.

    Raises
    ------
    InputError
        There is no object, or scores are of another shape or not finite.
    """
    objects: list[float] = []
    points: list[Floats] = []
    seconds: list[float] = []
    for cloud in track(clouds, total, label, quiet):
        if not objects:
            scorer.score(cloud)
        start = time.perf_counter()
        prediction = scorer.score(cloud)
        prediction = checked_prediction(prediction, len(cloud), f"object {len(objects)}")
        objects.append(predicted_object_score(prediction, scorer.aggregation))
        seconds.append(time.perf_counter() - start)
        points.append(prediction.points)
    if not objects:
        raise InputError("quality control: expected at least one object to score")
    return Scores(np.array(objects), tuple(points), np.array(seconds))


def scores_of(evaluation: CategoryEvaluation) -> Scores:
    """From an evaluation, in the order of its rows."""
    rows = evaluation.rows
    return Scores(
        np.array([row.object_score for row in rows]),
        tuple(evaluation.point_scores[row.id] for row in rows),
        np.array([row.seconds for row in rows]),
    )


def accept_lowest(objects: ArrayLike, share: float) -> NDArray[np.bool_]:
    """(B,) true for the floor(share * B) objects with the lowest scores (Eq. 11).

    Parameters
    ----------
    objects : (B,) V_P's scores; equal ones are taken in their order
    share
        b, from 0 to 1.
    """
    scores = np.asarray(objects, dtype=np.float64)
    accepted = np.zeros(len(scores), dtype=bool)
    accepted[np.argsort(scores, kind="stable")[: _count(len(scores), share)]] = True
    return accepted


def cascade(
    first: Scores, accepted: NDArray[np.bool_], second: Scores, reference: Reference | None = None
) -> Scores:
    """Return what both stages say of B objects together.

    Parameters
    ----------
    first
        V_P's scores of all objects.
    accepted : (B,) true for those accepted on V_P's word
    second
        V_O's scores of the others, in their order.
    reference
        Brings V_P's point scores to V_O's scale; None leaves them as they are.

    Returns
    -------
    Scores
        `objects` are ranks: an order, not a scale.
    """
    if len(second) != int((~accepted).sum()):
        raise InputError(f"second stage: expected scores of {(~accepted).sum()} objects")
    objects, seconds = np.zeros(len(first)), first.seconds.copy()
    if accepted.any():
        ranks = _dense_ranks(first.objects[accepted])
        objects[accepted] = ranks - ranks.max() - 1  # below 0; the others are above
    objects[~accepted] = _dense_ranks(second.objects)
    seconds[~accepted] += second.seconds
    later = iter(second.points)
    points = []
    for own, done in zip(first.points, accepted, strict=True):
        if not done:
            points.append(next(later))
        else:
            points.append(own if reference is None else match_quantiles(own, reference))
    return Scores(objects, tuple(points), seconds)


def match_quantiles(scores: ArrayLike, reference: Reference) -> NDArray[np.float64]:
    """(N,) scores of the first scorer on the second's scale.

    A score becomes the second's score of the same quantile at the points of the reference. Below
    and above all of these it goes on as a straight line with the slope of the whole. Never
    decreasing, and the identity when both scorers agree.
    """
    values = np.asarray(scores, dtype=np.float64)
    first, second = reference.quantiles
    found: NDArray[np.float64] = np.interp(values, first, second)
    spread = first[-1] - first[0]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        slope = (second[-1] - second[0]) / spread
    slope = slope if np.isfinite(slope) else 0.0  # scores that hardly differ have no scale
    outside = np.minimum(values - first[0], 0) + np.maximum(values - first[-1], 0)
    return np.asarray(found + slope * outside)


def _count(objects: int, share: float) -> int:
    if not 0 <= share <= 1:
        raise InputError(f"share = {share}: expected a number from 0 to 1")
    return math.floor(round(share * objects, 9))  # 0.29 * 100 is a little less than 29


def _dense_ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 for the lowest; equal scores have equal ranks."""
    return np.asarray(np.unique(scores, return_inverse=True)[1] + 1, dtype=np.float64)
