# SPDX-License-Identifier: Apache-2.0
"""The build: plan -> base meshes -> samples -> one HDF5 file.

While it runs, everything lies in a folder beside the target; see `dataset.assembly.work_folder`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from annotations.vocabulary import WRONG_PART
from intravariance.building.plan import SampleJob, make_plan
from intravariance.building.settings import BuildSettings
from intravariance.building.tasks import (
    FamilyTask,
    MeshTask,
    SampleTask,
    make_family,
    prepare_mesh,
)
from intravariance.dataset.added_defects import find_defect, load_defect, recorded
from intravariance.dataset.assembly.sample_files import Finished, assemble
from intravariance.dataset.assembly.work_folder import (
    FinishedDataset,
    claim,
    finish,
    found_dataset,
    found_finished,
    locked_folder,
    plain_disk_errors,
)
from intravariance.dataset.provenance import code_digest, software
from intravariance.dataset.specification import Specification
from intravariance.errors import InputError, IVError
from intravariance.executors import Executor
from intravariance.files.atomic import check_target, write_whole
from intravariance.progress import say, track
from intravariance.sources import (
    BaseMesh,
    Choice,
    Source,
    choice_notes,
    choose,
    keep_prepared,
    parse_source,
)
from intravariance.sources.added import Added
from intravariance.verification.verify import failures

_CODE = ("annotations", "blender_scripts", "intravariance")
_PACKAGES = ("numpy", "scipy", "h5py", "point-cloud-utils")


@dataclass(frozen=True)
class BuildResult:
    """Hold path and content digest of the file, its samples, and refused draws by defect type."""

    path: Path
    digest: str
    samples: int
    rejections: dict[str, int]


@dataclass(frozen=True)
class _Work:
    """A build under way.

    partial : its folder. metadata : of its file. tasks : of all its samples, in the file's order.
    there : what is known of the file where it is there already, and nothing is to be done.
    """

    settings: BuildSettings
    out: Path
    partial: Path
    metadata: dict[str, Any]
    tasks: list[SampleTask]
    there: FinishedDataset | None = None

    def file(self, job: SampleJob) -> Path:
        return self.partial / "samples" / f"{job.id}.h5"


def build(
    settings: BuildSettings, out: Path, executor: Executor, force: bool = False, keep: bool = False
) -> BuildResult:
    """Build the dataset into `out` (.h5), or carry on with an interrupted build of it.

    executor : where base meshes and samples are made. keep : leave a file that is there as it is,
    also with `force`, where it is whole and is what would be built.

    Raises InputError when `out` exists (without `force`), when its partial folder belongs to a
    build with other settings, when base meshes are missing or bad, or when the disk is full;
    BackendUnavailable when Blender cannot be started; IVError when samples could not be made (the
    finished ones are kept), IntegrityError when the result does not verify.
    """
    check_target(out, force or keep)
    (result,) = build_together([(settings, out)], executor, force, keep)
    return result


def build_together(
    members: Sequence[tuple[BuildSettings, Path]],
    executor: Executor,
    force: bool = False,
    keep: bool = True,
) -> list[BuildResult]:
    """Build datasets whose samples share geometry, and make each defect once for all of them.

    members : settings and file of each. The settings give the same samples (by id, product and
    defect) and differ in what comes after the geometry: points, noise, scan. Each file is what
    `build` makes of its settings alone. keep : as of `build`. Raises as `build`.
    """
    with ExitStack() as stack:
        works: list[_Work] = []
        for settings, out in members:
            # what is said of base meshes is said once
            heard = replace(settings, quiet=settings.quiet or bool(works))
            works.append(stack.enter_context(_begun(heard, out, executor, force, keep)))
        made = _make_samples(works, executor)
        return [
            _finished(work, own, executor, force, works[0].settings.quiet)
            for work, own in zip(works, made, strict=True)
        ]


@contextmanager
def _begun(
    settings: BuildSettings, out: Path, executor: Executor, force: bool, keep: bool
) -> Iterator[_Work]:
    """Hold the partial folder of a build whose base meshes are prepared. Raises as `build`."""
    settings.check_units()
    _check_added_defects(settings.specification)
    source = parse_source(settings.source, settings.up, settings.follow_links)
    choices = choose(settings.specification, source, settings.samples.seed, settings.fill)
    for note in choice_notes(settings.specification, source, choices):
        say(f"base meshes: {note}", settings.quiet)
    with plain_disk_errors(out), locked_folder(out) as partial:
        bases, blender = _base_meshes(choices, settings, executor)
        products = {product: settings.of_product(base) for product, base in bases.items()}
        metadata: dict[str, Any] = {
            "identity": settings.identity(source.label, products) | extensions(source),
            "software": software(*_PACKAGES) | {"blender": blender},
        }
        made_with = {"base_meshes": _describe(bases), "code": _code(settings.specification)}
        jobs = make_plan(settings.specification, settings.samples.seed)
        if settings.shard is not None:
            jobs = settings.shard.part(jobs)
            metadata = settings.shard.mark(metadata, made_with)
        there = found_dataset(out, metadata) if keep else None
        if there is None:
            if keep and out.exists() and not force:
                raise InputError(
                    f"{out} exists, and is damaged or was made with other settings or another "
                    "version. Choose another --out, or replace it with --force."
                )
            check_target(out, force)
            claim(partial, metadata | made_with, out, force)
        tasks = [
            SampleTask(
                job, bases[product], products[product], settings.blender, _donors(job, bases)
            )
            for job in jobs
            for product in [(job.category, job.subcategory)]
        ]
        yield _Work(settings, out, partial, metadata, tasks, there)


def _finished(
    work: _Work, made: Sequence[Finished], executor: Executor, force: bool, quiet: bool
) -> BuildResult:
    """Write the dataset file of a build whose samples are made."""
    files = [work.file(task.job) for task in work.tasks]
    if work.there is not None:
        digest, made = work.there.digest, work.there.samples
    else:
        known = {one.id: one.row for one in made}
        rows = [known[task.job.id] for task in work.tasks]
        digest = finish(
            work.partial, files, work.metadata, work.out,
            lambda path: failures(path, executor), force, quiet,
            lambda path, files, metadata: assemble(path, files, metadata, rows),
        )  # fmt: skip
    return BuildResult(work.out, digest, len(files), _rejections(made))


def extensions(source: Source) -> dict[str, Any]:
    """Return {"extensions": [...]}, what installed packages add to a build; {} for nothing."""
    used = [source.extension] if isinstance(source, Added) else []
    return {"extensions": [extension.identity for extension in used]} if used else {}


def _check_added_defects(specification: Specification) -> None:
    """Raise InputError where defects that packages add are not those that are installed."""
    for known in specification.added_defects:
        extension = find_defect(known.name)
        if extension is None or recorded(extension) != known:
            found = (
                f"{extension.package} {extension.version}" if extension else "no package with it"
            )
            raise InputError(
                f"the specification's defect {known.name} is that of {known.package} "
                f"{known.version}, and {found} is installed"
            )


def _code(specification: Specification) -> str:
    """Return a digest of the code that makes samples, that of installed packages included."""
    added = set()
    for extension in filter(None, (find_defect(d.name) for d in specification.added_defects)):
        for place in (extension.entry.value, load_defect(extension).function):
            added.add(place.partition(":")[0].partition(".")[0])
    return code_digest(*_CODE, *sorted(added))


def default_cache() -> Path:
    """Return the user's cache folder for prepared base meshes."""
    return user_cache_path("intravariance")


