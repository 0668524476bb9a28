# SPDX-License-Identifier: Apache-2.0
"""`iv evaluate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from annotations.agreement import mean
from intravariance.commands import options as common
from intravariance.commands.options import choose_categories
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError, first_of
from intravariance.progress import say
from intravariance.tables import Cell, TableForm, show, table_in
from mc4ad_model.commands import options
from mc4ad_model.evaluation.alarms import AlarmMetrics, MeanAlarms, mean_alarms
from mc4ad_model.evaluation.category_metrics import DefectMetrics
from mc4ad_model.evaluation.evaluate import CategoryEvaluation, check_records
from mc4ad_model.evaluation.results import check_results_folder, describe, metrics_as_json
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods import method_class, method_names, tried, try_method
from mc4ad_model.methods.method import OBJECT_RULES, ObjectRule
from mc4ad_model.runs.calibration import check_calibrated, read_calibration
from mc4ad_model.runs.jobs import (
    check_evaluable,
    default_folder,
    evaluate_into,
    evaluated_records,
    train_runs,
)
from mc4ad_model.runs.run_folder import Run, choose_runs, find_runs
from mc4ad_model.runs.tracking import Store, tracked
from mc4ad_model.runs.tracking_stores import open_stores

# Heading, and where the number is found; the mean over categories is unweighted, as in the paper.
_COLUMNS: dict[str, Callable[[CategoryEvaluation], float | None]] = {
    "O-AUROC": lambda found: found.metrics.o_auroc,
    "P-AUROC": lambda found: found.metrics.p_auroc,
    "O-AUPR": lambda found: found.metrics.o_aupr,
    "P-AUPR": lambda found: found.metrics.p_aupr,
    "P-AUROC/object": lambda found: found.metrics.p_auroc_objects,
    "AU-PRO": lambda found: found.metrics.au_pro,
    "EPE": lambda found: found.metrics.force.epe,
    "zero-EPE": lambda found: found.metrics.force.displacement,
    "cosine": lambda found: found.metrics.force.cosine,
    "FPS": lambda found: found.cost.objects_per_second,
}


_NOTES = 20  # that are printed; samples.csv has all
_ORDER = {"easy": 1, "medium": 2, "hard": 3}


@dataclass(frozen=True)
class _Group:
    """The runs of one method. folder : what --run named, or where `iv train` puts the method's."""

    folder: Path
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """The method, the label of its settings if they have one, and the track if it is clouds."""
        run = self.runs[0]
        track = "" if run.track == "meshes" else f"({run.track})"
        return " ".join(part for part in (run.method, run.settings.label, track) if part)


