# SPDX-License-Identifier: Apache-2.0
"""The build: plan -> base meshes -> samples -> one HDF5 file.

While it runs, everything lies in a folder beside the target; see `partial_folder`.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from intravariance.building.blender import BlenderWorker
from intravariance.building.plan import SampleJob, make_plan
from intravariance.building.sample import SampleSettings, make_sample
from intravariance.dataset.provenance import code_digest
from intravariance.dataset.specification import Specification
from intravariance.dataset.work_folder import (
    claim,
    finish,
    finished_points,
    locked_folder,
    plain_disk_errors,
)
from intravariance.errors import InputError, IVError
from intravariance.executors.processes import Processes
from intravariance.files.atomic import check_target
from intravariance.geometry.mesh import Mesh
from intravariance.progress import say, track
from intravariance.sources import (
    BaseMesh,
    Choice,
    Up,
    choose,
    load_base_mesh,
    parse_source,
    prepare,
)
from intravariance.verification.verify import failures

_PACKAGES = ("annotations", "blender_scripts", "intravariance")


@dataclass(frozen=True)
class BuildSettings:
    """Everything that decides the content of a dataset, and where to work.

    source : "procedural", "folder:PATH", "modelnet40:PATH" or "shapenet:PATH".
    up : the axis that points up in the source's files, None for the layout's own.
    fill : take embedded designs where the source has too few meshes. skip_bad : leave out base
    meshes that cannot be used. blender : a Blender program, None for the bpy wheel.
    cache : folder for prepared base meshes. jobs : worker processes.
    """

    specification: Specification
    samples: SampleSettings
    source: str
    cache: Path
    up: Up | None = None
    fill: bool = False
    skip_bad: bool = False
    blender: Path | None = None
    jobs: int = 1
    quiet: bool = False

    def identity(self, source_label: str) -> dict[str, Any]:
        """What decides the content, as JSON-able data; stored in the file and part of its digest.

        The base meshes themselves are named, with their hashes, by the samples' parameters.
        """
        return {
            "specification": self.specification.to_dict(),
            "source": source_label,
            "up": self.up,
            "seed": self.samples.seed,
            "pose": self.samples.pose,
            "noise_sigma": self.samples.noise_sigma,
        }


@dataclass(frozen=True)
class BuildResult:
    """path and content digest of the file; samples in it; refused draws for each defect type."""

    path: Path
    digest: str
    samples: int
    rejections: dict[str, int]


@dataclass(frozen=True)
class _MeshTask:
    choice: Choice
    settings: BuildSettings


@dataclass(frozen=True)
class _SampleTask:
    job: SampleJob
    base: BaseMesh
    settings: BuildSettings
    shard: Path


def build(settings: BuildSettings, out: Path, force: bool = False) -> BuildResult:
    """Build the dataset into `out` (.h5), or carry on with an interrupted build of it.

    Raises InputError when `out` exists (without `force`), when its partial folder belongs to a
    build with other settings, when base meshes are missing or bad, or when the disk is full;
    IVError when samples could not be made (the finished ones are kept), IntegrityError when the
    result does not verify.
    """
    check_target(out, force)
    source = parse_source(settings.source, settings.up)
    choices = choose(settings.specification, source, settings.samples.seed, settings.fill)
    metadata: dict[str, Any] = {
        "identity": settings.identity(source.label),
        "software": _software(settings),
    }
    with (
        plain_disk_errors(out),
        locked_folder(out) as partial,
        Processes(settings.jobs) as processes,
    ):
        bases = _base_meshes(choices, settings, processes)
        claim(
            partial,
            metadata | {"base_meshes": _describe(bases), "code": code_digest(*_PACKAGES)},
            out,
            force,
        )
        jobs = make_plan(settings.specification, settings.samples.seed)
        shards = [partial / "samples" / f"{job.id}.h5" for job in jobs]
        tasks = [
            _SampleTask(job, bases[job.category, job.subcategory], settings, shard)
            for job, shard in zip(jobs, shards, strict=True)
        ]
        _make_samples(tasks, settings, processes, partial)
        digest = finish(partial, shards, metadata, out, failures, force, settings.quiet)
    return BuildResult(out, digest, len(shards), _rejections(out))


def default_cache() -> Path:
    """The user's cache folder for prepared base meshes."""
    from platformdirs import user_cache_path

    return user_cache_path("intravariance")


