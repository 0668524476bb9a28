# SPDX-License-Identifier: Apache-2.0
"""The build: plan -> base meshes -> samples -> one HDF5 file.

While it runs, everything lies in `<out>.partial/` beside the target: one small file for each
finished sample, each written whole or not at all. The same command started again carries on from
there. The dataset file is assembled in that folder too, verified, and only then moved into place.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from intravariance.blender import BlenderWorker
from intravariance.code_digest import code_digest
from intravariance.errors import InputError, IntegrityError, IVError
from intravariance.executors import Processes
from intravariance.mesh import Mesh
from intravariance.plan import SampleJob, make_plan
from intravariance.progress import say, track
from intravariance.sample import SampleSettings, make_sample
from intravariance.sources import (
    BaseMesh,
    Choice,
    Up,
    choose,
    load_base_mesh,
    parse_source,
    prepare,
)
from intravariance.specification import Specification
from intravariance.writing import check_target

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
    with _plain_disk_errors(out), _locked(out) as partial, Processes(settings.jobs) as processes:
        bases = _base_meshes(choices, settings, processes)
        _claim(
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
        result = _finish(partial, shards, metadata, out, force, settings.quiet)
        shutil.rmtree(partial)
    return result


def default_cache() -> Path:
    """The user's cache folder for prepared base meshes."""
    from platformdirs import user_cache_path

    return user_cache_path("intravariance")


@contextmanager
def _locked(out: Path) -> Iterator[Path]:
    """The partial folder, held by this process alone; removed again if nothing came of it."""
    from filelock import FileLock, Timeout

    partial = out.with_name(out.name + ".partial")
    try:
        (partial / "samples").mkdir(parents=True, exist_ok=True)
        lock = FileLock(partial / "lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another process is building {out} ({partial}/lock is held)") from None
    except OSError as error:
        raise InputError(f"--out {out}: cannot write beside it ({error.strerror})") from error
    try:
        yield partial
    finally:
        if partial.exists() and not any((partial / "samples").iterdir()):
            shutil.rmtree(partial)
        lock.release()


@contextmanager
def _plain_disk_errors(out: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        if _is_disk_full(error):
            raise InputError(
                f"no space left for {out}; what is finished is kept beside it: free some space "
                "and run the same command again"
            ) from error
        raise


def _is_disk_full(error: Exception) -> bool:
    """Whether the system refused to write more. h5py gives its number in the message only."""
    number = getattr(error, "errno", None)
    if number is None and (found := re.search(r"errno = (\d+)", str(error))):
        number = int(found[1])
    return number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _claim(partial: Path, settings: dict[str, Any], out: Path, force: bool) -> None:
    """Make sure that the samples in the partial folder were made with the same settings."""
    record = partial / "build.json"
    text = json.dumps(settings, indent=1, sort_keys=True)
    found = record.read_text(encoding="utf-8", errors="replace") if record.exists() else None
    if found != text and any((partial / "samples").iterdir()):
        if not force:
            raise InputError(
                f"{partial} holds an unfinished build of {out.name} with other settings or another "
                f"version (see {record}). Finish it with its own command, choose another --out, "
                "or discard it with --force."
            )
        shutil.rmtree(partial / "samples")
        (partial / "samples").mkdir()
    temporary = record.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(record)


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
    left = [task for task in tasks if not _is_finished(task)]
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


def _is_finished(task: _SampleTask) -> bool:
    from intravariance.store import read_shard

    try:
        return read_shard(task.shard).id == task.job.id
    except (InputError, IntegrityError):
        return False


def _finish(
    partial: Path,
    shards: list[Path],
    metadata: dict[str, Any],
    out: Path,
    force: bool,
    quiet: bool,
) -> BuildResult:
    """Assemble, verify, move into place."""
    from intravariance.store import assemble, open_dataset
    from intravariance.verify import verify

    assembled = partial / "assembled.h5"
    digest = assemble(assembled, shards, metadata)
    say("verifying", quiet)
    report = verify(assembled, probes=False)
    if not report.passed:
        raise IntegrityError(f"the assembled file does not verify: {'; '.join(report.failures())}")
    rejections: Counter[str] = Counter()
    with open_dataset(assembled) as dataset:
        for record in dataset:
            rejections[record.defect] += len(record.parameters.get("rejections", ()))
    check_target(out, force)  # again: it may have appeared meanwhile
    os.replace(assembled, out)
    return BuildResult(out, digest, len(shards), dict(+rejections))


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
    from intravariance.store import write_shard

    with _plain_disk_errors(task.shard):
        sample = make_sample(
            task.job,
            _cached_base_mesh(task.base.path),
            f"{task.base.origin} sha256:{task.base.sha256}",
            task.settings.samples,
            _worker_blender(task.settings),
        )
        write_shard(task.shard, sample)