class _MethodName(click.Choice):  # type: ignore[type-arg]  # generic since click 8.2
    """The name of a method, or MODULE:CLASS, which is imported once all options are read."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if tried(value) else str(super().convert(value, param, ctx))


@click.command("evaluate")
@options.data_argument
@common.path_option("--run", "Folder that `iv train` wrote; may be repeated.", multiple=True)
@click.option(
    "--method",
    "methods",
    multiple=True,
    type=_MethodName(method_names()),
    help="Evaluate this method with its default settings; may be repeated. Each category is first "
    "trained in runs/, as `iv train --method` does, unless it is already; mc4ad takes minutes. "
    "MODULE:CLASS tries a class of your own, which is trained anew each time.",
)
@common.categories_option
@common.path_option(
    "--out",
    "Folder for the results, one in it for each category, and with several methods one for each of "
    "them.  [default: evaluation, in the category's own folder of the run]",
)
@click.option("--force", is_flag=True, help="Replace existing results.")
@click.option(
    "--object",
    "rule",
    type=click.Choice(OBJECT_RULES),
    help="Object score instead of the method's: the largest point score, the mean, or the mean of "
    "the highest.",
)
@click.option(
    "--false-alarms",
    multiple=True,
    type=common.NumberRange(0, 1, min_open=True, max_open=True),
    metavar="RATE",
    help="Say how many objects are detected at this rate of false alarms, 0.01 say; may be "
    "repeated. The threshold is that of `iv calibrate`, which comes first.",
)
@common.number_option("--seed", 0, 0, help="Seed of the bootstrap intervals.")
@options.tensorboard_option
@options.mlflow_option
@common.json_option
@common.markdown_option
@options.scoring_options
def evaluate_command(
    data: Path,
    run: tuple[Path, ...],
    methods: tuple[str, ...],
    categories: tuple[str, ...],
    out: Path | None,
    force: bool,
    rule: ObjectRule | None,
    false_alarms: tuple[float, ...],
    seed: int,
    tensorboard: Path | None,
    mlflow: str | None,
    as_json: bool,
    markdown: bool,
    machine: Machine,
) -> None:
    """Evaluate methods on a dataset's test samples: detection and force error.

    Give runs of `iv train`, names of methods, or both: several share one table. Writes each
    sample's scores and each point's, from which all numbers can be computed again.
    """
    if not run and not methods:
        raise InputError("nothing to evaluate: give --run FOLDER, --method NAME, or both")
    for name in filter(tried, methods):
        try_method(name)
    with open_dataset(data) as dataset:
        groups = [_Group(folder, choose_runs(folder, categories)) for folder in run]
        # whatever can be wrong is found before the first training or evaluation, which take time
        check_evaluable([one for group in groups for one in group.runs], dataset, machine)
        stores = open_stores(tensorboard, mlflow, dataset.specification.name)
        rates = tuple(dict.fromkeys(false_alarms))
        if rates:
            _check_calibrated(groups, methods, dataset, rates)
        groups += [_trained(name, dataset, categories, machine) for name in methods]
        for one in (one for group in groups for one in group.runs if rates):
            read_calibration(one, dataset, rates)
        targets = _targets(groups, out)
        for target in targets.values():
            check_results_folder(target, force)
        found = {
            name: [
                evaluate_into(targets[run.folder], run, dataset, rule, seed, machine, rates)
                for run in group.runs
            ]
            for name, group in _named(groups).items()
        }
        named = _named(groups)
        _track_metrics(found, named, stores, machine.quiet)
        text = (
            _as_json(found, dataset, named)
            if as_json
            else _as_text(found, named, table_in(markdown))
        )
    common.print_tables(text, markdown)
    say(f"results: {', '.join(map(str, targets.values()))}", machine.quiet)


def _track_metrics(
    found: dict[str, list[CategoryEvaluation]],
    groups: dict[str, _Group],
    stores: Sequence[Store],
    quiet: bool,
) -> None:
    with tracked(stores, quiet) as tracking:
        for name, group in groups.items():
            for run, evaluation in zip(group.runs, found[name], strict=True):
                tracking.evaluated(run, evaluation.metrics)


def _check_calibrated(
    groups: Sequence[_Group], methods: Sequence[str], dataset: Dataset, rates: Sequence[float]
) -> None:
    """Check the calibrations of runs, and that methods which may have to be trained have any."""
    for run in (one for group in groups for one in group.runs):
        read_calibration(run, dataset, rates)
    for name in methods:
        settings = method_class(name).Settings.load()
        check_calibrated(default_folder(dataset, name, settings, seed=0), dataset.path)


def _trained(method: str, dataset: Dataset, categories: Sequence[str], machine: Machine) -> _Group:
    """Train a method with its default settings, where that is not done yet."""
    settings = method_class(method).Settings.load()
    folder = default_folder(dataset, method, settings, seed=0)
    chosen = choose_categories(dataset, categories)
    for category in chosen:
        check_records(evaluated_records(dataset, category))
    # what was fitted by a class that is tried is of its code before the last change
    train_runs(dataset, chosen, method, settings, 0, folder, machine, force=tried(method))
    runs = {run.category: run for run in find_runs(folder)}
    group = _Group(folder, tuple(runs[category] for category in chosen))
    check_evaluable(group.runs, dataset, machine)
    return group


def _named(groups: Sequence[_Group]) -> dict[str, _Group]:
    """Give each group a name of its own: its method, and its folder where that is not enough."""
    names = [group.name for group in groups]
    return {
        name if names.count(name) == 1 else f"{name} ({group.folder})": group
        for name, group in zip(names, groups, strict=True)
    }


def _targets(groups: Sequence[_Group], out: Path | None) -> dict[Path, Path]:
    """Say where the results of each run go, by the run's folder."""
    found = {}
    for number, group in enumerate(groups):
        part = "" if len(groups) == 1 else f"{number}-{group.name.replace(' ', '-')}"
        for run in group.runs:
            if run.folder in found:
                raise InputError(f"{run.folder}: named twice by --run and --method; name it once")
            found[run.folder] = out / part / run.category if out else run.folder / "evaluation"
    return found