def _software(settings: BuildSettings) -> dict[str, str]:
    with BlenderWorker(settings.blender) as blender:
        blender_versions = blender.versions()
    packages = ("numpy", "scipy", "h5py", "trimesh", "point-cloud-utils")
    return {
        "iv": version("intravariance"),
        "python": ".".join(map(str, sys.version_info[:3])),
        "blender": blender_versions["blender"],
        **{package: version(package) for package in packages},
    }


def _base_meshes(
    choices: list[Choice], settings: BuildSettings, processes: Processes
) -> dict[tuple[str, str], BaseMesh]:
    tasks = [_MeshTask(choice, settings) for choice in choices]
    bases = {}
    results = processes.run(_prepare_mesh, tasks)
    for _, result in track(results, len(tasks), "base meshes", settings.quiet):
        if isinstance(result, IVError):
            raise result
        base, warnings = result
        for warning in warnings:
            say(f"warning: {warning}")
        bases[base.category, base.subcategory] = base
    _check_different(bases)
    return bases


def _check_different(bases: dict[tuple[str, str], BaseMesh]) -> None:
    """Two products must not be one mesh under two names."""
    first: dict[str, BaseMesh] = {}
    for base in bases.values():
        other = first.setdefault(base.sha256, base)
        if other is not base:
            raise InputError(
                f"{base.category}/{base.subcategory} ({base.origin}) and {other.category}/"
                f"{other.subcategory} ({other.origin}) are the same mesh; remove one of the files"
            )


def _describe(bases: dict[tuple[str, str], BaseMesh]) -> dict[str, str]:
    return {f"{c}/{s}": f"{base.origin} {base.sha256}" for (c, s), base in sorted(bases.items())}


def _make_samples(
    tasks: list[_SampleTask], settings: BuildSettings, processes: Processes, partial: Path
) -> None:
    left = [task for task in tasks if finished_points(task.shard, task.job.id) is None]
    if len(left) < len(tasks):
        say(f"carrying on: {len(tasks) - len(left)} of {len(tasks)} samples exist", settings.quiet)
    failures = []
    results = processes.run(_make_shard, left)
    for task, result in track(results, len(left), "samples", settings.quiet):
        if isinstance(result, InputError):  # no space: the other samples would fail as well
            raise result
        if isinstance(result, IVError):
            failures.append(f"{task.job.id} ({task.job.subcategory}, {task.job.defect}): {result}")
    if failures:
        shown = "\n".join(f"  {failure}" for failure in failures[:20])
        raise IVError(
            f"{len(failures)} of {len(tasks)} samples could not be made; the others are kept in "
            f"{partial}:\n{shown}"
        )


def _rejections(path: Path) -> dict[str, int]:
    """Refused draws for each defect type, as the samples of a file record them."""
    from intravariance.dataset.store import open_dataset

    rejections: Counter[str] = Counter()
    with open_dataset(path) as dataset:
        for record in dataset:
            rejections[record.defect] += len(record.parameters.get("rejections", ()))
    return dict(+rejections)


# What runs in the worker processes. Each keeps one Blender process and the meshes it used last.

_blender: BlenderWorker | None = None


def _worker_blender(settings: BuildSettings) -> BlenderWorker:
    global _blender
    if _blender is None:
        _blender = BlenderWorker(settings.blender)
    return _blender


@lru_cache(maxsize=8)
def _cached_base_mesh(path: Path) -> Mesh:
    return load_base_mesh(path)


def _prepare_mesh(task: _MeshTask) -> tuple[BaseMesh, list[str]]:
    settings = task.settings
    return prepare(
        task.choice,
        cache=settings.cache,
        skip_bad=settings.skip_bad,
        blender=_worker_blender(settings),
    )


def _make_shard(task: _SampleTask) -> None:
    from intravariance.dataset.store import write_shard

    with plain_disk_errors(task.shard):
        sample = make_sample(
            task.job,
            _cached_base_mesh(task.base.path),
            f"{task.base.origin} sha256:{task.base.sha256}",
            task.settings.samples,
            _worker_blender(task.settings),
        )
        write_shard(task.shard, sample)
