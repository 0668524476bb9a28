# SPDX-License-Identifier: Apache-2.0
"""Training and evaluating several networks, and what they say together; any part can be resumed.

A category that is trained is not trained again, and one that is evaluated on this dataset with the
run's scoring is not evaluated again. A spread is the standard deviation over seeds of the means
over categories (divisor: seeds - 1), so it says how far another training would be off, not another
dataset.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from intravariance.dataset.store import Dataset
from intravariance.errors import InputError, IVError
from intravariance.progress import say
from mc4ad_model.evaluation.evaluate import check_labelled, check_records
from mc4ad_model.evaluation.results import Results, read_results
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.settings import Settings
from mc4ad_model.methods.templates import Track
from mc4ad_model.runs.jobs import evaluate_into, evaluated_records, scoring, train_runs
from mc4ad_model.runs.run_folder import TIMING, Run, read_run


@dataclass(frozen=True)
class CategoryOutcome:
    """One category with one seed.

    objects_per_second : in evaluation; parameters : of the network; training_seconds : of the
    process that finished the training, which did so many training_steps (fewer than all when the
    training was interrupted); None if not known.
    """

    category: str
    seed: int
    o_auroc: float
    p_auroc: float
    objects_per_second: float
    parameters: int | None
    training_seconds: float | None
    training_steps: int | None


@dataclass(frozen=True)
class Spread:
    """Mean over seeds, and standard deviation, None for one seed."""

    mean: float
    deviation: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Compute the spread of at least one value, one for each seed."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else None)

    def __str__(self) -> str:
        deviation = "" if self.deviation is None else f" ±{self.deviation:.3f}"
        return f"{self.mean:.3f}{deviation}"


def train_and_evaluate(
    dataset: Dataset,
    categories: list[str],
    method: str,
    settings: Settings,
    seed: int,
    out: Path,
    machine: Machine,
    track: Track | None = None,
    all_labelled: bool = True,
) -> Iterator[tuple[Run, Results]]:
    """Train what is not trained yet, then evaluate what is not evaluated yet, one by one.

    Parameters
    ----------
    out
        Folder of the run, one in it for each category, with its evaluation.
    track
        What may be known of the templates; None for all that the file has.
    all_labelled
        Whether all test samples need labels of their points, or one defective one of each category.

    Raises
    ------
    InputError
        The file cannot be trained or evaluated on (found before training starts), or the folder
        holds other runs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("torchrun: is for `iv train`; this command also evaluates, in one process")
    for category in categories:
        records = evaluated_records(dataset, category)
        check_records(records)
        check_labelled(records, all_of_them=all_labelled)
    folders = train_runs(dataset, categories, method, settings, seed, out, machine, track=track)
    for folder in folders.values():
        run = read_run(folder)
        yield run, evaluate_run(run, dataset, machine)


def evaluate_run(run: Run, dataset: Dataset, machine: Machine) -> Results:
    """Return the evaluation in the run's folder; made if there is none, or it is of something else.

    Raises
    ------
    InputError
        Training is unfinished, its network is damaged, the dataset cannot be evaluated on, or
        results cannot be written.
    """
    folder = run.folder / "evaluation"
    try:
        found = read_results(folder)
    except IVError:  # none, or its writing was interrupted
        found = None
    if found is not None and not evaluation_differs(found, run, dataset):
        return found
    if found is not None:
        say(f"evaluate {run.category}: replaces an evaluation of something else", machine.quiet)
    evaluate_into(folder, run, dataset, None, 0, machine)
    return read_results(folder)


def evaluation_differs(found: Results, run: Run, dataset: Dataset) -> str:
    """Say how results differ from what an evaluation of the run on the dataset gives; "" if not.

    That is, in data, settings, or the way that objects are scored, which this program's own may be
    another one than that of the version which evaluated.
    """
    if found.dataset["digest"] != dataset.digest:
        return f"it is of content digest {found.dataset['digest']}, {dataset.path} is not"
    if found.origin.get("config") != run.described["config"]:
        return "the method had other settings"
    if not scoring(run).items() <= found.origin.get("scoring", {}).items():
        return f"objects were scored by {found.origin.get('scoring')}, now by {scoring(run)}"
    return ""


def outcome(run: Run, results: Results) -> CategoryOutcome:
    """Return what is kept of an evaluation for a table."""
    evaluation, timing = results.evaluation, read_timing(run, TIMING)
    assert evaluation.metrics.p_auroc is not None  # see `check_labelled`
    return CategoryOutcome(
        category=run.category,
        seed=run.seed,
        o_auroc=evaluation.metrics.o_auroc,
        p_auroc=evaluation.metrics.p_auroc,
        objects_per_second=evaluation.cost.objects_per_second,
        parameters=evaluation.cost.parameters,
        training_seconds=timing.get("seconds"),
        training_steps=timing.get("steps"),
    )


def average(outcomes: Sequence[CategoryOutcome], name: str) -> Spread:
    """Average over categories for each seed, then take mean and deviation over seeds.

    Parameters
    ----------
    outcomes
        Each category with each seed, at least one.
    name
        Name of a field.
    """
    seeds: dict[int, list[float]] = {}
    for one in outcomes:
        seeds.setdefault(one.seed, []).append(getattr(one, name))
    return Spread.of([fmean(values) for values in seeds.values()])


def parse_seeds(text: str) -> list[int]:
    """Seeds separated by commas.

    Raises
    ------
    InputError
        One is no whole number from 0 on, or comes twice.
    """
    try:
        seeds = [int(word) for word in text.split(",")]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise InputError(f"--seeds {text}: expected different whole numbers from 0 on: 0,1,2")
    return seeds


def read_timing(run: Run, name: str) -> dict[str, Any]:
    """Read what the run's folder says of times, in a file of this name; empty if nothing."""
    try:
        content = json.loads((run.folder / name).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
