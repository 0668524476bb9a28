# SPDX-License-Identifier: Apache-2.0
"""The clouds that `iv inspect` looks at: real defects, and pseudo-anomalies made beside them.

Every defective sample of the file has a counterpart by each generator, on the same product
(`methods.mc4ad.pseudo_samples`). Each is a task that is made, measured and forgotten in a worker
process, so memory does not grow with the file. Real defects are the file's own, made in Blender, or
those that the user brings (another dataset file, a folder of scans); the file's own are then one
more kind that claims to be real.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from annotations.vocabulary import DISPLACEMENT_THRESHOLD, NORMAL
from intravariance.dataset.assembly.sample_files import carried
from intravariance.dataset.provenance import code_digest, made_with, software
from intravariance.dataset.sharding.whole import is_dataset, is_there
from intravariance.dataset.store import Dataset, Record, open_dataset
from intravariance.errors import InputError
from intravariance.exchange.layouts import Scan, detect_layout, find_scans
from intravariance.executors import Portable
from intravariance.looking.cloud import LabelledCloud, upright
from intravariance.looking.preview import spread
from intravariance.looking.realism.comparison import ALL, MeasuredDefect, examine
from intravariance.looking.scans import scan_cloud
from intravariance.seeds import generator
from mc4ad_model.methods.mc4ad.configuration import AnomalyConfig
from mc4ad_model.reports.pseudo_samples import (
    pristine_counterpart,
    pseudo_counterpart,
    template_of,
)

BLENDER = "blender"  # the file's own defects, where others are the real ones


@dataclass(frozen=True)
class SampleTask:
    """A defective sample of a dataset file, as it is or as a generator makes it.

    Parameters
    ----------
    record, template
        The sample, and the template of its product; None where nothing is made on it.
    generator
        Who makes a defect instead; None for the sample itself.
    config
        Settings of the generators that displace patches.
    noise_sigma, tolerance
        Values of the file.
    origin
        Name of the file where it is another one, which may have samples of the same names.
    """

    record: Record
    template: Record | None
    generator: str | None
    config: AnomalyConfig
    noise_sigma: float
    tolerance: float
    seed: int
    origin: str = ""

    @property
    def category(self) -> str:
        """The category of the sample."""
        return self.record.category

    @property
    def defect(self) -> str:
        """The defect of the sample, also for its counterpart."""
        return self.record.defect

    def cloud(self) -> LabelledCloud:
        """Return the cloud, upright."""
        if self.generator is None:
            cloud = upright(self.record, noise=self.noise_sigma)
            return replace(cloud, name=f"{self.origin}/{cloud.name}") if self.origin else cloud
        assert self.template is not None
        return pseudo_counterpart(
            self.record, self.template, self.config, self.generator, self.noise_sigma,
            self.tolerance, self.seed,
        )  # fmt: skip

    def carried(self) -> SampleTask:
        """Return the task with the content of what it reads, for a machine without the file."""
        template = None if self.template is None else carried(self.template)
        return replace(self, record=carried(self.record), template=template)

    def pristine(self) -> LabelledCloud | None:
        """Make the product without the defect.

        Return None for an imported sample: nobody knows how it lies to its template.
        """
        imported = "imported" in self.record.parameters
        if self.template is None or (imported and self.generator is None):
            return None
        return pristine_counterpart(self.record, self.template, self.noise_sigma, self.seed)


@dataclass(frozen=True)
class ScanTask:
    """A scan with a defect, of the user's folder; of no product whose pristine surface is known.

    category : of the dataset file, to which it is compared. points : so many are kept at most,
    drawn at random: scans have to be about as dense as what they are compared with.
    """

    scan: Scan
    category: str
    points: int

    @property
    def defect(self) -> str:
        """By its folder or name."""
        return self.scan.defect

    def cloud(self) -> LabelledCloud:
        """Return the cloud as it is, in the unit ball."""
        scan = self.scan.load()
        if not scan.labelled:
            raise InputError(f"{self.scan.paths[0]}: its points have no labels")
        cloud, _ = scan_cloud(scan, self.scan.id, self.category, self.points)
        return replace(cloud, subcategory=self.scan.subcategory, defect=self.scan.defect)

    def carried(self) -> ScanTask:
        """Return the task with the content of its files, for a machine without them."""
        return replace(self, scan=self.scan.carried())

    def pristine(self) -> None:
        """Unknown."""


Task = SampleTask | ScanTask


@dataclass(frozen=True)
class Tasks:
    """All clouds of an inspection: real ones, and what is compared with them."""

    real: tuple[Task, ...]
    pseudo: tuple[SampleTask, ...]

    def category(self, name: str) -> Tasks:
        """Those of one category."""
        return Tasks(
            tuple(task for task in self.real if task.category == name),
            tuple(task for task in self.pseudo if task.category == name),
        )


def plan(
    dataset: Dataset,
    categories: Sequence[str],
    config: AnomalyConfig,
    generators: Sequence[str],
    real: Path | None,
    seed: int,
) -> Tasks:
    """List what is to be made and measured.

    Parameters
    ----------
    categories
        Categories of the dataset file.
    real
        Another dataset file or a folder of scans, with the defects that count as real; None: the
        file's own.

    Raises
    ------
    InputError
        A category has no defects, or no template; `real` cannot be read, or has no
        defects of any of the categories.
    """
    own = tuple(
        task for category in categories for task in _sample_tasks(dataset, category, config, seed)
    )
    _check_config(config, own)
    pseudo = tuple(replace(task, generator=name) for task in own for name in generators)
    if real is None:
        return Tasks(own, pseudo)
    brought = _real_tasks(real, dataset, categories, config, seed)
    if ALL in {task.defect for task in brought}:
        raise InputError(
            f"--real {real}: a defect is called {ALL!r}, as all of them are; rename it"
        )
    return Tasks(brought, (*own, *pseudo))


def label(task: Task, tasks: Tasks) -> str:
    """Name what a cloud is an example of.

    It is a defect type, a generator, or Blender's rendering of a type where others are real.
    """
    if isinstance(task, SampleTask) and task.generator is not None:
        return task.generator
    return task.defect if task in tasks.real else f"{BLENDER}_{task.defect}"


def make(task: Task, name: str) -> LabelledCloud:
    """Return the cloud of a task, called what `label` says."""
    cloud = task.cloud()
    if cloud.source == "dataset" and name != cloud.defect:
        return replace(cloud, defect=name, source="generator")
    return cloud


@dataclass(frozen=True)
class ExamineTask(Portable):
    """A sample or scan to measure: as it is, and as generators make it.

    task : one of those that share its sample. generators : of each of them, and what `label` calls
    it. seed : of the inspection.
    """

    task: Task
    generators: tuple[tuple[str | None, str], ...]
    seed: int

    @property
    def title(self) -> str:
        return _name(self.task)

    def packed(self) -> ExamineTask:
        return replace(self, task=self.task.carried())


def examined_with() -> dict[str, str]:
    """Return what must be the same wherever clouds of one inspection are examined, by name."""
    code = {"mc4ad_model": code_digest("mc4ad_model")[:12]}
    return made_with() | software("open3d") | code


def to_examine(tasks: Tasks, seed: int) -> list[ExamineTask]:
    """List what is to be measured, sample by sample: their clouds share a template and more."""
    clouds: dict[int, list[tuple[Task, str]]] = {}
    for task in (*tasks.real, *tasks.pseudo):
        subject = task.record if isinstance(task, SampleTask) else task.scan
        clouds.setdefault(id(subject), []).append((task, label(task, tasks)))
    return [
        ExamineTask(found[0][0], tuple((_generator(task), name) for task, name in found), seed)
        for found in clouds.values()
    ]


def examine_task(task: ExamineTask) -> list[MeasuredDefect]:
    """Make and measure the clouds of one sample; what worker processes run."""
    return [_examined(task, generator, name) for generator, name in task.generators]


def _examined(task: ExamineTask, name: str | None, called: str) -> MeasuredDefect:
    what = replace(task.task, generator=name) if isinstance(task.task, SampleTask) else task.task
    cloud = make(what, called)
    rng = generator(task.seed, "inspection", cloud.name, "descriptors")
    counterpart_of = what.record.id if isinstance(what, SampleTask) and name else ""
    return examine(cloud, what.pristine(), rng, counterpart_of=counterpart_of)


def _generator(task: Task) -> str | None:
    return task.generator if isinstance(task, SampleTask) else None


def to_show(tasks: Sequence[Task], count: int) -> list[Task]:
    """`count` of the tasks (all, when there are no more), evenly spread over the share of labelled
    points; scans, of which it is not known before they are read, over their names."""
    return spread(sorted(tasks, key=lambda task: (_share(task), _name(task))), count)


def _sample_tasks(
    dataset: Dataset, category: str, config: AnomalyConfig, seed: int, origin: str = ""
) -> list[SampleTask]:
    """List the defective samples of a category. origin : as in `SampleTask`."""
    records = [
        record
        for record in dataset.filter(category=category)
        if record.defect != NORMAL and record.n_anomalous > 0
    ]
    if not records:
        raise InputError(
            f"{dataset.path}: category {category} has no sample with a defect whose points are "
            "labelled"
        )
    sigma = float(dataset.metadata["identity"]["noise_sigma"])
    tolerance = dataset.specification.tolerance
    bare = bool(origin) and dataset.imported
    return [
        SampleTask(
            record, None if bare else template_of(record, dataset), None, config, sigma, tolerance,
            seed, origin,
        )
        for record in records
    ]  # fmt: skip


def _check_config(config: AnomalyConfig, tasks: Sequence[SampleTask]) -> None:
    """InputError for settings with which no pseudo-anomaly can be made or labelled."""
    if config.magnitude[0] <= DISPLACEMENT_THRESHOLD:
        raise InputError(
            f"anomalies.magnitude = {list(config.magnitude)}: points that move by "
            f"{DISPLACEMENT_THRESHOLD} or less are not labelled, and nothing could be compared"
        )
    fewest = min(tasks, key=lambda task: task.record.n_points).record
    if config.patches > fewest.n_points:
        raise InputError(
            f"anomalies.patches = {config.patches}: {fewest.id} has {fewest.n_points} points; "
            "take fewer patches"
        )


def _real_tasks(
    real: Path, dataset: Dataset, categories: Sequence[str], config: AnomalyConfig, seed: int
) -> tuple[Task, ...]:
    if is_dataset(real) and is_there(real):
        with open_dataset(real) as other:
            if other.digest == dataset.digest:
                raise InputError(
                    f"--real {real}: holds the same samples as {dataset.path}; leave it out to "
                    "compare with these"
                )
            common = [name for name in categories if name in other.categories]
            _check_common(real, common, other.categories, categories)
            return tuple(
                task
                for name in common
                for task in _sample_tasks(other, name, config, seed, real.name)
            )
    layout = detect_layout(real)
    if layout is None:
        raise InputError(f"--real {real}: holds no point clouds; see docs/layouts.md")
    scans = [scan for scan in find_scans(layout, real) if not scan.normal]
    if not scans:
        raise InputError(f"--real {real}: has no scan with a defect (layout {layout})")
    points = dataset.specification.points[1]
    if all(not scan.category for scan in scans) and len(categories) == 1:
        return tuple(ScanTask(scan, categories[0], points) for scan in scans)
    common = [name for name in categories if any(scan.category == name for scan in scans)]
    _check_common(real, common, sorted({scan.category for scan in scans}), categories)
    return tuple(ScanTask(scan, scan.category, points) for scan in scans if scan.category in common)


def _check_common(
    real: Path, common: Sequence[str], found: Sequence[str], wanted: Sequence[str]
) -> None:
    if common:
        return
    if not any(found):
        raise InputError(
            f"--real {real}: its scans are of no category; say of which with one --category "
            f"({', '.join(wanted)})"
        )
    raise InputError(
        f"--real {real}: has {', '.join(filter(None, found))}; expected one of {', '.join(wanted)}"
    )


def _share(task: Task) -> float:
    return task.record.n_anomalous / task.record.n_points if isinstance(task, SampleTask) else 0.0


def _name(task: Task) -> str:
    return task.record.id if isinstance(task, SampleTask) else task.scan.id