def _base_meshes(
    choices: list[Choice], settings: BuildSettings, executor: Executor
) -> tuple[dict[tuple[str, str], BaseMesh], str]:
    """Prepare the base meshes; return them by category and subcategory, and Blender's version."""
    tasks = [
        MeshTask(choice, settings.cache, settings.skip_bad, settings.blender) for choice in choices
    ]
    bases, versions = {}, set()
    results = executor.run(prepare_mesh, tasks)
    for _, result in track(results, len(tasks), "base meshes", settings.quiet):
        if isinstance(result, IVError):
            raise result
        base, warnings, version, content = result
        if content is not None:
            base = replace(base, path=keep_prepared(settings.cache, base.path.name, content))
        for warning in warnings:
            say(f"warning: {warning}")
        bases[base.category, base.subcategory] = base
        versions.add(version)
    if len(versions) > 1:
        raise InputError(f"workers have different Blenders: {', '.join(sorted(versions))}")
    _check_different(bases)
    return bases, ", ".join(sorted(versions))


def _check_different(bases: dict[tuple[str, str], BaseMesh]) -> None:
    """Raise InputError when two products are one mesh under two names."""
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


def _make_samples(works: Sequence[_Work], executor: Executor) -> list[list[Finished]]:
    """Make the samples that are not there yet; return what there is to know of each build's."""
    made, left = _found(works)
    failed = []
    results = executor.run(make_family, left)
    quiet = works[0].settings.quiet
    for family, result in track(results, len(left), "samples", quiet):
        each = dict.fromkeys(family.tasks, result) if isinstance(result, IVError) else result
        for number, one in each.items():
            job, work = family.tasks[number].job, works[number]
            if isinstance(one, IVError):
                which = f"{work.out.name}: " if len(works) > 1 else ""
                failed.append(f"{which}{job.id} ({job.subcategory}, {job.defect}): {one}")
                continue
            content, known = one
            write_whole(work.file(job), content, flush=False)  # `found_finished` checks it
            made[number].append(known)
    if failed:
        shown = "\n".join(f"  {failure}" for failure in failed[:20])
        folders = ", ".join(str(work.partial) for work in works)
        raise IVError(
            f"{len(failed)} of {sum(len(work.tasks) for work in works)} samples could not be made; "
            f"the others are kept in {folders}:\n{shown}"
        )
    return made


def _found(works: Sequence[_Work]) -> tuple[list[list[Finished]], list[FamilyTask]]:
    """Return what there is to know of the samples that exist, and the tasks that are left.

    These come product by product: Blender keeps what it worked out of the last ones.
    """
    made: list[list[Finished]] = [[] for _ in works]
    left: list[FamilyTask] = []
    unfinished = {number: work for number, work in enumerate(works) if work.there is None}
    for place in range(len(works[0].tasks)):
        family: dict[int, SampleTask] = {}
        for number, work in unfinished.items():
            task = work.tasks[place]
            known = found_finished(work.file(task.job), task.job.id)
            if known is None:
                family[number] = task
            else:
                made[number].append(known)
        left += [FamilyTask(family)] if family else []
    if count := sum(map(len, made)):
        total = sum(len(work.tasks) for work in unfinished.values())
        say(f"carrying on: {count} of {total} samples exist", works[0].settings.quiet)
    return made, sorted(left, key=lambda family: family.product)


def _donors(job: SampleJob, bases: Mapping[tuple[str, str], BaseMesh]) -> dict[str, Path]:
    """Return the files of the products that may give a part, for a job that needs one."""
    if job.defect != WRONG_PART:
        return {}
    return {
        subcategory: base.path
        for (category, subcategory), base in sorted(bases.items())
        if category == job.category and subcategory != job.subcategory
    }


def _rejections(made: Iterable[Finished]) -> dict[str, int]:
    """Count the refused draws for each defect type that had some."""
    rejections: Counter[str] = Counter()
    for sample in made:
        rejections[sample.defect] += sample.rejections
    return dict(+rejections)
