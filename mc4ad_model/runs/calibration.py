# SPDX-License-Identifier: Apache-2.0
"""Calibrations in the folders of runs, from which thresholds come.

    OUT/vase/calibration.json    scores of simulated products without a defect, and what they depend
                                 on: seed, data, how its test clouds are made, the method's files

One whose method was fitted anew since is noticed, and so is one for clouds that are made otherwise
than those that are judged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intravariance.dataset.provenance import software
from intravariance.dataset.store import Dataset
from intravariance.errors import InputError, IntegrityError
from intravariance.files.checksums import sha256_of
from intravariance.geometry.sampling import POSES
from intravariance.progress import say
from mc4ad_model.evaluation.alarms import check_clouds
from mc4ad_model.evaluation.calibration import OWN, NormalScores, score_normal_clouds
from mc4ad_model.evaluation.normal_products import (
    MESHES_NEEDED,
    Conditions,
    calibration_clouds,
    check_meshes,
    conditions_of,
)
from mc4ad_model.evaluation.results import describe
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods import method_class
from mc4ad_model.methods.method import OBJECT_RULES
from mc4ad_model.methods.saved_files import read_json, write_json
from mc4ad_model.methods.templates import read_templates
from mc4ad_model.runs.run_folder import CALIBRATION, TIMING, Run

CALIBRATION_FORMAT = "intravariance-calibration"


def check_calibratable(run: Run, dataset: Dataset, machine: Machine, force: bool) -> None:
    """Find what would keep a run from being calibrated.

    Raises
    ------
    InputError
        It is calibrated already (without `force`), its training is unfinished or damaged, or the
        dataset's test clouds cannot be simulated.
    """
    path = run.folder / CALIBRATION
    if path.exists() and not force:
        raise InputError(
            f"{path} exists: this run was calibrated before. Replace the calibration with --force."
        )
    check_meshes(read_templates(dataset, run.category, track=run.track))
    conditions_of(dataset, run.category)
    run.load_method(machine)


def why_not_calibratable(run: Run) -> str:
    """Say why `iv calibrate` refuses a run, whatever the file, and what it takes; "" otherwise."""
    if run.track == "clouds":
        return f"the run is of the track clouds, and {MESHES_NEEDED}"
    imported = run.identity.get("imported")
    unknown = isinstance(imported, dict) and imported.get("scan_noise") is None
    if unknown and run.identity.get("pose") not in POSES:
        return "the run's file was imported without --scan-noise: import with it, and train again"
    return ""


def calibrate_run(
    run: Run, dataset: Dataset, count: int, seed: int, machine: Machine
) -> NormalScores:
    """Score simulated products without a defect, and keep the scores in the run's folder.

    Parameters
    ----------
    dataset
        Its templates are sampled, as its test clouds are made; no test sample is read.
    count
        Number of products; the templates take turns.
    seed
        Seed of the products.

    Raises
    ------
    InputError
        As `check_calibratable`, or the file cannot be written.
    """
    conditions = conditions_of(dataset, run.category)
    templates = read_templates(dataset, run.category, track=run.track)
    method = run.load_method(machine)
    clouds = calibration_clouds(templates, conditions, count, seed)
    scores = score_normal_clouds(clouds, count, method, f"calibrate {run.category}", machine.quiet)
    content = {
        "format": CALIBRATION_FORMAT,
        "version": 1,
        "category": run.category,
        "clouds": count,
        "seed": seed,
        "dataset": describe(dataset),
        "conditions": _plain(conditions),
        "sha256": _fitted(run),
        "software": software("numpy", "scipy"),
        "points": [list(pair) for pair in scores.points.items()],
        "objects": {name: list(values) for name, values in scores.objects.items()},
    }
    write_json(run.folder / CALIBRATION, content)
    return scores


def check_calibrated(folder: Path, data: Path) -> None:
    """Raise InputError unless the folder of a run, or of a run's category, has a calibration."""
    if not any(folder.glob(CALIBRATION)) and not any(folder.glob(f"*/{CALIBRATION}")):
        raise InputError(_missing(folder, data))


