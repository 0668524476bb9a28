# SPDX-License-Identifier: Apache-2.0
"""Somebody else's clouds, in any layout that `exchange.layouts` reads, as a dataset file.

Clouds are read by worker processes, one file a sample in a folder beside the target (see
`dataset.assembly.work_folder`), and assembled. The file says that it is imported, and from what;
its specification is what was found.

Frame ("auto"). Where the training clouds of a category fill about the unit ball around 0 already,
as ours do, all its coordinates are kept bit for bit. Elsewhere each cloud is moved so that its
centroid is 0, and all clouds of the category are divided by one length: the largest distance of a
point from the centroid in any of its training clouds (in any cloud, where it has no training
clouds). One length for all keeps the defects' share of it, and says nothing of the label.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any, Literal

from intravariance.cloud_files import AS_WRITTEN, SUFFIXES, ReadingChoices
from intravariance.cloud_files.choices import ANOMALOUS_LABELS, DROP_NO_RETURN
from intravariance.dataset.assembly.work_folder import (
    claim,
    finish,
    found_finished,
    kept,
    locked_folder,
    plain_disk_errors,
)
from intravariance.dataset.provenance import code_digest
from intravariance.dataset.specification import Specification
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.exchange.importing.chosen import dropped_points, without_choices
from intravariance.exchange.importing.exported_from import exported_from
from intravariance.exchange.importing.found import (
    found_metadata,
    found_specification,
    too_few_points,
    unlabelled_samples,
)
from intravariance.exchange.importing.mesh_templates import (
    BY_THE_RULE,
    MeshTemplates,
    with_mesh_points,
)
from intravariance.exchange.importing.names import name_scans, tree_name, valid_name
from intravariance.exchange.importing.problems import (
    file_and_reason,
    refusal,
    without_root,
)
from intravariance.exchange.importing.sample import (
    BadScan,
    CloudExtent,
    ImportFrame,
    ImportJob,
    cloud_extent,
    make_sample_file,
    state_of,
)
from intravariance.exchange.importing.thinning import KEEP_ALL, Thinning, thinning_note
from intravariance.exchange.layouts import (
    PARQUET_LAYOUT,
    READERS,
    AddedLayout,
    detect_layout,
    find_scans,
    layout_reader,
)
from intravariance.exchange.layouts.entries import EXPORT_RECORD
from intravariance.exchange.layouts.scan import shown_problems
from intravariance.exchange.layouts.side_file import SIDE_FILE
from intravariance.exchange.layouts.unread import NOTHING_LEFT_OUT, LeftOut, left_out
from intravariance.exchange.parquet.reading import is_parquet_export, restore_dataset
from intravariance.executors import Executor, run_all
from intravariance.files.atomic import check_target, write_whole
from intravariance.files.provenance import PROVENANCE
from intravariance.progress import say
from intravariance.verification.verify import failures

Normalise = Literal["auto", "none"]

# A category's training clouds reach this far from 0, in its unit: they are in our frame already.
# `mc4ad_model` registers clouds to products of about this size.
OUR_FRAME = (0.6, 1.4)


@dataclass(frozen=True)
class ImportSettings:
    """layout : what `layout_reader` knows, or "auto". path : a folder or .zip file. name : of the
    file's specification, "" for the folder's. skip_bad : leave out clouds that cannot be used.
    normalise : "none" keeps all coordinates. follow_links : also those that lead out of `path`.
    unlabelled : nothing is known of scans whose folder does not tell. meshes : what is done with
    templates that are meshes. thinning : of each scan. scan_noise : standard deviation of the
    scans' noise on each coordinate, in the unit of their files; None where nobody knows it.
    choices : what the user says of the files. train_cut : see `find_scans`."""

    layout: str
    path: Path
    name: str = ""
    normalise: Normalise = "auto"
    skip_bad: bool = False
    quiet: bool = False
    follow_links: bool = False
    unlabelled: bool = False
    meshes: MeshTemplates = BY_THE_RULE
    thinning: Thinning = KEEP_ALL
    scan_noise: float | None = None
    choices: ReadingChoices = AS_WRITTEN
    train_cut: bool = False

    def __post_init__(self) -> None:
        if self.scan_noise is not None and not 0 <= self.scan_noise < inf:
            raise InputError(f"--scan-noise {self.scan_noise}: expected a length, or 0")


@dataclass(frozen=True)
class ImportResult:
    """path, content digest and specification of the file; skipped : scan or file -> why.
    unlabelled : samples whose points have no labels.
    left_out : files that are not read. dropped : sample -> its rows that were no points."""

    path: Path
    digest: str
    specification: Specification
    skipped: dict[str, str]
    unlabelled: int = 0
    left_out: LeftOut = NOTHING_LEFT_OUT
    dropped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportPlan:
    """An import before it starts. jobs : in the order of the file. identity : without what is found
    on the way (the specification and the frames). skipped : what the layout's listing left out.
    fewest_points : that a cloud of a collation should have. left_out : files that are not read."""

    name: str
    title: str
    root: Path
    jobs: tuple[ImportJob, ...]
    identity: dict[str, Any]
    normalise: Normalise
    skipped: dict[str, str]
    fewest_points: int = 0
    meshes: MeshTemplates = BY_THE_RULE
    left_out: LeftOut = NOTHING_LEFT_OUT


def import_dataset(
    settings: ImportSettings, out: Path, executor: Executor, force: bool = False
) -> ImportResult:
    """Import a tree into `out` (.h5), or carry on with an interrupted import of it.

    executor : where clouds are read. Raises InputError for an unknown layout, when the tree is not
    in the layout, when clouds cannot be used (without `skip_bad`), when `out` exists (without
    `force`), or when the disk is full; IntegrityError when the result does not verify.
    """
    check_target(out, force)
    if restores(settings):
        return _restored(settings, out, force)
    plan = plan_import(settings)
    return run_import(plan, out, executor, settings.skip_bad, settings.quiet, force)


def restores(settings: ImportSettings) -> bool:
    """Return whether the tree is an export that lost nothing, so that one process restores it."""
    if settings.layout == "auto":
        return is_parquet_export(settings.path)
    return settings.layout == PARQUET_LAYOUT


def _restored(settings: ImportSettings, out: Path, force: bool) -> ImportResult:
    """Bring back the file from an export that lost nothing."""
    needless = {
        "--name": settings.name != "",
        "--normalise": settings.normalise != "auto",
        "--skip-bad": settings.skip_bad,
        "--follow-links": settings.follow_links,
        "--unlabelled": settings.unlabelled,
        "--mesh-templates, --template-points": settings.meshes != BY_THE_RULE,
        "--voxel, --max-points": bool(settings.thinning),
        "--scan-noise": settings.scan_noise is not None,
        DROP_NO_RETURN: settings.choices.drop_no_return,
        ANOMALOUS_LABELS: settings.choices.anomalous is not None,
        "--train-cut": settings.train_cut,
    }
    if given := [option for option, is_given in needless.items() if is_given]:
        raise no_use(*given)
    digest = restore_dataset(settings.path, out, force, settings.quiet)
    with open_dataset(out) as dataset:
        return ImportResult(out, digest, dataset.specification, {}, unlabelled_samples(dataset))


def no_use(*options: str) -> InputError:
    """Return the error of options that mean nothing where a file comes back as it was."""
    return InputError(
        f"{', '.join(options)}: of no use with hf-parquet, from which one process makes the "
        "dataset file as it was"
    )


def _layout(settings: ImportSettings) -> str:
    """Return the layout's name. Raises InputError for an unknown one, and where none is seen."""
    layout = settings.layout
    if layout == "auto":
        layout = detect_layout(settings.path, settings.follow_links) or ""
        if not layout:
            names = ", ".join((*READERS, PARQUET_LAYOUT))
            raise InputError(
                f"{settings.path}: no layout is recognised, as it holds no point cloud "
                f"({' '.join(SUFFIXES)}); name one of {names}"
            )
    return layout


