# SPDX-License-Identifier: Apache-2.0
"""Evaluation of a detector on a category's test samples: one row a sample, then the metrics.

A detector maps an object's points (N, 3) to forces (N, 3) or, if it knows none, to scores (N,).
All metrics are computed from float32 point scores and from the rows, so that whoever has both and
the dataset gets the same numbers (`mc4ad_model.evaluation.results`).

Time. Seconds of an object: from its points in memory to its forces or scores on the CPU, and its
object score, by a monotonic clock; reading the file and the metrics are left out. The first object
is processed once before, untimed. Objects per second: objects over the sum of their seconds.
Memory. The process's largest resident size so far, or what torch allocated at most on the GPU.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL
from intravariance.dataset.store import Record
from intravariance.errors import InputError
from intravariance.progress import track
from mc4ad_model.evaluation import metrics
from mc4ad_model.evaluation.category_metrics import CategoryMetrics, SampleRow, category_metrics
from mc4ad_model.evaluation.scoring import RULES, object_score, point_scores
from mc4ad_model.machine.memory import peak_memory, reset_peak_memory
from mc4ad_model.methods.mc4ad.configuration import ScoringConfig


class Detector(Protocol):
    """What is evaluated. Both arrays are in the stored frame and in stored units."""

    def __call__(self, points: NDArray[np.float32], /) -> NDArray[np.floating[Any]]:
        """Forces (N, 3) or scores (N,) of points (N, 3)."""
        ...


@dataclass(frozen=True)
class Cost:
    """seconds over all objects; memory in bytes, of the "process" or on "cuda"."""

    seconds: float
    objects_per_second: float
    parameters: int | None
    memory: int
    memory_of: str


@dataclass(frozen=True)
class CategoryEvaluation:
    """What `evaluate_category` finds; point_scores : (N,) float32 for each sample's id."""

    category: str
    rows: tuple[SampleRow, ...]
    point_scores: dict[str, NDArray[np.float32]]
    metrics: CategoryMetrics
    cost: Cost


def evaluate_category(
    records: Sequence[Record],
    detector: Detector,
    scoring: ScoringConfig,
    seed: int = 0,
    parameters: int | None = None,
    quiet: bool = False,
) -> CategoryEvaluation:
    """Evaluate a detector on the test samples of one category.

    Parameters
    ----------
    records
        Test samples, normal and defective ones.
    detector
        Called once for each sample, and once more for the first.
    scoring
        How forces become point scores, and these object scores.
    seed
        Of the bootstrap intervals.
    parameters
        How many the detector has, if it is known.
    quiet
        Whether to leave out progress on stderr.

    Raises
    ------
    InputError
        The samples are of one class only, or the detector's output cannot be used; named.
    """
    check_records(records)
    category = records[0].category
    reset_peak_memory()
    detector(records[0].points)
    rows, scores = [], {}
    for record in track(records, len(records), f"evaluate {category}", quiet):
        row, scores[record.id] = _evaluate(record, detector, scoring)
        rows.append(row)
    seconds = sum(row.seconds for row in rows)
    memory, memory_of = peak_memory()
    return CategoryEvaluation(
        category=category,
        rows=tuple(rows),
        point_scores=scores,
        metrics=category_metrics(records, rows, scores, seed),
        cost=Cost(seconds, len(rows) / max(seconds, 1e-9), parameters, memory, memory_of),
    )


def check_records(records: Sequence[Record]) -> None:
    """InputError unless these are test samples of one category, normal and defective ones."""
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
    if empty := [r.id for r in records if r.defect != NORMAL and not r.n_anomalous]:
        raise InputError(f"{empty[0]} is defective, but none of its points is labelled so")


def _evaluate(
    record: Record, detector: Detector, scoring: ScoringConfig
) -> tuple[SampleRow, NDArray[np.float32]]:
    points = record.points
    start = time.perf_counter()
    output = np.asarray(detector(points))
    if output.shape not in ((len(points), 3), (len(points),)):
        raise InputError(
            f"{record.id}: the detector returned an array of shape {output.shape}; expected forces "
            f"({len(points)}, 3) or scores ({len(points)},)"
        )
    force = output if output.ndim == 2 else None
    scores = output.astype(np.float32) if force is None else point_scores(force, scoring)
    object_score(scores, scoring)
    seconds = time.perf_counter() - start
    objects = {rule: object_score(scores, scoring, rule) for rule in RULES}
    if not np.isfinite(scores).all():
        count = int((~np.isfinite(scores)).sum())
        raise InputError(
            f"{record.id}: {count} of {len(scores)} point scores are not finite; "
            "the detector is broken (a training that diverged?)"
        )
    labels = record.labels
    both = 0 < record.n_anomalous < record.n_points
    row = SampleRow(
        id=record.id,
        category=record.category,
        subcategory=record.subcategory,
        defect=record.defect,
        anomalous=int(record.defect != NORMAL),
        n_points=record.n_points,
        n_anomalous=record.n_anomalous,
        object_score=objects[scoring.object],
        object_max=objects["max"],
        object_mean=objects["mean"],
        object_top=objects["top"],
        p_auroc=metrics.auroc(labels, scores) if both else None,
        seconds=seconds,
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
