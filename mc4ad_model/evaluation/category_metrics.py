# SPDX-License-Identifier: Apache-2.0
"""Metrics of one category, from a row for each test sample and the scores of its points.

Nothing here runs a detector: `evaluation.evaluate` makes the rows, `evaluation.results` keeps
them, and both get the same numbers from `category_metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.dataset.store import Record
from intravariance.seeds import generator
from mc4ad_model.evaluation import metrics
from mc4ad_model.evaluation.alarms import AlarmMetrics, alarm_metrics
from mc4ad_model.methods.method import OBJECT_RULES

Scores = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class SampleRow:
    """A test sample. None: undefined for it, or the detector predicts no force.

    Parameters
    ----------
    id, category, subcategory, defect
    anomalous
        1, or 0 for a normal one.
    n_points, n_anomalous, n_displaced
        All points, those labelled anomalous (None where points have no labels), those with a true
        force (`metrics.displaced`).
    object_score
        Under the configured rule; object_max, object_mean and object_top under each.
    p_auroc
        AUROC of its own points.
    displacement
        Mean length of the true force over displaced points: the error of predicting none.
    epe, cosine
        End-point error and cosine over displaced points; epe_rest: error over unlabelled points.
    seconds
        Time it took, as `mc4ad_model.evaluation.evaluate` defines it.
    p_value
        Its object score's p-value among normal products (`mc4ad_model.evaluation.alarms`); None
        where it was evaluated without a calibration.
    note
        What the method says of its scores, see `Prediction`.
    """

    id: str
    category: str
    subcategory: str
    defect: str
    anomalous: int
    n_points: int
    n_anomalous: int | None
    n_displaced: int
    object_score: float
    object_max: float
    object_mean: float
    object_top: float
    p_auroc: float | None
    displacement: float | None
    epe: float | None
    epe_rest: float | None
    cosine: float | None
    seconds: float
    p_value: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class ForceMetrics:
    """Means over all points concerned, as in `SampleRow`; None where there are none."""

    displacement: float | None
    epe: float | None
    epe_rest: float | None
    cosine: float | None


@dataclass(frozen=True)
class DefectMetrics:
    """One defect type, or one difficulty: its objects against all normal ones, and the points of
    its own objects.

    p_auroc is None where none or all of these points are labelled anomalous, or none has a label.
    """

    objects: int
    o_auroc: float
    p_auroc: float | None
    force: ForceMetrics


@dataclass(frozen=True)
class CategoryMetrics:
    """Metrics of a category. Points are pooled, p_auroc_objects is the mean over defective objects.

    o_auroc and o_aupr are under the configured rule, o_auroc_max and so on under each. Intervals
    are (low, high), from `metrics.auroc_interval` with its defaults. defects : by defect type.
    alarms : at each rate of false alarms that was asked for. difficulties : by the difficulty that
    the file says defects have, where it does. unlabelled : objects whose points have no labels;
    figures of points leave them out, and are None where no defective object is left.
    """

    objects: int
    anomalous: int
    o_auroc: float
    o_auroc_interval: tuple[float, float]
    p_auroc: float | None
    p_auroc_interval: tuple[float, float] | None
    o_aupr: float
    p_aupr: float | None
    p_auroc_objects: float | None
    au_pro: float | None
    o_auroc_max: float
    o_auroc_mean: float
    o_auroc_top: float
    force: ForceMetrics
    defects: dict[str, DefectMetrics]
    alarms: tuple[AlarmMetrics, ...] = ()
    difficulties: dict[str, DefectMetrics] = field(default_factory=dict)
    unlabelled: int = 0


def category_metrics(
    records: Sequence[Record],
    rows: Sequence[SampleRow],
    scores: Scores,
    seed: int = 0,
    thresholds: Mapping[float, float] | None = None,
) -> CategoryMetrics:
    """Metrics from the rows and the point scores.

    Parameters
    ----------
    records, rows : the same samples in the same order
    scores : (N,) for each sample's id
    seed : of the bootstrap intervals
    thresholds : of object scores, by the rate of false alarms that each is for
    """
    known = [record for record in records if record.labelled]
    labels = [record.labels for record in known]
    values = [scores[record.id] for record in known]
    truth = np.array([row.anomalous for row in rows])
    objects = np.array([row.object_score for row in rows])
    category = rows[0].category
    random = [generator(seed, category, name, "bootstrap") for name in ("objects", "points")]
    own = [row.p_auroc for row in rows if row.p_auroc is not None]
    by_rule: dict[str, Any] = {
        f"o_auroc_{rule}": metrics.auroc(truth, [getattr(row, f"object_{rule}") for row in rows])
        for rule in OBJECT_RULES
    }
    return CategoryMetrics(
        objects=len(rows),
        anomalous=int(truth.sum()),
        o_auroc=metrics.auroc(truth, objects),
        o_auroc_interval=metrics.auroc_interval(
            list(truth[:, None]), list(objects[:, None]), random[0]
        ),
        **_point_metrics(known, labels, values, random[1]),
        o_aupr=metrics.average_precision(truth, objects),
        p_auroc_objects=float(np.mean(own)) if own else None,
        **by_rule,
        force=force_metrics(rows),
        defects=_by_kind([row.defect for row in rows], records, rows, scores),
        difficulties=_by_kind([record.difficulty for record in records], records, rows, scores),
        unlabelled=len(records) - len(known),
        alarms=tuple(
            alarm_metrics(rate, threshold, [row.anomalous for row in rows], list(objects))
            for rate, threshold in (thresholds or {}).items()
        ),
    )


def _point_metrics(
    records: Sequence[Record],
    labels: Sequence[NDArray[np.uint8]],
    values: Sequence[NDArray[np.float32]],
    random: np.random.Generator,
) -> dict[str, Any]:
    """Return figures of all points together; None where none of these objects is defective."""
    if not any(record.n_anomalous for record in records):
        return dict.fromkeys(("p_auroc", "p_auroc_interval", "p_aupr", "au_pro"))
    points, pooled = np.concatenate(labels), np.concatenate(values)
    return {
        "p_auroc": metrics.auroc(points, pooled),
        "p_auroc_interval": metrics.auroc_interval(labels, values, random),
        "p_aupr": metrics.average_precision(points, pooled),
        "au_pro": metrics.au_pro(_regions(records, labels), pooled),
    }


def force_metrics(rows: Sequence[SampleRow]) -> ForceMetrics:
    """Means over points, from the means of the samples and their numbers of points."""

    def mean(name: str, count: Callable[[SampleRow], int]) -> float | None:
        pairs = [(getattr(row, name), count(row)) for row in rows if getattr(row, name) is not None]
        values, weights = zip(*pairs, strict=True) if pairs else ((), ())
        return float(np.average(values, weights=weights)) if pairs else None

    return ForceMetrics(
        displacement=mean("displacement", lambda row: row.n_displaced),
        epe=mean("epe", lambda row: row.n_displaced),
        epe_rest=mean("epe_rest", lambda row: row.n_points - (row.n_anomalous or 0)),
        cosine=mean("cosine", lambda row: row.n_displaced),
    )


def _regions(records: Sequence[Record], labels: Sequence[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """(M,) regions of all objects' points, numbered through."""
    parts, last = [], 0
    for record, truth in zip(records, labels, strict=True):
        regions = metrics.anomalous_regions(record.points, truth)
        parts.append(np.where(regions > 0, regions + last, 0))
        last += int(regions.max(initial=0))
    return np.concatenate(parts)


def _by_kind(
    kinds: Sequence[str], records: Sequence[Record], rows: Sequence[SampleRow], scores: Scores
) -> dict[str, DefectMetrics]:
    """Group defective samples by their kinds; those of the kind "" are in no group."""
    found = {}
    defective = [(kind, i) for i, kind in enumerate(kinds) if kind and rows[i].anomalous]
    for name in dict.fromkeys(kind for kind, _ in defective):
        chosen = [i for kind, i in defective if kind == name]
        compared = [rows[i] for i in chosen] + [row for row in rows if not row.anomalous]
        known = [records[i] for i in chosen if records[i].labelled]
        points = np.concatenate([np.zeros(0, np.uint8), *(one.labels for one in known)])
        pooled = np.concatenate([np.zeros(0, np.float32), *(scores[one.id] for one in known)])
        found[name] = DefectMetrics(
            objects=len(chosen),
            o_auroc=metrics.auroc(
                [row.anomalous for row in compared], [row.object_score for row in compared]
            ),
            p_auroc=metrics.auroc(points, pooled) if 0 < points.sum() < len(points) else None,
            force=force_metrics([rows[i] for i in chosen]),
        )
    return found
