# SPDX-License-Identifier: Apache-2.0
"""Results of an evaluation as files, from which anybody can compute its tables again.

    samples.csv          one line for each test sample: the fields of `SampleRow`; empty = undefined
    points.safetensors   for each sample's id: (N,) float32 scores of its points, in file order
    metrics.json         metrics, cost, and where they come from: dataset, run, scoring, versions
    SHA256SUMS           of the three, for `sha256sum --check`

The folder appears whole or not at all, and is replaced only when it is as written (see
`files.folders`). `metrics.json` holds the SHA-256 of the two tables too, so that those of another
evaluation are not read with it. Version 1 has neither p-values nor alarms, and its first files came
without SHA256SUMS. Results of samples whose points have no labels are of version 3: figures of
points may be null there, and "unlabelled" counts those samples. Numbers keep all their digits. The
times in `samples.csv` and "cost" differ from one evaluation to the next; nothing else does.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_type_hints

from intravariance.dataset.store import Dataset, Record
from intravariance.errors import InputError, IntegrityError, IVError
from intravariance.files.checksums import sha256_of
from intravariance.files.folders import check_folder, new_folder, write_member
from intravariance.tables import csv_table
from mc4ad_model.evaluation.alarms import AlarmMetrics
from mc4ad_model.evaluation.category_metrics import (
    CategoryMetrics,
    DefectMetrics,
    ForceMetrics,
    SampleRow,
    category_metrics,
)
from mc4ad_model.evaluation.evaluate import CategoryEvaluation, Cost
from mc4ad_model.methods.saved_files import read_json

EVALUATION_FORMAT = "intravariance-evaluation"
EVALUATION_VERSION = 2
UNLABELLED_VERSION = 3
SAMPLES_FILE, POINTS_FILE, METRICS_FILE = "samples.csv", "points.safetensors", "metrics.json"
_COLUMNS = get_type_hints(SampleRow)
_SINCE_VERSION_2 = ("p_value", "note")
_COLUMNS_OF_VERSION_1 = {n: kind for n, kind in _COLUMNS.items() if n not in _SINCE_VERSION_2}


@dataclass(frozen=True)
class Results:
    """Hold what `write_results` wrote.

    Parameters
    ----------
    evaluation
    dataset
        File name, specification's name and content digest of what was evaluated on.
    seed
        Seed of the bootstrap intervals.
    origin
        What the caller told of the detector: run, configuration, scoring, versions.
    """

    evaluation: CategoryEvaluation
    dataset: dict[str, str]
    seed: int
    origin: dict[str, Any]


def check_results_folder(folder: Path, force: bool) -> None:
    """Raise InputError when results cannot be written there, or there are some and no `force`.

    With `force` there may be results, as they were written; nothing that was edited or added is
    replaced. The folder's parents are made.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: this folder cannot be made: {error}") from error
    if (folder / METRICS_FILE).exists() and not force:
        raise InputError(
            f"{folder / METRICS_FILE} exists: this was evaluated before. Choose another --out, or "
            "replace the results with --force."
        )
    check_folder(folder, METRICS_FILE, force, _digests_of_earlier_version)


def write_results(
    folder: Path,
    evaluation: CategoryEvaluation,
    dataset: Dataset,
    seed: int,
    origin: Mapping[str, Any],
    force: bool = False,
) -> None:
    """Write an evaluation into a folder.

    Parameters
    ----------
    folder
        Made, or replaced; its parents are made.
    dataset
        The dataset that was evaluated on.
    seed
        Seed of the bootstrap intervals.
    origin
        Plain values: where the detector comes from and how its forces became scores.
    force
        Whether existing results may be replaced.

    Raises
    ------
    InputError
        There are results (with `force`: that were changed), or they cannot be written.
    """
    check_results_folder(folder, force)
    rows = (vars(row).values() for row in evaluation.rows)
    samples = csv_table(list(_COLUMNS), rows).encode()
    import safetensors.numpy  # noqa: PLC0415 - weight

    points = safetensors.numpy.save(evaluation.point_scores)
    content = {
        "format": EVALUATION_FORMAT,
        "version": UNLABELLED_VERSION if evaluation.metrics.unlabelled else EVALUATION_VERSION,
        "category": evaluation.category,
        "metrics": metrics_as_json(evaluation.metrics),
        "cost": asdict(evaluation.cost),
        "dataset": describe(dataset),
        "bootstrap_seed": seed,
        "origin": dict(origin),
        "sha256": {SAMPLES_FILE: _digest(samples), POINTS_FILE: _digest(points)},
    }
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    with new_folder(folder, METRICS_FILE, force, _digests_of_earlier_version) as partial:
        write_member(partial, METRICS_FILE, text.encode())
        write_member(partial, SAMPLES_FILE, samples)
        write_member(partial, POINTS_FILE, points)


