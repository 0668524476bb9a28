# SPDX-License-Identifier: Apache-2.0
"""Training runs on a dataset file, and evaluations of them: what the commands share."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from intravariance.dataset.provenance import software
from intravariance.dataset.store import Dataset, Record
from intravariance.errors import InputError
from intravariance.files.checksums import sha256_of
from intravariance.files.locks import held
from intravariance.progress import say
from mc4ad_model.evaluation.evaluate import CategoryEvaluation, check_records, evaluate_category
from mc4ad_model.evaluation.results import check_results_folder, write_results
from mc4ad_model.machine.device import Machine
from mc4ad_model.machine.memory import enough_device_memory
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.methods import method_class, method_extension
from mc4ad_model.methods.method import IDENTITY, ObjectRule
from mc4ad_model.methods.settings import Settings
from mc4ad_model.methods.templates import Templates, Track, read_templates, track_of
from mc4ad_model.runs.calibration import read_calibration
from mc4ad_model.runs.run_folder import CALIBRATION, RUN, Run, environment, method_code


def train_runs(
    dataset: Dataset,
    categories: Sequence[str],
    method: str,
    settings: Settings,
    seed: int,
    out: Path,
    machine: Machine,
    force: bool = False,
    track: Track | None = None,
) -> dict[str, Path]:
    """Fit a method to each category that is not trained yet; its folder by the category's name.

    track : what may be known of the templates; None for all that the file has.

    Raises
    ------
    InputError
        The file cannot be trained on, the folder holds other runs, or another process trains
        there; found before training starts.
    BackendUnavailable
        The backend is not installed.
    """
    jobs = _planned(dataset, categories, method, settings, seed, out, machine, track)
    for run, _ in jobs:
        run.check(force)
    ranks = Ranks.here(machine)
    shared = getattr(method_class(method), "shared", None)
    with _alone(out, [shared] if shared and settings.learn_from else categories, ranks):
        if force and ranks.first and shared:
            _remove_shared(out / shared)
        ranks.wait()  # what one writes, another must not take for what was there before
        for run, templates in jobs:
            if ranks.first:
                run.prepare(force)
            ranks.wait()
            if run.finished:
                say(f"train {run.category}: is trained already", machine.quiet or not ranks.first)
            else:
                run.fit(templates, machine, save=ranks.first)
            ranks.wait()
    return {run.category: run.folder for run, _ in jobs}


State = Literal["new", "carries on", "starts anew", "is trained already"]


@dataclass(frozen=True)
class PlannedRun:
    """Plan of `train_runs` for a category: templates is their number, state what is there."""

    category: str
    templates: int
    track: Track
    state: State
    folder: Path


def plan_runs(
    dataset: Dataset,
    categories: Sequence[str],
    method: str,
    settings: Settings,
    seed: int,
    out: Path,
    machine: Machine,
    force: bool = False,
    track: Track | None = None,
) -> list[PlannedRun]:
    """Check all that `train_runs` checks before it trains, write nothing, and say what it would do.
    Parameters and errors are its own."""
    jobs = _planned(dataset, categories, method, settings, seed, out, machine, track)
    for run, _ in jobs:
        run.check(force, make=False)
    return [
        PlannedRun(
            category=run.category,
            templates=len(templates.templates),
            track=run.track,
            state=_state(run, force),
            folder=run.folder,
        )
        for run, templates in jobs
    ]


def _state(run: Run, force: bool) -> State:
    if not (run.folder / RUN).is_file():
        return "new"
    if force:
        return "starts anew"
    return "is trained already" if run.finished else "carries on"


@contextmanager
def _alone(out: Path, names: Sequence[str], ranks: Ranks) -> Iterator[None]:
    """Keep other trainings out of these parts of a folder; InputError where one is there."""
    with ExitStack() as stack:
        for name in names if ranks.first else ():
            busy = f"--out {out}: another process trains {name} there"
            stack.enter_context(held(out / f"{name}.lock", busy))
        yield


def _planned(
    dataset: Dataset,
    categories: Sequence[str],
    method: str,
    settings: Settings,
    seed: int,
    out: Path,
    machine: Machine,
    track: Track | None,
) -> list[tuple[Run, Templates]]:
    """Return the run of each category and what it is fitted to. Parameters and InputError as of
    `train_runs`."""
    planned = []
    for category in categories:
        templates = read_templates(dataset, category, settings.learn_from, track)
        with enough_device_memory(f"{category}: {method}"):
            method_class(method)(settings, machine).check(templates)
        run = Run(
            folder=out / category,
            category=category,
            seed=seed,
            method=method,
            settings=settings,
            data_digest=dataset.digest,
            identity=dataset.metadata["identity"],
            environment=environment(machine) | _extensions(method, settings),
            track=templates.track,
            code=method_code(method),
        )
        planned.append((run, templates))
    return planned


def _extensions(method: str, settings: Settings) -> dict[str, Any]:
    """Return {"extensions": [...]}, what of a run installed packages add; {} for nothing."""
    own = method_extension(method)
    used = [*([own] if own else []), *settings.extensions]
    return {"extensions": [extension.identity for extension in used]} if used else {}


def _remove_shared(folder: Path) -> None:
    """Remove what the fits of several categories share, if it is there and ours."""
    if (folder / IDENTITY).is_file():
        shutil.rmtree(folder)


def default_folder(
    dataset: Dataset, method: str, settings: Settings, seed: int, track: Track | None = None
) -> Path:
    """Name the folder of the runs of a method on a dataset: runs/NAME-DIGEST-LABEL-SEED, and the
    track where it is not all that the file has.

    Files of one name that differ, in their noise say, have different digests.
    """
    less = "" if track in (None, track_of(dataset)) else f"-{track}"
    label = settings.label or method.replace(":", ".")
    file = f"{dataset.specification.name}-{dataset.digest[:8]}"
    return Path("runs", f"{file}-{label}-{seed}{less}")


def evaluate_into(
    folder: Path,
    run: Run,
    dataset: Dataset,
    rule: ObjectRule | None,
    seed: int,
    machine: Machine,
    false_alarms: Sequence[float] = (),
) -> CategoryEvaluation:
    """Evaluate a run on its category of a dataset, and write the results into a folder, in place of
    what is there.

    Parameters
    ----------
    rule
        How point scores become object scores, instead of the method's own way.
    seed
        Seed of the bootstrap intervals.
    false_alarms
        Rates of false alarms to evaluate at, by the run's calibration.

    Raises
    ------
    InputError
        Training is unfinished, the dataset cannot be evaluated on, the run is not calibrated for
        it, or results cannot be written.
    """
    check_results_folder(folder, force=True)
    method = run.load_method(machine)
    records = evaluated_records(dataset, run.category)
    if rest := sum(r.category == run.category and not r.object_known for r in dataset):
        say(f"{run.category}: {rest} samples of which nothing is known are left out", machine.quiet)
    normal: Sequence[float] = ()
    if false_alarms:
        normal = read_calibration(run, dataset, false_alarms, machine.quiet).of(rule)
    found = evaluate_category(records, method, rule, seed, machine.quiet, normal, false_alarms)
    origin = {
        "method": run.method,
        "seed": run.seed,
        "track": run.track,
        "preset": run.settings.label,
        "config": run.described["config"],
        "data_digest": run.data_digest,
        "scoring": scoring(run, rule),
        "software": software("numpy", "scipy", "scikit-learn", *_torch()),
    }
    if false_alarms:
        file = run.folder / CALIBRATION
        origin["calibration"] = {"products": len(normal), "sha256": sha256_of(file)}
    write_results(folder, found, dataset, seed, origin, force=True)
    return found


def check_evaluable(runs: Sequence[Run], dataset: Dataset, machine: Machine) -> None:
    """Find what would keep runs from being evaluated on a dataset; say what is another build's.

    Raises
    ------
    InputError
        One was trained on another group of categories, the dataset does not have its category, or
        no test samples of both kinds of it, or its training is unfinished or damaged.
    """
    check_same_group(runs, dataset)
    for run in runs:
        check_records(evaluated_records(dataset, run.category))
        run.load_method(machine)
    if others := [str(run.folder) for run in runs if run.data_digest != dataset.digest]:
        say(f"trained on another build than {dataset.path}: {', '.join(others)}", machine.quiet)


def check_same_group(runs: Sequence[Run], dataset: Dataset) -> None:
    """Check that runs were trained on a dataset's group of categories, and on some that it has.

    Raises
    ------
    InputError
        They were not; the run is named.
    """
    name = dataset.specification.name
    for run in runs:
        if (trained := run.identity.get("specification", {}).get("name")) != name:
            raise InputError(
                f"{run.folder}: was trained on {trained}, but {dataset.path} holds {name}; "
                f"evaluate on a build of {trained}, or train on {dataset.path}"
            )
    if missing := [run for run in runs if run.category not in dataset.categories]:
        raise InputError(
            f"{missing[0].folder.parent}: {dataset.path} has no category "
            f"{', '.join(run.category for run in missing)}; it has "
            f"{', '.join(dataset.categories)}. Choose some with --category."
        )


def _torch() -> list[str]:
    """Name torch where the method has loaded it; others need not have it."""
    return ["torch"] if "torch" in sys.modules else []


def scoring(run: Run, rule: ObjectRule | None = None) -> dict[str, Any]:
    """Describe how the scores of points become those of objects, as results say it."""
    own = vars(run.new_method().aggregation)
    return own if rule is None else {**own, "object": rule}


def evaluated_records(dataset: Dataset, category: str) -> list[Record]:
    """List the test samples of a category that are known to be normal or defective.

    Raises
    ------
    InputError
        There is none.
    """
    tested = [record for record in dataset.filter(category=category) if record.split == "test"]
    records = [record for record in tested if record.object_known]
    if not records:
        known = " that are known to be normal or defective" if tested else ""
        raise InputError(f"{dataset.path}: category {category} has no test samples{known}")
    return records
