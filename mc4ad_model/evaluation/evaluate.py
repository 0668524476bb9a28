# SPDX-License-Identifier: Apache-2.0
"""Evaluation of a method on a category's test samples: one row a sample, then the metrics.

All metrics are computed from float32 point scores and from the rows, so that whoever has both and
the dataset gets the same numbers (`mc4ad_model.evaluation.results`).

Time. The seconds of an object run from its points in memory to its prediction on the CPU and its
object score, by a monotonic clock; reading the file, the metrics and what a `Transductive` scorer
does before the first score are left out. The first object is processed once before, untimed.
Objects per second are objects over the sum of their seconds.
Memory. The process's largest resident size so far, or what torch allocated at most on the GPU.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annotations.vocabulary import NORMAL
from intravariance.dataset.store import Record
from intravariance.errors import InputError
from intravariance.progress import track
from mc4ad_model.evaluation import metrics
from mc4ad_model.evaluation.alarms import alarm_threshold, check_clouds, p_value
from mc4ad_model.evaluation.category_metrics import CategoryMetrics, SampleRow, category_metrics
from mc4ad_model.evaluation.scoring import predicted_object_score
from mc4ad_model.machine.memory import enough_device_memory, peak_memory, reset_peak_memory
from mc4ad_model.methods.method import (
    OBJECT_RULES,
    ObjectRule,
    Prediction,
    Scorer,
    Transductive,
)


@dataclass(frozen=True)
class Cost:
    """seconds over all objects; memory in bytes, of the "process" or on "cuda"; machine : where
    this was measured, "" where it is not known."""

    seconds: float
    objects_per_second: float
    parameters: int | None
    memory: int
    memory_of: str
    machine: str = ""


@dataclass(frozen=True)
class CategoryEvaluation:
    """Findings of `evaluate_category`; point_scores : (N,) float32 for each sample's id."""

    category: str
    rows: tuple[SampleRow, ...]
    point_scores: dict[str, NDArray[np.float32]]
    metrics: CategoryMetrics
    cost: Cost


def evaluate_category(
    records: Sequence[Record],
    scorer: Scorer,
    rule: ObjectRule | None = None,
    seed: int = 0,
    quiet: bool = False,
    normal: ArrayLike = (),
    false_alarms: Sequence[float] = (),
) -> CategoryEvaluation:
    """Evaluate a method on the test samples of one category.

    Parameters
    ----------
    records : test samples, normal and defective ones
    scorer : scores each sample once, and the first once more
    rule : how point scores become object scores, instead of the method's own way
    seed : of the bootstrap intervals
    quiet : whether to leave out progress on stderr
    normal : (K,) object scores of normal products under the rule, for p-values; none without them
    false_alarms : rates of false alarms to take thresholds for

    Raises
    ------
    InputError
        The samples are of one class only, a prediction cannot be used, or there are too few normal
        products for a rate; named.
    """
    check_records(records)
    category = records[0].category
    for rate in false_alarms:
        check_clouds(np.size(normal), rate, category)
    reset_peak_memory()
    if isinstance(scorer, Transductive):
        scorer.look_at(record.points for record in records)
    _scored(records[0].id, records[0].points, scorer)
    rows, scores = [], {}
    for record in track(records, len(records), f"evaluate {category}", quiet):
        row, scores[record.id] = _evaluate(record, scorer, rule)
        if np.size(normal):
            row = replace(row, p_value=p_value(normal, row.object_score))
        rows.append(row)
    seconds, (memory, memory_of) = sum(row.seconds for row in rows), peak_memory()
    thresholds = {rate: alarm_threshold(normal, rate) for rate in false_alarms}
    return CategoryEvaluation(
        category=category,
        rows=tuple(rows),
        point_scores=scores,
        metrics=category_metrics(records, rows, scores, seed, thresholds),
        cost=Cost(
            seconds,
            len(rows) / max(seconds, 1e-9),
            scorer.parameters,
            memory,
            memory_of,
            platform.node(),
        ),
    )


def check_records(records: Sequence[Record]) -> None:
    """Raise InputError unless these are test samples of one category, normal and defective ones."""
    categories = sorted({record.category for record in records})
    if len(categories) != 1:
        raise InputError(f"expected the test samples of one category, found {categories}")
    if train := [record.id for record in records if record.split != "test"]:
        raise InputError(f"{train[0]} is a training sample; expected test samples only")
    normal = sum(record.defect == NORMAL for record in records)
    for name, count in (("normal", normal), ("defective", len(records) - normal)):
        if not count:
            raise InputError(
                f"category {categories[0]}: none of its {len(records)} test samples is {name}, so "
                "that no AUROC is defined; evaluate a file that has both"
            )
    if empty := [r.id for r in records if r.defect != NORMAL and r.n_anomalous == 0]:
        raise InputError(f"{empty[0]} is defective, but none of its points is labelled so")


