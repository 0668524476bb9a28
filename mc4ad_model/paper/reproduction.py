# SPDX-License-Identifier: Apache-2.0
"""Table 19 of the paper beside the same table of our own dataset, and what differs between them.

The published dataset is not public. Ours has the same categories, counts and defect types, but
other products, so a number here is no measurement of the published one. That is also why no mean
rank of ours among the published methods is given: it would compare methods on different data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intravariance.building.run import build, default_cache
from intravariance.building.sample import SampleSettings
from intravariance.building.settings import BuildSettings
from intravariance.dataset.specification_reader import load_group
from intravariance.dataset.store import Dataset
from intravariance.errors import InputError
from intravariance.executors.processes import ProcessExecutor
from intravariance.geometry.sampling import NOISE_VARIANCE
from intravariance.progress import say
from intravariance.tables import Cell
from mc4ad_model.evaluation.results import describe
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods import method_class
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.settings import Settings
from mc4ad_model.paper.printed_tables import METRICS, Metric, misprints, notes, table19
from mc4ad_model.runs.experiments import (
    CategoryOutcome,
    Spread,
    average,
    outcome,
    train_and_evaluate,
)
from mc4ad_model.runs.jobs import plan_runs


@dataclass(frozen=True)
class Reproduction:
    """Results of our runs.

    categories : in the file's order; differences : what is not as in the paper, a sentence each.
    """

    group: int
    method: str
    preset: str
    dataset: dict[str, str]
    categories: tuple[str, ...]
    seeds: tuple[int, ...]
    outcomes: tuple[CategoryOutcome, ...]
    differences: tuple[str, ...]

    def spread(self, metric: Metric, category: str | None = None) -> Spread:
        """Return the spread over the seeds of a category; if none is named, of the means over all
        categories."""
        chosen = [one for one in self.outcomes if category in (None, one.category)]
        return average(chosen, metric)

    @property
    def name(self) -> str:
        """The method's name in tables, with the preset if it has one."""
        title = method_class(self.method).title
        return f"{title} here, {self.preset}" if self.preset else f"{title} here"

    @property
    def shared(self) -> list[str]:
        """Categories that the published table has too."""
        printed = table19(self.group, "o_auroc").categories
        return [name for name in self.categories if name in printed]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "table": "19",
            "group": self.group,
            "method": self.method,
            "preset": self.preset,
            "dataset": self.dataset,
            "categories": list(self.categories),
            "seeds": list(self.seeds),
            "ours": {metric: self._ours(metric) for metric in METRICS},
            "published": {metric: asdict(table19(self.group, metric)) for metric in METRICS},
            "outcomes": [asdict(one) for one in self.outcomes],
            "differences": list(self.differences),
        }

    def _ours(self, metric: Metric) -> dict[str, Any]:
        each = {name: asdict(self.spread(metric, name)) for name in self.categories}
        return {"categories": each, "average": asdict(self.spread(metric))}


def reproduce(
    group: int,
    dataset: Dataset,
    categories: list[str],
    method: str,
    settings: Settings,
    seeds: Sequence[int],
    out: Path,
    machine: Machine,
) -> Reproduction:
    """Train and evaluate each category with each seed, whatever is not done yet.

    Parameters
    ----------
    group
        1 or 2: the part of Table 19.
    out
        Folder of the runs, one in it for each seed.

    Raises
    ------
    InputError
        The dataset is another group's, or as `train_and_evaluate`.
    """
    _check_group(group, dataset)
    outcomes: list[CategoryOutcome] = []
    for seed in seeds:
        say(f"reproduce Table 19, Group {group}: seed {seed}", machine.quiet)
        folder = out / f"seed-{seed}"
        done = train_and_evaluate(dataset, categories, method, settings, seed, folder, machine)
        outcomes += [outcome(run, results) for run, results in done]
    return Reproduction(
        group=group,
        method=method,
        preset=settings.label,
        dataset=describe(dataset),
        categories=tuple(categories),
        seeds=tuple(seeds),
        outcomes=tuple(outcomes),
        differences=tuple(_differences(group, dataset, categories, method, settings)),
    )


def planned_trainings(
    group: int,
    dataset: Dataset,
    categories: list[str],
    method: str,
    settings: Settings,
    seeds: Sequence[int],
    out: Path,
    machine: Machine,
) -> list[tuple[int, str, str]]:
    """Return the seed, the category and the state of each training of `reproduce`, which are
    checked and not started. Parameters and errors are its own."""
    _check_group(group, dataset)
    return [
        (seed, one.category, one.state)
        for seed in seeds
        for one in plan_runs(
            dataset, categories, method, settings, seed, out / f"seed-{seed}", machine
        )
    ]