def read_results(folder: Path) -> Results:
    """Read what `write_results` wrote.

    Raises
    ------
    InputError
        There are no results, or they are of another format or version.
    IntegrityError
        The files are damaged or do not belong together.
    """
    import safetensors.numpy  # noqa: PLC0415 - weight

    path = folder / METRICS_FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with `iv evaluate`")
    content = read_json(path, EVALUATION_FORMAT, range(1, UNLABELLED_VERSION + 1))
    parts = {}
    for name in (SAMPLES_FILE, POINTS_FILE):
        try:
            parts[name] = (folder / name).read_bytes()
        except OSError as error:
            raise InputError(f"{folder / name}: cannot be read: {error}") from error
    try:
        stated = content["sha256"]
        if wrong := [name for name in parts if _digest(parts[name]) != stated[name]]:
            raise IntegrityError(
                f"{folder / wrong[0]}: its SHA-256 is not the one in {METRICS_FILE}. It was "
                "changed: move the folder away, and evaluate again."
            )
        evaluation = CategoryEvaluation(
            category=content["category"],
            rows=_from_csv(
                parts[SAMPLES_FILE], _COLUMNS_OF_VERSION_1 if content["version"] == 1 else _COLUMNS
            ),
            point_scores=safetensors.numpy.load(parts[POINTS_FILE]),
            metrics=_metrics(content["metrics"]),
            cost=Cost(**content["cost"]),
        )
        return Results(evaluation, content["dataset"], content["bootstrap_seed"], content["origin"])
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise IntegrityError(f"{path}: contradicts its format: {error!r}") from error


def evaluated_samples(results: Results, dataset: Dataset) -> list[Record]:
    """Return the test samples that results are of, in their order.

    Parameters
    ----------
    results
        From `read_results`.
    dataset
        The one that was evaluated on.

    Raises
    ------
    InputError
        The dataset is another one.
    IntegrityError
        Rows or point scores are not those of the dataset's test samples.
    """
    if (digest := results.dataset["digest"]) != dataset.digest:
        raise InputError(
            f"{dataset.path}: has content digest {dataset.digest}, but the results are of "
            f"{results.dataset['file']} with {digest}; give that file"
        )
    evaluation = results.evaluation
    tested = dataset.filter(category=evaluation.category, split="test")
    records = [record for record in tested if record.object_known]
    expected = {record.id: record.n_points for record in records}
    ids = [row.id for row in evaluation.rows]
    scored = {id: len(scores) for id, scores in evaluation.point_scores.items()}
    if ids != list(expected) or scored != expected:
        raise IntegrityError(
            f"results of {evaluation.category}: samples or numbers of points are not those of "
            f"{dataset.path}; evaluate again"
        )
    return records


def recompute(results: Results, dataset: Dataset) -> CategoryMetrics:
    """Compute the metrics once more, from the rows, the points' scores and the dataset's labels.

    Parameters and errors as of `evaluated_samples`.
    """
    records = evaluated_samples(results, dataset)
    evaluation = results.evaluation
    thresholds = {one.rate: one.threshold for one in evaluation.metrics.alarms}
    return category_metrics(
        records, evaluation.rows, evaluation.point_scores, results.seed, thresholds
    )


def describe(dataset: Dataset) -> dict[str, str]:
    """Return what identifies a dataset: file name without its folder, specification, digest."""
    return {
        "file": dataset.path.name,
        "specification": dataset.specification.name,
        "digest": dataset.digest,
    }


def metrics_as_json(found: CategoryMetrics) -> dict[str, Any]:
    """Return the JSON-able form; "unlabelled" is there where there are such samples."""
    content = asdict(found)
    if not found.unlabelled:
        del content["unlabelled"]
    return content


def _from_csv(content: bytes, columns: Mapping[str, Any]) -> tuple[SampleRow, ...]:
    kinds: dict[Any, Callable[[str], Any]] = {
        str: str, int: int, float: float,
        int | None: lambda text: int(text) if text else None,
        float | None: lambda text: float(text) if text else None,
        str | None: lambda text: text or None,
    }  # fmt: skip
    lines = csv.DictReader(io.StringIO(content.decode(), newline=""))
    if list(lines.fieldnames or ()) != list(columns):
        raise ValueError(f"{SAMPLES_FILE}: expected the columns {', '.join(columns)}")
    return tuple(
        SampleRow(**{name: kinds[kind](line[name]) for name, kind in columns.items()})
        for line in lines
    )


def _metrics(content: Mapping[str, Any]) -> CategoryMetrics:
    values = dict(content)
    for name in ("o_auroc_interval", "p_auroc_interval"):
        if values[name] is not None:
            low, high = values[name]
            values[name] = (low, high)
    values["force"] = ForceMetrics(**values["force"])
    for name in ("defects", "difficulties"):  # the latter since version 2
        values[name] = {
            kind: DefectMetrics(**{**part, "force": ForceMetrics(**part["force"])})
            for kind, part in values.get(name, {}).items()
        }
    values["alarms"] = tuple(_alarms(part) for part in values.get("alarms", ()))
    return CategoryMetrics(**values)


def _alarms(content: Mapping[str, Any]) -> AlarmMetrics:
    low, high = content["false_alarm_interval"]
    return AlarmMetrics(**{**content, "false_alarm_interval": (low, high)})


def _digests_of_earlier_version(folder: Path) -> dict[str, str]:
    """Return name -> SHA-256 of results without SHA256SUMS, from what `metrics.json` says.

    Nothing says its own, so it is taken as it is where it is one of ours.
    """
    try:
        stated = read_json(folder / METRICS_FILE, EVALUATION_FORMAT)["sha256"]
        tables = {name: str(stated[name]) for name in (SAMPLES_FILE, POINTS_FILE)}
    except (IVError, LookupError, TypeError):
        return {}
    return {METRICS_FILE: sha256_of(folder / METRICS_FILE), **tables}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
