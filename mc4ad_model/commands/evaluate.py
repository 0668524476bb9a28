# SPDX-License-Identifier: Apache-2.0
"""`iv evaluate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from intravariance.errors import InputError
from intravariance.progress import say
from intravariance.tables import show, text_table
from mc4ad_model.commands.options import (
    backend_option,
    categories_option,
    data_option,
    device_option,
    json_option,
    quiet_option,
)

if TYPE_CHECKING:
    from intravariance.dataset.store import Dataset
    from mc4ad_model.evaluation.evaluate import CategoryEvaluation
    from mc4ad_model.evaluation.scoring import ObjectRule
    from mc4ad_model.methods.mc4ad.configuration import ScoringConfig
    from mc4ad_model.runs.run_folder import Run

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


@click.command("evaluate")
@data_option
@click.option(
    "--run", "folder", required=True, type=click.Path(path_type=Path), help="What `iv train` wrote."
)
@categories_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the results, one in it for each category.  [default: evaluation, in the "
    "category's own folder of the run]",
)
@click.option("--force", is_flag=True, help="Replace existing results.")
@click.option(
    "--object",
    "rule",
    type=click.Choice(["max", "mean", "top"]),
    help="Object score instead of the run's: the largest point score, the mean, or the mean of "
    "the highest.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the bootstrap intervals.",
)
@device_option
@backend_option
@json_option
@quiet_option
def evaluate_command(
    data: Path,
    folder: Path,
    categories: tuple[str, ...],
    out: Path | None,
    force: bool,
    rule: ObjectRule | None,
    seed: int,
    device: str,
    backend: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Evaluate trained networks on a dataset's test samples: detection and force error.

    Writes each sample's scores and each point's, from which all numbers can be computed again.
    """
    from intravariance.dataset.store import open_dataset
    from mc4ad_model.machine.device import Machine
    from mc4ad_model.runs.jobs import evaluate_into
    from mc4ad_model.runs.run_folder import find_runs

    machine = Machine(device, backend, quiet=quiet)
    with open_dataset(data) as dataset:
        runs = _choose(find_runs(folder), categories, folder)
        _check_group(runs, dataset, folder)
        folders = {
            run.category: out / run.category if out else run.folder / "evaluation" for run in runs
        }
        _check_everything(runs, dataset, folders, backend, force)
        if others := [run.category for run in runs if run.data_digest != dataset.digest]:
            say(f"trained on another build than {data}: {', '.join(others)}", quiet)
        found = [
            evaluate_into(folders[run.category], run, dataset, _scoring(run, rule), seed, machine)
            for run in runs
        ]
        text = _as_json(found, dataset, runs) if as_json else _as_text(found)
    click.echo(text)
    say(f"results: {', '.join(map(str, folders.values()))}", quiet)


def _choose(runs: Sequence[Run], categories: Sequence[str], folder: Path) -> list[Run]:
    known = {run.category for run in runs}
    if unknown := [name for name in categories if name not in known]:
        raise InputError(
            f"--category {', '.join(unknown)}: expected one that {folder} was trained on: "
            f"{', '.join(sorted(known))}"
        )
    return [run for run in runs if not categories or run.category in categories]


def _check_group(runs: Sequence[Run], dataset: Dataset, folder: Path) -> None:
    """InputError when the runs are of another group than the dataset."""
    name = dataset.specification.name
    for run in runs:
        trained = run.identity.get("specification", {}).get("name")
        if trained != name:
            raise InputError(
                f"--run {run.folder}: was trained on {trained}, but {dataset.path} holds {name}; "
                f"evaluate on a build of {trained}, or train on {dataset.path}"
            )
    present = dataset.categories
    if missing := [run.category for run in runs if run.category not in present]:
        raise InputError(
            f"--run {folder}: {dataset.path} has no category {', '.join(missing)}; it has "
            f"{', '.join(present)}. Choose some with --category."
        )


def _check_everything(
    runs: Sequence[Run], dataset: Dataset, folders: dict[str, Path], backend: str, force: bool
) -> None:
    """Whatever can be wrong is found before the first evaluation, which takes its time."""
    from mc4ad_model.evaluation.evaluate import check_records
    from mc4ad_model.evaluation.results import check_results_folder
    from mc4ad_model.runs.jobs import evaluated_records

    for run in runs:
        check_records(evaluated_records(dataset, run.category))
        run.load_network(backend)
        check_results_folder(folders[run.category], force)


def _scoring(run: Run, rule: ObjectRule | None) -> ScoringConfig:
    return run.config.scoring if rule is None else replace(run.config.scoring, object=rule)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _as_json(found: Sequence[CategoryEvaluation], dataset: Dataset, runs: Sequence[Run]) -> str:
    from mc4ad_model.evaluation.results import describe

    means = {name: _mean([value(one) for one in found]) for name, value in _COLUMNS.items()}
    content: dict[str, Any] = {
        "dataset": describe(dataset),
        "runs": {run.category: {"seed": run.seed, "preset": run.config.preset} for run in runs},
        "categories": {
            one.category: {"metrics": asdict(one.metrics), "cost": asdict(one.cost)}
            for one in found
        },
        "mean": means,
    }
    return json.dumps(content, allow_nan=False)


def _as_text(found: Sequence[CategoryEvaluation]) -> str:
    rows = [[one.category, *(value(one) for value in _COLUMNS.values())] for one in found]
    means = [_mean([value(one) for one in found]) for value in _COLUMNS.values()]
    parts = [
        text_table(["category", *_COLUMNS], [*rows, ["mean", *means]])
        + "\nEPE, cosine: of the force where the defect moved points; zero-EPE: error of no force",
        "95 % bootstrap intervals over objects\n" + _intervals(found),
        "Defect types: O-AUROC against the normal objects / P-AUROC of their own points\n"
        + _defects(found),
    ]
    return "\n\n".join([*parts, *map(_cost, found)])


def _cost(one: CategoryEvaluation) -> str:
    cost = one.cost
    parameters = "" if cost.parameters is None else f"{cost.parameters:,} parameters, "
    return (
        f"{one.category}: {parameters}{cost.objects_per_second:.2f} objects/s, "
        f"{cost.memory / 2**20:,.0f} MiB at most ({cost.memory_of})"
    )


def _intervals(found: Sequence[CategoryEvaluation]) -> str:
    def cell(interval: tuple[float, float]) -> str:
        return "{:.3f} to {:.3f}".format(*interval)

    return text_table(
        ["category", "O-AUROC", "P-AUROC"],
        [
            [one.category, cell(one.metrics.o_auroc_interval), cell(one.metrics.p_auroc_interval)]
            for one in found
        ],
    )


def _defects(found: Sequence[CategoryEvaluation]) -> str:
    names = sorted({name for one in found for name in one.metrics.defects})
    rows, columns = [], []
    for one in found:
        parts = [one.metrics.defects.get(name) for name in names]
        columns.append([(part.o_auroc, part.p_auroc) if part else (None, None) for part in parts])
        rows.append([one.category, *map(_pair, columns[-1])])
    means = [_pair(map(_mean, zip(*column, strict=True))) for column in zip(*columns, strict=True)]
    return text_table(["category", *names], [*rows, ["mean", *means]])


def _pair(values: Iterable[float | None]) -> str:
    return " / ".join(map(show, values))