def _check_group(group: int, dataset: Dataset) -> None:
    if (name := dataset.specification.name) != f"group{group}":
        raise InputError(
            f"{dataset.path}: holds {name}, but --group {group} of Table 19 is group{group}; build "
            f"that with `iv build --group {group}`"
        )


def build_dataset(group: int, out: Path, quiet: bool) -> None:
    """Build a group as `iv build --group N` does unless told otherwise, with seed 0.

    Raises
    ------
    InputError, BackendUnavailable
        It cannot be built here, because Blender is missing for example.
    """
    specification = load_group(group).select()
    samples = SampleSettings(
        seed=0,
        pose="so3",
        noise_sigma=math.sqrt(NOISE_VARIANCE),
        tolerance=specification.tolerance,
        points=specification.points,
        scan=specification.scan,
    )
    say(f"building {out}: iv build --group {group} --out {out}", quiet)
    settings = BuildSettings(specification, samples, "procedural", default_cache(), quiet=quiet)
    with ProcessExecutor() as executor:
        build(settings, out, executor)


def table_rows(found: Reproduction, metric: Metric) -> tuple[list[str], list[list[Cell]]]:
    """Heading and rows: the published methods, then ours.

    Averages are those over each table's own categories; where these differ, a last column has the
    average over the categories that both have.
    """
    printed = table19(found.group, metric)
    names = [name for name in printed.categories if name in found.categories]
    absent = [name for name in printed.categories if name not in found.categories]
    own = [name for name in found.categories if name not in printed.categories]
    names += absent + own
    shared = found.shared if absent or own else []
    wrong = {m.method: m for m in misprints(found.group) if m.metric == metric}
    rows: list[list[Cell]] = []
    for row in printed.rows:
        mean = wrong[row.method].computed if row.method in wrong else row.average
        cells: list[Cell] = [f"{row.method}, paper", *(printed.value(row.method, n) for n in names)]
        cells.append(mean)
        if shared:
            values = [printed.value(row.method, name) or 0.0 for name in shared]
            cells.append(sum(values) / len(values))
        rows.append(cells)
    ours: list[Cell] = [found.name]
    ours += [str(found.spread(metric, n)) if n in found.categories else None for n in names]
    ours.append(str(found.spread(metric)))
    heading = [METRICS[metric], *names, "average"]
    if shared:
        common = [one for one in found.outcomes if one.category in shared]
        ours.append(str(average(common, metric)))
        heading.append(f"average of {len(shared)} shared")
    return heading, [*rows, ours]


def _differences(
    group: int, dataset: Dataset, categories: Sequence[str], method: str, settings: Settings
) -> Iterator[str]:
    identity = dataset.metadata["identity"]
    yield (
        f"The data: the paper's file is not public. Ours ({dataset.path.name}, content digest "
        f"{dataset.digest}) was made from {identity['source']} base meshes with seed "
        f"{identity['seed']}, to the counts of the paper's tables; its products are others. A "
        "difference between the two says nothing about one method against another, and no mean "
        "rank of ours among the published methods would mean anything."
    )
    printed = set(table19(group, "o_auroc").categories)
    own = set(dataset.categories)
    only_theirs, only_ours = sorted(printed - own), sorted(set(categories) - printed)
    if only_theirs or only_ours:
        yield (
            f"Categories: only the paper's table has {', '.join(only_theirs) or 'none'}; only ours "
            f"has {', '.join(only_ours) or 'none'}."
        )
    if left_out := sorted(own - set(categories)):
        yield f"Left out here: {', '.join(left_out)}."
    sigma = float(identity["noise_sigma"])
    yield (
        f"Noise: the standard deviation of each coordinate is {sigma:.4g} here, a variance of "
        f'{sigma**2:.4g}. The paper\'s "variance 0.002" is 0.0447 taken literally, or 0.002 if it '
        "means the standard deviation; which one its figures are of is not known."
    )
    for misprint in misprints(group):
        yield (
            f"Misprint in the paper, put right here: {METRICS[misprint.metric]} average of "
            f"{misprint.method} {misprint.computed:.3f}, printed {misprint.printed:.3f} "
            f"({misprint.text})."
        )
    for note in notes(group):
        yield f"In the paper: {note}"
    if not isinstance(settings, RunConfig):
        yield f"The method: {method_class(method).title} is not the paper's and not in its table."
        return
    changed = settings.differences(RunConfig.load("paper"))
    yield (
        f"Settings: preset {settings.preset} differs from preset paper (which takes what the paper "
        f"does not say from its released code) in {len(changed)} fields"
        + (": " if changed else "")
        + ", ".join(
            f"{name} = {_plain(own)} (paper: {_plain(theirs)})"
            for name, (own, theirs) in changed.items()
        )
        + "."
    )


def _plain(value: Any) -> str:
    """Return a value as in a preset's TOML, lists for tuples."""
    return str(list(value)) if isinstance(value, tuple) else str(value)
