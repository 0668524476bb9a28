# SPDX-License-Identifier: Apache-2.0
"""The queue of a leaderboard: each row with each seed is trained and evaluated, whatever is left.

A job does what `iv train` and `iv evaluate` do, with the same functions (`runs.experiments`), in
the folder `runs/ROW/seed-SEED`. What an earlier call finished is checked and kept: a job whose
categories are all evaluated is not begun, and one that was killed goes on with the first category
that is not.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError, IntegrityError, IVError
from intravariance.executors import Executor
from intravariance.progress import say
from mc4ad_model.evaluation.category_metrics import CategoryMetrics
from mc4ad_model.evaluation.evaluate import Cost
from mc4ad_model.evaluation.results import METRICS_FILE, check_results_folder, read_results
from mc4ad_model.leaderboard.rows import Row
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods import method_class
from mc4ad_model.methods.saved_files import writing
from mc4ad_model.methods.templates import Track
from mc4ad_model.runs.experiments import evaluation_differs, read_timing, train_and_evaluate
from mc4ad_model.runs.run_folder import EVALUATION, FIT, RUN, method_code, read_run

FAILURE = "failure.txt"


@dataclass(frozen=True)
class Job:
    """A row with a seed, as a process of its own gets it.

    config : the settings as plain values. digest : of the data. folder : of the runs, one in it for
    each category.
    """

    row: str
    method: str
    config: dict[str, Any]
    seed: int
    categories: tuple[str, ...]
    data: Path
    digest: str
    track: Track
    folder: Path
    machine: Machine

    @property
    def title(self) -> str:
        """What it is, for messages."""
        return f"{self.row}, seed {self.seed}"


@dataclass(frozen=True)
class Measured:
    """What is kept of an evaluation. folder : of the run; fit_seconds : None where not known."""

    folder: Path
    metrics: CategoryMetrics
    cost: Cost
    fit_seconds: float | None

    @property
    def evaluation(self) -> Path:
        """The folder of the evaluation, with the scores of samples and points."""
        return self.folder / EVALUATION


def plan_jobs(
    rows: Sequence[Row],
    seeds: Sequence[int],
    categories: Sequence[str],
    dataset: Dataset,
    track: Track,
    out: Path,
    machine: Machine,
) -> list[Job]:
    """List the jobs: all rows with the first seed, then those whose scores depend on it again."""
    return [
        Job(
            row=row.name,
            method=row.method,
            config=row.settings.to_mapping(),
            seed=seed,
            categories=tuple(categories),
            data=dataset.path,
            digest=dataset.digest,
            track=track,
            folder=out / "runs" / row.folder / f"seed-{seed}",
            machine=replace(machine, quiet=True),
        )
        for number, seed in enumerate(seeds)
        for row in rows
        if number == 0 or row.seeded
    ]


def run_job(job: Job) -> float:
    """Train and evaluate what is not yet, and return the seconds that it took.

    Raises
    ------
    IVError
        It does not work, for whatever reason; a fault of the method's own code is told with its
        trace in the file FAILURE of the job's folder.
    """
    start = time.perf_counter()
    try:
        with open_dataset(job.data) as dataset:
            if dataset.digest != job.digest:
                raise InputError(f"{job.data}: was replaced by another file while in use")
            settings = method_class(job.method).Settings.from_mapping(job.config, job.row)
            for _ in train_and_evaluate(
                dataset, list(job.categories), job.method, settings, job.seed, job.folder,
                job.machine, job.track,
            ):  # fmt: skip
                pass
    except IVError:
        raise
    except Exception as error:  # of a method, which may be anybody's
        path = job.folder / FAILURE
        job.folder.mkdir(parents=True, exist_ok=True)
        with writing(path):
            path.write_text(traceback.format_exc(), encoding="utf-8")
        raise IVError(f"{type(error).__name__}: {error} (see {path})") from error
    (job.folder / FAILURE).unlink(missing_ok=True)
    return time.perf_counter() - start


def finished(job: Job, dataset: Dataset) -> dict[str, Measured]:
    """Return what is evaluated of a job, by category; what is there is checked first.

    Raises
    ------
    InputError
        A run or an evaluation in the job's folder is of other data or settings, was scored in
        another way, or was changed since it was written.
    """
    found = {}
    for category in job.categories:
        folder = job.folder / category
        if (folder / RUN).is_file():
            measured = _checked(job, folder, dataset)
            if measured is not None:
                found[category] = measured
    return found


def _checked(job: Job, folder: Path, dataset: Dataset) -> Measured | None:
    again = f"move {folder} away, and the same command makes it again"
    run = read_run(folder)
    own = {
        "category": folder.name,
        "seed": job.seed,
        "method": job.method,
        "config": json.loads(json.dumps(job.config)),
        "track": job.track,
        "data_digest": job.digest,
        "code": method_code(job.method),
    }
    if wrong := [name for name, value in own.items() if run.described.get(name) != value]:
        raise InputError(f"{folder}: is a run with another {', '.join(wrong)}; {again}")
    if _other_encoder(job, folder):
        raise InputError(f"{folder}: is a run with another encoder than is there now; {again}")
    evaluation = folder / EVALUATION
    if not (evaluation / METRICS_FILE).is_file() or not run.finished:
        return None
    check_results_folder(evaluation, force=True)
    try:
        results = read_results(evaluation)
    except IntegrityError as error:
        raise InputError(f"{error} ({again})") from error
    if why := evaluation_differs(results, run, dataset):
        raise InputError(f"{evaluation}: is not of this leaderboard: {why}; {again}")
    seconds = read_timing(run, FIT).get("seconds")
    known = float(seconds) if isinstance(seconds, int | float) else None
    return Measured(folder, results.evaluation.metrics, results.evaluation.cost, known)


def _other_encoder(job: Job, folder: Path) -> bool:
    """Say whether a run has its own copy of an encoder whose folder holds another one by now."""
    if not (named := job.config.get("encoder")):
        return False
    try:
        own, there = (
            json.loads((place / "encoder.json").read_bytes())["sha256"]
            for place in (folder, Path(named))
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(own != there)


def run_jobs(
    jobs: Sequence[Job], executor: Executor, at_once: int, quiet: bool
) -> dict[tuple[str, int], str]:
    """Run jobs, saying after each how long the rest may take; return why those failed that did.

    Parameters
    ----------
    at_once
        How many jobs the executor runs at a time, for the estimate.

    Returns
    -------
    Reasons, by row and seed.
    """
    faults: dict[tuple[str, int], str] = {}
    left = list(jobs)
    took: dict[str, float] = {}
    for job, result in executor.run(run_job, jobs):
        left.remove(job)
        if isinstance(result, IVError):
            faults[job.row, job.seed] = str(result)
            how = f"not working: {result}"
        else:
            took[job.row] = result
            how = f"{result:.0f} s"
        say(
            f"leaderboard: {len(jobs) - len(left)}/{len(jobs)}: {job.title}: {how}"
            f"{_left(left, took, at_once)}",
            quiet,
        )
    return faults


def seconds_left(left: Sequence[str], took: Mapping[str, float], at_once: int) -> float | None:
    """Estimate the seconds that jobs take: as those of the same row, or as the mean row.

    Parameters
    ----------
    left
        The rows of the jobs that are not finished.
    took
        Seconds of a row's last job.
    """
    if not took:
        return None
    usual = sum(took.values()) / len(took)
    return sum(took.get(row, usual) for row in left) / max(1, min(at_once, len(left)))


def _left(left: Sequence[Job], took: Mapping[str, float], at_once: int) -> str:
    seconds = seconds_left([job.row for job in left], took, at_once)
    return "" if seconds is None or not left else f"; about {seconds / 60:.0f} min left"


def pending(
    jobs: Sequence[Job], done: Mapping[tuple[str, int], Mapping[str, Any]]
) -> Iterator[Job]:
    """Yield the jobs of which a category is not evaluated."""
    for job in jobs:
        if len(done[job.row, job.seed]) < len(job.categories):
            yield job
