# SPDX-License-Identifier: Apache-2.0
"""The folder of a training run, one for each category.

    OUT/
      vase/
        run.json          method, its code, settings, seed, data, environment; written first
        ...               what the method saves (`Method.files`), one of these files last
        fit.json          seconds that `Method.fit` took in the process that finished, and its
                          machine
        timing.json       more of these, where the method tells
        calibration.json  where `iv calibrate` made it, see `runs.calibration`
        tracking.json     where it is tracked, see `runs.tracking`

Version 1 of run.json, which named no method, is of MC4AD.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from intravariance.dataset.provenance import code_digest, software
from intravariance.errors import InputError, IVError
from intravariance.seeds import generator
from mc4ad_model.evaluation.results import check_results_folder
from mc4ad_model.machine.device import Machine
from mc4ad_model.machine.memory import enough_device_memory
from mc4ad_model.methods import DEFAULT_METHOD, method_class
from mc4ad_model.methods.method import FittedOn, Method
from mc4ad_model.methods.saved_files import read_json, reading, write_json
from mc4ad_model.methods.settings import Settings
from mc4ad_model.methods.templates import TRACKS, Templates, Track
from mc4ad_model.runs.detector_files import check_as_exported

RUN_FORMAT = "intravariance-run"
VERSION = 2
RUN, TIMING, EVALUATION = "run.json", "timing.json", "evaluation"
CALIBRATION, FIT, TRACKING = "calibration.json", "fit.json", "tracking.json"


@dataclass(frozen=True)
class Run:
    """A category's folder.

    folder : the category's own; method : a name that `method_class` knows; settings : of the
    method; track : what was known of the templates; identity : that of the dataset file, see
    `Dataset.metadata`; data_digest : its content digest; environment : versions and processor;
    code : see `method_code`.
    """

    folder: Path
    category: str
    seed: int
    method: str
    settings: Settings
    data_digest: str
    identity: dict[str, Any]
    environment: dict[str, Any]
    track: Track = "meshes"  # of runs that do not say it
    code: str | None = None

    @property
    def finished(self) -> bool:
        """Whether training ran to its end."""
        return (self.folder / method_class(self.method).files[0]).is_file()

    @cached_property
    def described(self) -> dict[str, Any]:
        """All that run.json holds, but for the environment, which may change on resuming."""
        return {
            "category": self.category,
            "seed": self.seed,
            "method": self.method,
            "config": json.loads(json.dumps(self.settings.to_mapping())),
            "track": self.track,
            "data_digest": self.data_digest,
            "identity": self.identity,
            **({"code": self.code} if self.code else {}),
        }

    def check(self, force: bool, make: bool = True) -> None:
        """Check that the run may be in its folder, and make the folder unless told not to.

        Raises
        ------
        InputError
            The folder holds files that are no run's, another run (without `force`), or an
            evaluation in which something was edited (with it); or no folder can be there.
        """
        if make:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"--out {self.folder}: no folder can be made: {error}") from error
        elif not self.folder.is_dir():
            there = next(path for path in (self.folder, *self.folder.parents) if path.exists())
            if not there.is_dir() or not os.access(there, os.W_OK):
                raise InputError(f"--out {self.folder}: no folder can be made in {there}")
            return
        if not (self.folder / RUN).is_file():
            # what was being written when a run was killed is no obstacle
            if any(path.suffix != ".partial" for path in self.folder.iterdir()):
                raise InputError(
                    f"--out {self.folder}: holds files, but no training run; choose another folder"
                )
            return
        if force:
            check_results_folder(self.folder / EVALUATION, force=True)
            return
        found, own = read_run(self.folder).described, self.described
        if different := list(_differences(found, own)):
            raise InputError(
                f"--out {self.folder}: holds another run ({'; '.join(different[:5])}). Choose "
                "another folder, or start anew with --force."
            )

    def prepare(self, force: bool) -> None:
        """Remove the files of an earlier run if `force` is given; write run.json if there is none.

        An evaluation and a calibration of the earlier run go too: they would not be this network's.
        Files that are not a run's stay.
        """
        for path in filter(Path.is_file, self.folder.glob("*.partial")):  # not evaluation.partial/
            path.unlink()
        if force:
            check_results_folder(self.folder / EVALUATION, force=True)
            shutil.rmtree(self.folder / EVALUATION, ignore_errors=True)
            # Killed in between, it is an unfinished run first, and a run's folder to the end.
            for pattern in (*self._methods_files(), TIMING, FIT, CALIBRATION, TRACKING, RUN):
                for path in self.folder.glob(pattern):
                    path.unlink()
        if (self.folder / RUN).is_file():
            return
        content = {
            "format": RUN_FORMAT,
            "version": VERSION,
            **self.described,
            "environment": self.environment,
        }
        write_json(self.folder / RUN, content)

    def _methods_files(self) -> tuple[str, ...]:
        """Patterns of what the method of the run that is there wrote, the last file first."""
        try:
            there = read_run(self.folder).method
        except InputError:  # damaged, or none
            there = self.method
        return method_class(there).files

    def new_method(self, machine: Machine | None = None) -> Method:
        """Make the run's method, not fitted yet."""
        return method_class(self.method)(self.settings, machine)

    def fit(self, templates: Templates, machine: Machine, save: bool = True) -> Method:
        """Fit the run's method in the folder, which has its run.json, and save it there.

        Parameters
        ----------
        save
            Whether this process writes the result: of several that train together, one does.

        Raises
        ------
        InputError, IVError
            As `Method.fit` and `Method.save`.
        """
        method = self.new_method(machine)
        start = time.perf_counter()
        with enough_device_memory(f"{self.category}: training {self.method}"):
            method.fit(templates, generator(self.seed, "training", self.category), self.folder)
        if save:
            seconds = time.perf_counter() - start
            write_json(self.folder / FIT, {"seconds": seconds, "machine": platform.node()})
            method.save(self.folder)
        return method

    def load_method(self, machine: Machine | None = None) -> Method:
        """Load the run's method as it was fitted.

        Raises
        ------
        InputError
            Training is unfinished, or what was saved is damaged or another run's.
        """
        method = self.new_method(machine)
        check_as_exported(self.folder)
        if not self.finished:
            raise InputError(
                f"{self.folder}: training is unfinished; the same `iv train` command carries on"
            )
        with reading(), enough_device_memory(f"{self.folder}: reading {self.method}"):
            method.load(self.folder)
        found, own = method.fitted_on, FittedOn(self.category, self.seed, self.data_digest)
        if found is None:
            raise IVError(f"{type(method).__name__}.load set no `fitted_on`; see `Method`")
        if found != own:
            different = [
                f"{name} = {value!r}, expected {getattr(own, name)!r}"
                for name, value in vars(found).items()
                if value != getattr(own, name)
            ]
            raise InputError(
                f"{self.folder / method.files[0]}: it is of another run: {'; '.join(different)}"
            )
        return method


