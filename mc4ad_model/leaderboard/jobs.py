# SPDX-License-Identifier: Apache-2.0
"""A job of a leaderboard: a row with a seed, trained and evaluated, whatever is left of it.

It does what `iv train` and `iv evaluate` do, with the same functions (`runs.experiments`), in the
folder `runs/ROW/seed-SEED`. A worker that has none of our files does it in a temporary folder, in a
process of its own as here, and sends the files back.
"""

from __future__ import annotations

import errno
import time
import traceback
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError, IVError
from intravariance.executors import Portable
from intravariance.executors.dask_worker import wanted, worker_name
from intravariance.executors.isolated import IsolatedExecutor
from intravariance.executors.processes import cores
from mc4ad_model.leaderboard.luggage import Luggage, contents, keep, pack, unpacked
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods import method_class
from mc4ad_model.methods.saved_files import writing
from mc4ad_model.methods.settings import Settings, files_at
from mc4ad_model.methods.templates import Track
from mc4ad_model.runs.experiments import train_and_evaluate

FAILURE = "failure.txt"


@dataclass(frozen=True)
class Job(Portable):
    """A row with a seed, as a process of its own gets it.

    Parameters
    ----------
    config
        The settings as plain values.
    data, files, digest
        The dataset as the user named it, its files, none where a store has it, and its content
        digest.
    folder
        Folder of the runs; each category has its own in it.
    places
        Where files are that the settings name, if elsewhere; see `files_at`.
    luggage, kept
        On another machine: what came with the job, and its files that hold the content of ours.
    """

    row: str
    method: str
    config: dict[str, Any]
    seed: int
    categories: tuple[str, ...]
    data: Path
    files: tuple[Path, ...]
    digest: str
    track: Track
    folder: Path
    machine: Machine
    places: Mapping[str, Path] = field(default_factory=dict)
    luggage: Luggage | None = None
    kept: Mapping[Path, Path] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The name of the job in messages."""
        only = f", {self.categories[0]}" if len(self.categories) == 1 else ""
        return f"{self.row}, seed {self.seed}{only}"

    @property
    def settings(self) -> Settings:
        """The settings of its method."""
        return method_class(self.method).Settings.from_mapping(self.config, self.row)

    def parts(self) -> Iterator[Job]:
        """Yield a job for each category, or itself where one training is for several."""
        if self.settings.learn_from:
            yield self
            return
        for category in self.categories:
            yield replace(self, categories=(category,))

    def shared(self) -> Collection[Path]:
        return set(self._packed({}).links.values())

    def packed(self) -> Job:
        """Take along what earlier processes left of it, so that it is carried on."""
        machine = self.machine
        if machine.workers is None:  # a worker of a cluster has one core
            machine = replace(machine, workers=0)
        begun = contents(self.folder, self._own_folders)
        return replace(self, luggage=self._packed(begun), machine=machine)

    def with_shared(self, files: Mapping[Path, bytes]) -> Job:
        return replace(self, kept={path: keep(content) for path, content in files.items()})

    def _packed(self, begun: Mapping[str, bytes]) -> Luggage:
        return pack(self.data, self.files, self.settings.given_files, begun)

    @property
    def _own_folders(self) -> list[str]:
        """Its folders in the folder: of its categories, and what their trainings share."""
        shared = getattr(method_class(self.method), "shared", None)
        return [*self.categories, *([shared] if shared and self.settings.learn_from else [])]

    def sent_back(self) -> dict[str, bytes]:
        """Return the content of the files that it made, by their names in its folder."""
        return contents(self.folder, [*self._own_folders, FAILURE])


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job.

    seconds : that it took. fault : why it does not work, "" where it does. files : that it made on
    another machine, by their names in its folder.
    """

    seconds: float
    fault: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


def run_job(job: Job) -> Outcome:
    """Train and evaluate what is not yet.

    Raises
    ------
    IVError
        It does not work, for whatever reason; a fault of the method's own code is told with its
        trace in the file FAILURE of the job's folder. On another machine that is an `Outcome`.
    """
    if job.luggage is not None:
        return _run_away(job, job.luggage)
    start = time.perf_counter()
    try:
        with open_dataset(job.data) as dataset, files_at(job.places):
            if dataset.digest != job.digest:
                raise InputError(f"{job.data}: was replaced by another file while in use")
            for _ in train_and_evaluate(
                dataset, list(job.categories), job.method, job.settings, job.seed, job.folder,
                job.machine, job.track, all_labelled=False,
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
    return Outcome(time.perf_counter() - start)


def _run_with_room(job: Job) -> Outcome:
    """Run a job; a full disk is an OSError, so that a worker of another machine tries it."""
    try:
        return run_job(job)
    except IVError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise cause from None
        raise


def _run_away(job: Job, luggage: Luggage) -> Outcome:
    """Do a job on a worker that has none of the sender's files."""
    with unpacked(luggage, job.kept) as (root, folder):
        own = replace(
            job,
            data=root / luggage.data if luggage.data else job.data,
            folder=folder,
            places={named: root / name for named, name in luggage.places.items()},
            luggage=None,
            kept={},
        )
        # as many at a time as there are cores, as other workers of the machine do the same
        with IsolatedExecutor(cores(), wanted) as executor:
            ((_, result),) = executor.run(_run_with_room, [own])
        files: dict[str, bytes] = {}
        try:
            files = own.sent_back()
        except IVError as too_large:
            result = too_large
    if not isinstance(result, IVError):
        return replace(result, files=files)
    said = str(result).replace(str(own.folder), str(job.folder))
    said = said.replace(str(own.data), str(job.data))
    return Outcome(0.0, f"{said} ({', '.join(job.categories)}, on {worker_name()})", files)