@dataclass(frozen=True)
class Calibration:
    """The content of a calibration's file.

    path : the file. conditions : how the clouds were made (`Conditions`, as JSON gives it back).
    dataset : what `describe` says of the file whose templates were sampled.
    """

    path: Path
    scores: NormalScores
    conditions: dict[str, Any]
    dataset: dict[str, Any]


def stored_calibration(run: Run, rates: Sequence[float] = (), data: str = "FILE.h5") -> Calibration:
    """Read the calibration of a run, whatever clouds are to be judged.

    Parameters
    ----------
    rates
        Shares of false alarms, for which there have to be enough products.
    data
        The dataset file, for the advice of a message.

    Raises
    ------
    InputError
        There is none, it is damaged or too small, or the method was fitted anew since.
    """
    path = run.folder / CALIBRATION
    if not path.is_file():
        if why := why_not_calibratable(run):
            raise InputError(f"{run.folder}: has no calibration, and can have none: {why}")
        raise InputError(_missing(run.folder, data))
    again = _again(run, data)
    try:
        content = read_json(path, CALIBRATION_FORMAT)
        scores = _scores(content, path)
    except IntegrityError as error:
        raise InputError(f"{error}; {again}") from error
    if (stated := content["sha256"]) != (now := _fitted(run)):
        names = sorted(n for n in {*stated, *now} if stated.get(n) != now.get(n))
        raise InputError(f"{path}: is of another fit, {', '.join(names)} differs since; {again}")
    for rate in rates:
        check_clouds(len(scores), rate, str(path))
    return Calibration(path, scores, content["conditions"], content["dataset"])


def read_calibration(
    run: Run, dataset: Dataset, rates: Sequence[float] = (), quiet: bool = True
) -> NormalScores:
    """Read the calibration of a run, to judge test clouds of a dataset.

    Parameters
    ----------
    rates
        Shares of false alarms, for which there have to be enough products.
    quiet
        Whether to leave out that it is of another build.

    Raises
    ------
    InputError
        As `stored_calibration`, or the dataset's test clouds are made otherwise.
    """
    found = stored_calibration(run, rates, str(dataset.path))
    stated, own = found.conditions, _plain(conditions_of(dataset, run.category))
    if different := [
        f"{k} = {stated.get(k)}, here {own[k]}" for k in own if stated.get(k) != own[k]
    ]:
        raise InputError(
            f"{found.path}: is for other test clouds than those of {dataset.path} "
            f"({'; '.join(different)}); {_again(run, str(dataset.path))}"
        )
    if found.dataset["digest"] != dataset.digest:
        say(f"calibrated on another build than {dataset.path}: {run.folder}", quiet)
    return found.scores


def _again(run: Run, data: str) -> str:
    return f"calibrate again: `iv calibrate {data} --run {run.folder} --force`"


def _scores(content: dict[str, Any], path: Path) -> NormalScores:
    try:
        objects = {
            name: tuple(map(float, content["objects"][name])) for name in (OWN, *OBJECT_RULES)
        }
        points = {float(level): float(value) for level, value in content["points"]}
        counts = {content["clouds"], *map(len, objects.values())}
        kinds = (content["sha256"], content["conditions"], content["dataset"])
        whole = all(isinstance(kind, dict) for kind in kinds) and "digest" in kinds[-1]
        if len(counts) != 1 or not content["clouds"] or not whole:
            raise ValueError("numbers of scores differ, or a part is missing")
        if not np.isfinite([value for values in objects.values() for value in values]).all():
            raise ValueError("a score is not finite")
    except (LookupError, TypeError, ValueError) as error:
        raise IntegrityError(f"{path}: contradicts its format: {error!r}") from error
    return NormalScores(objects, points)


def _fitted(run: Run) -> dict[str, str]:
    """Return name -> SHA-256 of the files that the run's method wrote."""
    patterns = method_class(run.method).files
    names = {path.name for pattern in patterns for path in run.folder.glob(pattern)}
    return {name: sha256_of(run.folder / name) for name in sorted(names - {TIMING})}


def _plain(conditions: Conditions) -> dict[str, Any]:
    """Return the conditions as JSON gives them back."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(conditions)))
    return plain


def _missing(folder: Path, data: Path | str) -> str:
    return (
        f"{folder}: has no calibration, from which thresholds come; make it with "
        f"`iv calibrate {data} --run {folder}`"
    )