def read_run(folder: Path) -> Run:
    """Return the run in a category's folder.

    Raises
    ------
    InputError
        There is none, or it is damaged or of another format or version.
    """
    path = folder / RUN
    if not path.is_file():
        raise InputError(f"{folder}: no training run; make one with `iv train`")
    check_as_exported(folder, RUN)
    with reading():
        content = read_json(path, RUN_FORMAT, range(1, VERSION + 1))
    if content["version"] == 1:
        content["method"] = DEFAULT_METHOD
    kinds = {
        "category": str, "seed": int, "method": str, "config": dict, "data_digest": str,
        "identity": dict, "environment": dict,
    }  # fmt: skip
    if wrong := [name for name, kind in kinds.items() if not isinstance(content.get(name), kind)]:
        raise InputError(f"{path}: {', '.join(wrong)}: missing or of another type")
    values = {name: content[name] for name in kinds}
    values["track"] = content.get("track", "meshes")
    if values["track"] not in TRACKS:
        raise InputError(f"{path}: track = {values['track']!r}: expected {' or '.join(TRACKS)}")
    values["code"] = content.get("code")
    try:
        kind = method_class(content["method"])
    except InputError as error:
        raise InputError(f"{path}: {error}; install {_that_adds_it(content)}") from None
    values["settings"] = kind.Settings.from_mapping(values.pop("config"), f"{path}: config")
    return Run(folder=folder, **values)


def _that_adds_it(content: dict[str, Any]) -> str:
    """Name the package that a run of a method of another package was made with."""
    used = content["environment"].get("extensions", ())
    found = [e for e in used if isinstance(e, dict) and e.get("kind") == "method"]
    if not found:
        return "the package that adds it"
    return f"the package {found[0].get('package')} {found[0].get('version')}, which adds it"


def find_runs(folder: Path) -> list[Run]:
    """Return the runs below a folder that `iv train` was given as --out, or that of one category.

    Raises
    ------
    InputError
        There is none, or one cannot be read.
    """
    if (folder / RUN).is_file():
        return [read_run(folder)]
    found = sorted(path.parent for path in folder.glob(f"*/{RUN}"))
    if not found:
        deeper = sorted({str(path.parents[1]) for path in folder.glob(f"**/{RUN}")})
        hint = (
            f"there are runs in {', '.join(deeper[:5])}" if deeper else "make one with `iv train`"
        )
        raise InputError(f"--run {folder}: no training run there; {hint}")
    return [read_run(path) for path in found]


def choose_runs(folder: Path, categories: Sequence[str] = ()) -> tuple[Run, ...]:
    """Return the runs of `find_runs` of some categories; of all where none is named.

    Raises
    ------
    InputError
        As `find_runs`, or a category was not trained.
    """
    runs = find_runs(folder)
    known = {run.category for run in runs}
    if unknown := [name for name in categories if name not in known]:
        raise InputError(
            f"--category {', '.join(unknown)}: expected one that {folder} was trained on: "
            f"{', '.join(sorted(known))}"
        )
    return tuple(run for run in runs if not categories or run.category in categories)


def _differences(found: Any, own: Any, name: str = "") -> Iterator[str]:
    if isinstance(found, dict) and isinstance(own, dict):
        for key in sorted(found.keys() | own.keys()):
            yield from _differences(found.get(key), own.get(key), f"{name}.{key}".lstrip("."))
    elif found != own:
        yield f"{name} = {found!r}, now {own!r}"


def method_code(method: str) -> str | None:
    """Compute a digest of the sources of a method that is not of this package.

    Returns
    -------
    The SHA-256 hex digest of the package or module that has the method's class; None for this
    package's own methods, whose version is in `environment`.
    """
    package = method_class(method).__module__.partition(".")[0]
    return None if package == __name__.partition(".")[0] else code_digest(package)


def environment(machine: Machine) -> dict[str, Any]:
    """Return versions and the machine's kind: what may change the last bits of a result."""
    torch = sys.modules.get("torch")  # where the method uses it, its check has loaded it
    names = ("torch", "numpy", "scipy") if torch else ("numpy", "scipy")
    found: dict[str, Any] = dict(software(*names))
    if torch:
        device = machine.torch_device()
        found |= {
            "device": str(device),
            "processor": torch.backends.cpu.get_cpu_capability(),
            "gpu": torch.cuda.get_device_name() if device.type == "cuda" else None,
            "threads": torch.get_num_threads(),
        }
    return found