def plan_import(settings: ImportSettings) -> ImportPlan:
    """List a tree and give its scans their names. Raises as `find_scans` does."""
    layout = _layout(settings)
    reader = layout_reader(layout)
    problems: list[str] = []
    skipped = problems if settings.skip_bad else None
    scans = find_scans(
        layout,
        settings.path,
        skipped,
        settings.follow_links,
        settings.unlabelled,
        choices=settings.choices,
        train_cut=settings.train_cut,
    )
    scans = [s for s in scans if not any(p.startswith(f"{s.paths[0]}: ") for p in problems)]
    if not scans:
        raise InputError(f"{settings.path}: no cloud in it can be used:\n" + "\n".join(problems))
    tree = tree_name(settings.path)
    jobs, renamed = name_scans(scans, tree)
    say(
        f"{layout}: {len(jobs)} clouds of {len({job.category for job in jobs})} categories",
        settings.quiet,
    )
    for old, new in renamed.items():
        say(f"name rewritten: {old!r} is {new!r} in the file")  # also with --quiet
    bad = [file_and_reason(problem, settings.path)[0] for problem in problems]
    unread = left_out(scans[0].tree, scans, (EXPORT_RECORD, SIDE_FILE, PROVENANCE, *bad))
    for line in unread.lines(str(settings.path)):
        say(line)
    imported = _imported(settings, layout, tree) | exported_from(scans[0].tree)
    added = [reader.extension.identity] if isinstance(reader, AddedLayout) else []
    return ImportPlan(
        name=valid_name(settings.name or tree, "imported"),
        title=settings.name or tree,
        root=settings.path,
        jobs=tuple(replace(job, thinning=settings.thinning) for job in jobs),
        identity={
            "source": f"{layout}:{tree}",
            "seed": 0,
            "pose": "as given",
            "noise_sigma": 0.0,
            "imported": imported | ({"renamed": renamed} if renamed else {}),
            **({"extensions": added} if added else {}),
        },
        normalise=settings.normalise,
        skipped=dict(file_and_reason(problem, settings.path) for problem in problems),
        meshes=settings.meshes,
        left_out=unread,
    )