def _as_json(
    found: dict[str, list[CategoryEvaluation]], dataset: Dataset, groups: dict[str, _Group]
) -> str:
    methods = {name: _plain(found[name], groups[name].runs) for name in found}
    content: dict[str, Any] = {"dataset": describe(dataset)}
    content |= next(iter(methods.values())) if len(methods) == 1 else {"methods": methods}
    return json.dumps(content, allow_nan=False)


def _plain(found: Sequence[CategoryEvaluation], runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "method": runs[0].method,
        "track": runs[0].track,
        "runs": {run.category: {"seed": run.seed, "preset": run.settings.label} for run in runs},
        "categories": {
            one.category: {"metrics": metrics_as_json(one.metrics), "cost": asdict(one.cost)}
            for one in found
        },
        "mean": {name: mean([value(one) for one in found]) for name, value in _COLUMNS.items()},
        "alarms": [asdict(mean_alarms(each)) for each in _by_rate(found)],
    }


def _as_text(
    found: dict[str, list[CategoryEvaluation]], groups: dict[str, _Group], table: TableForm
) -> str:
    rows: list[list[Cell]] = []
    for name, each in found.items():
        own: list[list[Cell]] = [
            [one.category, *(value(one) for value in _COLUMNS.values())] for one in each
        ]
        own.append(["mean", *(mean([value(one) for one in each]) for value in _COLUMNS.values())])
        rows += own if len(found) == 1 else [[name, *row] for row in own]
    heading = ["category", *_COLUMNS] if len(found) == 1 else ["method", "category", *_COLUMNS]
    parts = [
        table(heading, rows)
        + "\nEPE, cosine: of the force where the defect moved points; zero-EPE: error of no force"
        + f"\nTrack: {_track(groups.values())}"
    ]
    for name, each in found.items():
        title = "" if len(found) == 1 else f"{name}: "
        parts += [
            f"{title}95 % bootstrap intervals over objects\n" + _intervals(each, table),
            f"{title}Defect types: O-AUROC against the normal objects / P-AUROC of their own "
            "points\n" + _by_kind(each, "defects", table),
            *(
                [title + _difficulties(each, table)]
                if any(o.metrics.difficulties for o in each)
                else []
            ),
            *([title + _alarms(each, table)] if each[0].metrics.alarms else []),
            *(title + _unlabelled(one) for one in each if one.metrics.unlabelled),
            *(title + text for one in each if (text := _notes(one))),
            *(title + _cost(one) for one in each),
        ]
    return "\n\n".join(parts)


def _track(groups: Iterable[_Group]) -> str:
    """Say what the methods knew of the templates."""
    tracks = {group.runs[0].track for group in groups}
    return tracks.pop() if len(tracks) == 1 else "meshes, or clouds where the name says so"


