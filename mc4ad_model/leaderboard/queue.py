# SPDX-License-Identifier: Apache-2.0
"""The queue of a leaderboard: each row with each seed is trained and evaluated, whatever is left.

Results of an earlier call are checked and kept: a job whose categories are all evaluated is not
begun, and one that was killed goes on with the first category that is not. Workers of a Dask
cluster get a job for each category, where these are trained apart, so that little is lost with a
worker.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from intravariance.dataset.sharding.index import is_index
from intravariance.dataset.store import Dataset
from intravariance.errors import InputError, IntegrityError, IVError
from intravariance.executors.dask_cluster import DaskExecutor
from intravariance.executors.isolated import IsolatedExecutor
from intravariance.files.checksums import sha256_of
from intravariance.files.urls import Url
from intravariance.progress import say
from mc4ad_model.evaluation.category_metrics import CategoryMetrics
from mc4ad_model.evaluation.evaluate import Cost
from mc4ad_model.evaluation.results import METRICS_FILE, check_results_folder, read_results
from mc4ad_model.leaderboard.jobs import FAILURE, Job, Outcome, run_job
from mc4ad_model.leaderboard.luggage import put
from mc4ad_model.leaderboard.rows import Row
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.saved_files import writing
from mc4ad_model.methods.templates import Track
from mc4ad_model.runs.experiments import evaluation_differs, read_timing
from mc4ad_model.runs.run_folder import EVALUATION, FIT, RUN, method_code, read_run

Workers = IsolatedExecutor | DaskExecutor  # each task has a process of its own there


@dataclass(frozen=True)
class Measured:
    """The part of an evaluation that a leaderboard uses.

    folder : of the run. fit_seconds : None where not known. machines : where times were measured.
    label : of the settings that ran, with the networks that were given. in_doubt : objects whose
    scores have a note, such as a cloud that fits no template.
    """

    folder: Path
    metrics: CategoryMetrics
    cost: Cost
    fit_seconds: float | None
    machines: frozenset[str] = frozenset()
    label: str = ""
    in_doubt: int = 0

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
            files=_files(dataset),
            digest=dataset.digest,
            track=track,
            folder=out / "runs" / row.folder / f"seed-{seed}",
            machine=replace(machine, quiet=True),
        )
        for number, seed in enumerate(seeds)
        for row in rows
        if number == 0 or row.seeded
    ]


def _files(dataset: Dataset) -> tuple[Path, ...]:
    """List the files of a dataset, with its index; none where a store has them."""
    if isinstance(dataset.path, Url):
        return ()
    return (*([dataset.path] if is_index(dataset.path) else []), *dataset.files)


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
    if other := _other_network(job, folder):
        raise InputError(f"{folder}: is a run with another {other} than is there now; {again}")
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
    fit, cost = read_timing(run, FIT), results.evaluation.cost
    seconds = fit.get("seconds")
    known = float(seconds) if isinstance(seconds, int | float) else None
    machines = frozenset(filter(None, (str(fit.get("machine", "")), cost.machine)))
    label = str(results.origin.get("preset") or "")
    noted = sum(bool(row.note) for row in results.evaluation.rows)
    return Measured(folder, results.evaluation.metrics, cost, known, machines, label, noted)


def _other_network(job: Job, folder: Path) -> str:
    """Name the network of which a run has a copy, where the settings name another by now; or ""."""
    for name in ("encoder", "backbone"):
        if not (named := job.config.get(name)):
            continue
        try:
            own, place = json.loads((folder / f"{name}.json").read_bytes()), Path(named)
            if place.is_file():  # as others publish it
                same = own["origin"]["sha256"] == sha256_of(place)
            else:
                same = own["sha256"] == json.loads((place / f"{name}.json").read_bytes())["sha256"]
        except (OSError, ValueError, KeyError, TypeError):  # none is kept, or there now
            continue
        if not same:
            return name
    return ""


def run_jobs(jobs: Sequence[Job], executor: Workers, quiet: bool) -> dict[tuple[str, int], str]:
    """Run jobs, saying after each how long the rest may take; return why those failed that did.

    Returns
    -------
    Reasons, by row and seed.
    """
    if isinstance(executor, DaskExecutor):
        jobs = [part for job in jobs for part in job.parts()]
    for job in jobs:
        with writing(job.folder):
            (job.folder / FAILURE).unlink(missing_ok=True)
    faults: dict[tuple[str, int], str] = {}
    left = list(jobs)
    took: dict[str, float] = {}
    for job, result in executor.run(run_job, jobs):
        left.remove(job)
        if fault := _fault(job, result):
            faults.setdefault((job.row, job.seed), fault)
            how = f"not working: {fault}"
        else:
            assert isinstance(result, Outcome)
            took[job.row] = result.seconds
            how = f"{result.seconds:.0f} s"
        say(
            f"leaderboard: {len(jobs) - len(left)}/{len(jobs)}: {job.title}: {how}"
            f"{_left(left, took, executor)}",
            quiet,
        )
    return faults


def _fault(job: Job, result: Outcome | IVError) -> str:
    """Take what a job gave, and say why it does not work, "" where it does."""
    if isinstance(result, IVError):
        return str(result)
    try:
        if result.files:
            put(job.folder, result.files)
    except InputError as error:
        return str(error)
    return result.fault


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


def _left(left: Sequence[Job], took: Mapping[str, float], executor: Workers) -> str:
    seconds = seconds_left([job.row for job in left], took, executor.workers()) if left else None
    return "" if seconds is None else f"; about {seconds / 60:.0f} min left"


def pending(
    jobs: Sequence[Job], done: Mapping[tuple[str, int], Mapping[str, Any]]
) -> Iterator[Job]:
    """Yield the jobs of which a category is not evaluated, with these categories alone."""
    for job in jobs:
        found = done[job.row, job.seed]
        if rest := tuple(name for name in job.categories if name not in found):
            yield replace(job, categories=rest)
