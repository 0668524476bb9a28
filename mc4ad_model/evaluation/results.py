# SPDX-License-Identifier: Apache-2.0
"""Results of an evaluation as files, from which anybody can compute its tables again.

    samples.csv          one line for each test sample: the fields of `SampleRow`; empty = undefined
    points.safetensors   for each sample's id: (N,) float32 scores of its points, in file order
    metrics.json         metrics, cost, and where they come from: dataset, run, scoring, versions

`metrics.json` is written last and holds the SHA-256 of the other two, so that results whose writing
was interrupted are not read for whole ones. Numbers keep all their digits. The times in
`samples.csv` and "cost" differ from one evaluation to the next; nothing else does.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import safetensors.numpy
from safetensors import SafetensorError

from intravariance.dataset.store import Dataset, Record
from intravariance.errors import InputError, IntegrityError
from intravariance.files.atomic import check_target, write_file
from mc4ad_model.evaluation.category_metrics import (
    CategoryMetrics,
    DefectMetrics,
    ForceMetrics,
    SampleRow,
    category_metrics,
)
from mc4ad_model.evaluation.evaluate import CategoryEvaluation, Cost

FORMAT = "intravariance-evaluation"
VERSION = 1
SAMPLES, POINTS, METRICS = "samples.csv", "points.safetensors", "metrics.json"
_COLUMNS = get_type_hints(SampleRow)


@dataclass(frozen=True)
class Results:
    """What `write_results` wrote.

    Parameters
    ----------
    evaluation
    dataset
        File name, specification's name and content digest of what was evaluated on.
    seed
        Of the bootstrap intervals.
    origin
        What the caller told of the detector: run, configuration, scoring, versions.
    """

    evaluation: CategoryEvaluation
    dataset: dict[str, str]
    seed: int
    origin: dict[str, Any]


def check_folder(folder: Path, force: bool) -> None:
    """InputError when results cannot be written there, or there are some and no `force`.

    The folder need not exist; it is made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: this folder cannot be made: {error}") from error
    for name in (SAMPLES, POINTS, METRICS):
        if (folder / name).exists() and not force:
            raise InputError(
                f"{folder / name} exists: this was evaluated before. Choose another --out, or "
                "replace the results with --force."
            )
        check_target(folder / name, force)


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
        Made if it does not exist.
    dataset
        What was evaluated on.
    seed
        Of the bootstrap intervals.
    origin
        Plain values: where the detector comes from and how its forces became scores.
    force
        Whether existing results may be replaced.

    Raises
    ------
    InputError
        There are results, or they cannot be written.
    """
    check_folder(folder, force)
    samples = _to_csv(evaluation.rows)
    points = safetensors.numpy.save(evaluation.point_scores)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "category": evaluation.category,
        "metrics": asdict(evaluation.metrics),
        "cost": asdict(evaluation.cost),
        "dataset": describe(dataset),
        "bootstrap_seed": seed,
        "origin": dict(origin),
        "sha256": {SAMPLES: _digest(samples), POINTS: _digest(points)},
    }
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    try:
        write_file(folder / SAMPLES, samples, force)
        write_file(folder / POINTS, points, force)
        write_file(folder / METRICS, text.encode(), force)
    except OSError as error:
        raise InputError(f"{folder}: the results cannot be written: {error}") from error


def read_results(folder: Path) -> Results:
    """Read what `write_results` wrote.

    Raises
    ------
    InputError
        There are no results, or they are of another format or version.
    IntegrityError
        The files are damaged or do not belong together.
    """
    content = _read_json(folder / METRICS)
    parts = {}
    for name in (SAMPLES, POINTS):
        try:
            parts[name] = (folder / name).read_bytes()
        except OSError as error:
            raise InputError(f"{folder / name}: cannot be read: {error}") from error
    try:
        stated = content["sha256"]
        if wrong := [name for name in parts if _digest(parts[name]) != stated[name]]:
            raise IntegrityError(
                f"{folder / wrong[0]}: its SHA-256 is not the one in {METRICS}. It was changed, or "
                "writing was interrupted: evaluate again with --force."
            )
        evaluation = CategoryEvaluation(
            category=content["category"],
            rows=_from_csv(parts[SAMPLES]),
            point_scores=safetensors.numpy.load(parts[POINTS]),
            metrics=_metrics(content["metrics"]),
            cost=Cost(**content["cost"]),
        )
        return Results(evaluation, content["dataset"], content["bootstrap_seed"], content["origin"])
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise IntegrityError(f"{folder / METRICS}: contradicts its format: {error!r}") from error


def evaluated_samples(results: Results, dataset: Dataset) -> list[Record]:
    """The test samples that results are of, in their order.

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
    records = list(dataset.filter(category=evaluation.category, split="test"))
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
    """The metrics once more, from the samples' rows, the points' scores and the dataset's labels.

    Parameters and errors as of `evaluated_samples`.
    """
    records = evaluated_samples(results, dataset)
    evaluation = results.evaluation
    return category_metrics(records, evaluation.rows, evaluation.point_scores, results.seed)


def describe(dataset: Dataset) -> dict[str, str]:
    """What identifies a dataset: file name without its folder, specification, content digest."""
    return {
        "file": dataset.path.name,
        "specification": dataset.specification.name,
        "digest": dataset.digest,
    }


def _to_csv(rows: Sequence[SampleRow]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(SampleRow)]
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)  # None becomes ""
    return text.getvalue().encode()


def _from_csv(content: bytes) -> tuple[SampleRow, ...]:
    kinds: dict[Any, Callable[[str], Any]] = {
        str: str, int: int, float: float,
        float | None: lambda text: float(text) if text else None,
    }  # fmt: skip
    lines = csv.DictReader(io.StringIO(content.decode(), newline=""))
    if list(lines.fieldnames or ()) != list(_COLUMNS):
        raise ValueError(f"{SAMPLES}: expected the columns {', '.join(_COLUMNS)}")
    return tuple(
        SampleRow(**{name: kinds[kind](line[name]) for name, kind in _COLUMNS.items()})
        for line in lines
    )


def _metrics(content: Mapping[str, Any]) -> CategoryMetrics:
    values = dict(content)
    for name in ("o_auroc_interval", "p_auroc_interval"):
        low, high = values[name]
        values[name] = (low, high)
    values["force"] = ForceMetrics(**values["force"])
    values["defects"] = {
        name: DefectMetrics(**{**part, "force": ForceMetrics(**part["force"])})
        for name, part in values["defects"].items()
    }
    return CategoryMetrics(**values)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}; make it with `iv evaluate`") from error
    except ValueError as error:
        raise IntegrityError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f'{path}: expected "format": "{FORMAT}"; this is another file')
    if (version := content.get("version")) != VERSION:
        raise InputError(
            f"{path}: format version {version!r}, but this program reads {VERSION}; "
            "use the version of intravariance that wrote it"
        )
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