def _notes(one: CategoryEvaluation) -> str:
    """Say what the method says of its scores, if it does."""
    noted = [f"{row.id} {row.note}" for row in one.rows if row.note]
    said = f"{one.category}: notes on {len(noted)} of {len(one.rows)} objects: "
    return said + first_of(noted, _NOTES, "; ") if noted else ""


def _unlabelled(one: CategoryEvaluation) -> str:
    """Say how many objects the figures of points leave out."""
    found = one.metrics
    return (
        f"{one.category}: {found.unlabelled} of {found.anomalous} defective objects have no labels "
        "of their points; P-AUROC, P-AUPR and AU-PRO leave them out, O-AUROC and O-AUPR count them"
    )


def _cost(one: CategoryEvaluation) -> str:
    cost = one.cost
    parameters = "" if cost.parameters is None else f"{cost.parameters:,} parameters, "
    return (
        f"{one.category}: {parameters}{cost.objects_per_second:.2f} objects/s, "
        f"{cost.memory / 2**20:,.0f} MiB at most ({cost.memory_of})"
    )


def _intervals(found: Sequence[CategoryEvaluation], table: TableForm) -> str:
    def cell(interval: tuple[float, float] | None) -> str | None:
        return None if interval is None else "{:.3f} to {:.3f}".format(*interval)

    return table(
        ["category", "O-AUROC", "P-AUROC"],
        [
            [one.category, cell(one.metrics.o_auroc_interval), cell(one.metrics.p_auroc_interval)]
            for one in found
        ],
    )


def _difficulties(found: Sequence[CategoryEvaluation], table: TableForm) -> str:
    return "Difficulties, likewise\n" + _by_kind(found, "difficulties", table)


def _by_kind(found: Sequence[CategoryEvaluation], field: str, table: TableForm) -> str:
    """Show `defects` or `difficulties` of the metrics."""
    kinds: list[dict[str, DefectMetrics]] = [getattr(one.metrics, field) for one in found]
    names = sorted({name for own in kinds for name in own}, key=lambda n: (_ORDER.get(n, 0), n))
    rows, columns = [], []
    for one, own in zip(found, kinds, strict=True):
        parts = [own.get(name) for name in names]
        columns.append([(part.o_auroc, part.p_auroc) if part else (None, None) for part in parts])
        rows.append([one.category, *map(_pair, columns[-1])])
    means = [_pair(map(mean, zip(*column, strict=True))) for column in zip(*columns, strict=True)]
    return table(["category", *names], [*rows, ["mean", *means]])


def _by_rate(found: Sequence[CategoryEvaluation]) -> list[tuple[AlarmMetrics, ...]]:
    """For each rate of false alarms that was asked for, the alarms of each category."""
    return list(zip(*(one.metrics.alarms for one in found), strict=True))


def _alarms(found: Sequence[CategoryEvaluation], table: TableForm) -> str:
    heading = [
        "category",
        "asked for",
        "threshold",
        "detected",
        "false alarms",
        "of",
        "95 % interval",
    ]

    def cells(one: AlarmMetrics | MeanAlarms) -> list[Cell]:
        interval = "{:.3f} to {:.3f}".format(*one.false_alarm_interval)
        counts = f"{one.false_alarms}/{one.normal}"
        return [one.detection_rate, one.false_alarm_rate, counts, interval]

    rows: list[list[Cell]] = []
    for each in _by_rate(found):
        rate = f"{each[0].rate:g}"
        for one, own in zip(found, each, strict=True):
            rows.append([one.category, rate, own.threshold, *cells(own)])
        rows.append(["mean", rate, None, *cells(mean_alarms(each))])
    return (
        "Alarms above the calibrated threshold: share of the defective objects (detected) and of "
        "the normal ones (false alarms)\n"
        f"{table(heading, rows)}\n"
        "95 % interval: Clopper-Pearson, of the normal objects of all categories for the mean"
    )


def _pair(values: Iterable[float | None]) -> str:
    return " / ".join(map(show, values))
