# SPDX-License-Identifier: Apache-2.0
"""The tasks of workers in a build (prepare a base mesh, make a sample), and how they travel.

Each worker keeps one Blender process, and the meshes that it used last. On a machine without our
files the content of meshes comes with the task, and what is made goes back as bytes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from annotations.vocabulary import NORMAL
from intravariance.building.blender import blender_worker
from intravariance.building.plan import SampleJob
from intravariance.building.remembering import MakesDefects, Remembering
from intravariance.building.sample import Donors, SampleSettings, make_sample
from intravariance.dataset.assembly.sample_files import Finished, finished, sample_bytes
from intravariance.errors import BackendUnavailable, IVError
from intravariance.executors import BLENDER, Portable
from intravariance.geometry.mesh import Mesh
from intravariance.sources import BaseMesh, Choice, load_base_mesh, prepare
from intravariance.sources.choosing import RESERVES_SENT
from intravariance.sources.repair import KEPT


@dataclass(frozen=True)
class MeshTask(Portable):
    """cache : None on another machine, for a folder that ends with the task; else as in
    `BuildSettings`, as are skip_bad and blender."""

    choice: Choice
    cache: Path | None
    skip_bad: bool
    blender: Path | None

    needs = BLENDER

    @property
    def title(self) -> str:
        return f"{self.choice.category}/{self.choice.subcategory}"

    def packed(self) -> MeshTask:
        most = RESERVES_SENT if self.skip_bad else 1
        return replace(self, choice=self.choice.carried(most), cache=None)


@dataclass(frozen=True)
class SampleTask(Portable):
    """donors : files of the category's other products, by subcategory, where one gives a part.
    meshes : contents of files, where they came with the task."""

    job: SampleJob
    base: BaseMesh
    settings: SampleSettings
    blender: Path | None
    donors: Mapping[str, Path]
    meshes: Mapping[Path, bytes] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return self.job.id

    @property
    def needs(self) -> str:
        return "" if self.job.defect == NORMAL else BLENDER

    def shared(self) -> Collection[Path]:
        return {self.base.path, *self.donors.values()}

    def with_shared(self, files: Mapping[Path, bytes]) -> SampleTask:
        return replace(self, meshes=files)

    def mesh(self, path: Path) -> Mesh:
        """Return the mesh of one of the files."""
        return _base_mesh(self.meshes.get(path, path))


@dataclass(frozen=True)
class FamilyTask(Portable):
    """The same sample of builds that differ in what comes after the geometry.

    tasks : by the build's number; one for most builds.
    """

    tasks: Mapping[int, SampleTask]

    @property
    def _first(self) -> SampleTask:
        return next(iter(self.tasks.values()))

    @property
    def product(self) -> tuple[str, str]:
        """Its category and subcategory."""
        return self._first.job.category, self._first.job.subcategory

    @property
    def title(self) -> str:
        return self._first.title

    @property
    def needs(self) -> str:
        return self._first.needs

    def shared(self) -> Collection[Path]:
        return self._first.shared()

    def with_shared(self, files: Mapping[Path, bytes]) -> FamilyTask:
        return FamilyTask({n: task.with_shared(files) for n, task in self.tasks.items()})


@lru_cache(maxsize=8)
def _base_mesh(file: Path | bytes) -> Mesh:
    return load_base_mesh(file)


def prepare_mesh(task: MeshTask) -> tuple[BaseMesh, list[str], str, bytes | None]:
    """Prepare a base mesh; return it, warnings, and the version of Blender, which samples need.

    Where the task has no cache, the last is the content of the mesh's file, else None.
    """
    blender = blender_worker(task.blender)
    version = blender.versions()["blender"]
    with TemporaryDirectory() as own:
        cache = task.cache or Path(own)
        base, warnings = prepare(task.choice, cache, task.skip_bad, blender)
        return base, warnings, version, None if task.cache else base.path.read_bytes()


def make_family(family: FamilyTask) -> dict[int, tuple[bytes, Finished] | IVError]:
    """Make a sample of several builds, each of its defects once.

    Returns by the build's number the content of the sample's file and what there is to know of it,
    or why it could not be made.
    """
    tasks = family.tasks
    worker = blender_worker(next(iter(tasks.values())).blender)
    blender = worker if len(tasks) == 1 else Remembering(worker)
    made: dict[int, tuple[bytes, Finished] | IVError] = {}
    for number, task in tasks.items():
        try:
            made[number] = _sample_file(task, blender)
        except BackendUnavailable:
            raise
        except IVError as error:
            made[number] = error
    return made


def _sample_file(task: SampleTask, blender: MakesDefects) -> tuple[bytes, Finished]:
    origin = f"{task.base.origin} sha256:{task.base.sha256}"
    mesh = task.mesh(task.base.path)
    radius = task.base.unit_radius or math.nan
    donors = Donors(tuple(task.donors), lambda name: task.mesh(task.donors[name]))
    sample = make_sample(task.job, mesh, origin, task.settings, blender, radius, donors)
    if task.base.repair != KEPT:
        repair = {"repair": task.base.repair, "surface_error": task.base.surface_error}
        sample = replace(sample, parameters=sample.parameters | repair)
    return sample_bytes(sample), finished(sample)