def _imported(settings: ImportSettings, layout: str, tree: str) -> dict[str, Any]:
    """Say how a tree is imported, as far as the settings tell."""
    imported: dict[str, Any] = {"layout": layout, "tree": tree, "normalise": settings.normalise}
    imported |= settings.choices.to_dict()
    if settings.train_cut:
        imported["train_cut"] = True
    if settings.scan_noise is not None:
        imported["scan_noise"] = settings.scan_noise
    if settings.thinning:
        imported["thinning"] = settings.thinning.to_dict()
    return imported


def run_import(
    plan: ImportPlan, out: Path, executor: Executor, skip_bad: bool, quiet: bool, force: bool
) -> ImportResult:
    """Make the file of a plan; see `import_dataset`."""
    settings = {
        # the same import with other choices carries on: each cloud's file knows its own
        "identity": without_choices(plan.identity),
        "name": plan.name,
        "normalise": plan.normalise,
        "code": code_digest("annotations", "intravariance"),
    }
    with plain_disk_errors(out), locked_folder(out) as partial:
        claim(partial, settings, out, force, "import")
        plan = replace(plan, jobs=tuple(with_mesh_points(plan.jobs, plan.meshes, executor, quiet)))
        frames = _frames(plan, executor, skip_bad, quiet, kept(partial))
        its_jobs = [replace(job, frame=frames.get(job.group, ImportFrame())) for job in plan.jobs]
        files = {job.id: partial / "samples" / f"{job.id}.{state_of(job)}.h5" for job in its_jobs}
        made, bad = _make_sample_files(its_jobs, files, executor, plan.root, quiet)
        skipped = plan.skipped | bad
        if bad and not skip_bad:
            raise refusal(bad, len(its_jobs), kept(partial))
        if not made:
            raise InputError(
                f"{plan.root}: none of its clouds can be used:\n"
                f"  {shown_problems(skipped.values())}{kept(partial)}"
            )
        chosen = [job for job in its_jobs if job.id in made]
        specification = found_specification(plan, chosen, made)
        few = too_few_points(plan, [made[job.id] for job in chosen])
        if few:
            say(f"differs: {few}", quiet)
        metadata = found_metadata(plan, specification, frames, skipped, few)
        parts = [files[job.id] for job in chosen]
        digest = finish(
            partial, parts, metadata, out, lambda path: failures(path, executor), force, quiet
        )
    with open_dataset(out) as dataset:
        if note := thinning_note(dataset):
            say(note, quiet)
        return ImportResult(
            out, digest, specification, skipped, unlabelled_samples(dataset), plan.left_out,
            dropped_points(dataset),
        )  # fmt: skip


def _frames(
    plan: ImportPlan, executor: Executor, skip_bad: bool, quiet: bool, kept_samples: str
) -> dict[str, ImportFrame]:
    """Return the frame of each group of clouds. kept_samples : how a refusal ends."""
    groups = list(dict.fromkeys(job.group for job in plan.jobs))
    if plan.normalise == "none":
        return dict.fromkeys(groups, ImportFrame())
    extents: dict[str, list[CloudExtent]] = defaultdict(list)
    for split in ("train", "test"):  # the latter only where there is nothing of the former
        scans = {
            job.scan.id: job
            for job in plan.jobs
            if job.scan.split == split and job.group not in extents
        }
        asked = list(scans.values())
        label = "sizes of training clouds" if split == "train" else "sizes of test clouds"
        bad: dict[str, str] = {}
        for job, result in run_all(executor, cloud_extent, asked, label, quiet):
            if isinstance(result, BadScan):
                bad[job.scan.id] = without_root(result.reason, plan.root)
            else:
                extents[job.group].append(result)
        if bad and not skip_bad:
            raise refusal(bad, len(scans), kept_samples)
    return {group: _frame(extents[group]) for group in groups if extents[group]}


def _frame(extents: Sequence[CloudExtent]) -> ImportFrame:
    low, high = OUR_FRAME
    if all(low <= extent.reach <= high for extent in extents):
        return ImportFrame()
    return ImportFrame(max(extent.radius for extent in extents))


def _make_sample_files(
    jobs: Sequence[ImportJob],
    files: Mapping[str, Path],
    executor: Executor,
    root: Path,
    quiet: bool,
) -> tuple[dict[str, int], dict[str, str]]:
    """Make samples; return their numbers of points, and the reasons of bad scans, by id."""
    found = (found_finished(files[job.id], job.id) for job in jobs)
    made = {sample.id: sample.n_points for sample in found if sample is not None}
    if made:
        say(f"carrying on: {len(made)} of {len(jobs)} samples exist", quiet)
    left = [job for job in jobs if job.id not in made]
    bad: dict[str, str] = {}
    for job, result in run_all(executor, make_sample_file, left, "clouds", quiet):
        if isinstance(result, BadScan):
            bad[job.scan.id] = without_root(result.reason, root)
        else:
            content, sample = result
            write_whole(files[job.id], content, flush=False)  # `found_finished` checks it
            made[job.id] = sample.n_points
    return made, bad