def check_labelled(records: Sequence[Record], all_of_them: bool = False) -> None:
    """Raise InputError where figures of points have no defective object to be of.

    all_of_them : also where a single one has no labels of its points.
    """
    bare = [record for record in records if not record.labelled]
    rest = [record for record in records if record.n_anomalous > 0]
    if bare and (all_of_them or not rest):
        raise InputError(
            f"category {bare[0].category}: {len(bare)} of {len(records)} test samples have no "
            f"labels of their points (the first is {bare[0].id}), and this needs them. Label them "
            "with `iv labels`; `iv evaluate` gives the figures of objects without."
        )


def checked_prediction(prediction: Prediction, count: int, name: str) -> Prediction:
    """Return the prediction with float32 point scores.

    Raises
    ------
    InputError
        Scores or force are not of `count` points, or a score is not finite; `name` is named.
    """
    points, force = np.asarray(prediction.points), prediction.force
    if points.shape != (count,) or (force is not None and np.shape(force) != (count, 3)):
        shapes = f"{points.shape}" + ("" if force is None else f" and a force {np.shape(force)}")
        raise InputError(
            f"{name}: the method returned point scores of shape {shapes}; expected ({count},), and "
            f"({count}, 3) for a force"
        )
    points = points.astype(np.float32)
    if wrong := int((~np.isfinite(points)).sum()):
        raise InputError(
            f"{name}: {wrong} of {count} point scores are not finite; "
            "the method is broken (a training that diverged?)"
        )
    if prediction.object is not None and not np.isfinite(prediction.object):
        raise InputError(f"{name}: the object's score is {prediction.object}, expected a number")
    return replace(prediction, points=points)


def _scored(name: str, points: NDArray[np.float32], scorer: Scorer) -> Prediction:
    """Score a cloud; an error about the cloud names it."""
    try:
        with enough_device_memory(f"scoring {len(points):,} points"):
            return scorer.score(points)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _evaluate(
    record: Record, scorer: Scorer, rule: ObjectRule | None
) -> tuple[SampleRow, NDArray[np.float32]]:
    points = record.points
    start = time.perf_counter()
    prediction = _scored(record.id, points, scorer)
    predicted_object_score(prediction, scorer.aggregation, rule)
    seconds = time.perf_counter() - start
    prediction = checked_prediction(prediction, len(points), record.id)
    scores, force = prediction.points, prediction.force
    by_rule: dict[str, Any] = {
        f"object_{one}": predicted_object_score(prediction, scorer.aggregation, one)
        for one in OBJECT_RULES
    }
    labels = record.labels
    both = 0 < record.n_anomalous < record.n_points
    row = SampleRow(
        id=record.id,
        category=record.category,
        subcategory=record.subcategory,
        defect=record.defect,
        anomalous=int(record.defect != NORMAL),
        n_points=record.n_points,
        n_anomalous=record.n_anomalous if record.labelled else None,
        object_score=predicted_object_score(prediction, scorer.aggregation, rule),
        **by_rule,
        p_auroc=metrics.auroc(labels, scores) if both else None,
        seconds=seconds,
        note=prediction.note,
        **_force_columns(labels, record.displacement, force),
    )
    return row, scores


def _force_columns(
    labels: NDArray[np.uint8],
    displacement: NDArray[np.float32],
    force: NDArray[np.floating[Any]] | None,
) -> dict[str, Any]:
    moved, rest = metrics.displaced(labels, displacement), labels == 0
    true = displacement[moved]
    columns: dict[str, Any] = dict.fromkeys(("displacement", "epe", "epe_rest", "cosine"))
    columns["n_displaced"] = len(true)
    if len(true):
        columns["displacement"] = metrics.end_point_error(np.zeros_like(true), true)
    if force is not None and len(true):
        columns["epe"] = metrics.end_point_error(force[moved], true)
        columns["cosine"] = metrics.mean_cosine(force[moved], true)
    if force is not None and rest.any():
        columns["epe_rest"] = metrics.end_point_error(force[rest], displacement[rest])
    return columns
