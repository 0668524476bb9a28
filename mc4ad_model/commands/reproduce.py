# SPDX-License-Identifier: Apache-2.0
"""`iv reproduce table19`, `iv reproduce table5a`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from intravariance.commands import options as common
from intravariance.commands.options import choose_categories
from intravariance.dataset.sharding.whole import dataset_name, is_there
from intravariance.dataset.specification_reader import load_group
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.progress import say
from intravariance.tables import Cell, table_in
from mc4ad_model.classification.plan import PLANS, PRESETS, TASKS, Preset, TaskName
from mc4ad_model.commands import options
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods import method_class
from mc4ad_model.methods.saved_files import write_json
from mc4ad_model.paper.printed_tables import METRICS, table5a
from mc4ad_model.paper.reproduction import (
    Reproduction,
    build_dataset,
    planned_trainings,
    reproduce,
    table_rows,
)
from mc4ad_model.runs.experiments import parse_seeds

if TYPE_CHECKING:
    from mc4ad_model.classification.tasks import Source
    from mc4ad_model.paper.generalisation import Table5a


@click.group("reproduce")
def reproduce_command() -> None:
    """Train and evaluate a table of the paper, and print it beside the published one."""


@reproduce_command.command("table19")
@common.dataset_argument(
    "data",
    "[FILE]",
    required=False,
    help="Dataset file; without it groupN.h5 in the folder of --out, built if it is not there",
)
@click.option(
    "--group", type=click.Choice(["1", "2"]), default="2", help="Part of the table: Group 1 or 2."
)
@options.method_option
@options.method_preset_option
@options.changes_option
@common.categories_option
@options.seeds_option
@common.path_option(
    "--out",
    "Folder for the runs.  [default: runs/table19-groupN-LABEL, LABEL being the preset or the "
    "method]",
)
@common.dry_run_option
@common.json_option
@common.markdown_option
@options.training_options
def table19_command(
    group: str,
    method: str,
    preset: str | None,
    changes: tuple[str, ...],
    data: Path | None,
    categories: tuple[str, ...],
    seeds: str,
    out: Path | None,
    dry_run: bool,
    as_json: bool,
    markdown: bool,
    machine: Machine,
) -> None:
    """Train and evaluate every category with several seeds; our table beside the published one.

    Says what differs: the paper's dataset is not public. Killed at any moment, the same command
    carries on.
    """
    settings = method_class(method).Settings.load(preset, changes)
    numbers, part = parse_seeds(seeds), int(group)
    folder = out or Path("runs", f"table19-group{group}-{settings.label or method}")
    if data is None:
        data = folder / f"group{group}.h5"
        if not data.exists() and not dry_run:
            _make(folder)
            build_dataset(part, data, machine.quiet)
    if dry_run and not is_there(data):
        names = [one.name for one in load_group(part).select(categories).categories]
        say(f"{data}: it would be built first")
        _print_planned([(s, name, "new") for s in numbers for name in names], as_json, markdown)
        return
    with open_dataset(data) as dataset:
        chosen = choose_categories(dataset, categories)
        if dry_run:
            planned = planned_trainings(
                part, dataset, chosen, method, settings, numbers, folder, machine
            )
            _print_planned(planned, as_json, markdown)
            return
        found = reproduce(part, dataset, chosen, method, settings, numbers, folder, machine)
    content, file = found.to_dict(), folder / "table19.json"
    text = json.dumps(content, allow_nan=False) if as_json else _as_text(found, markdown)
    common.print_tables(text, markdown)
    write_json(file, content)
    say(f"table: {file}", machine.quiet)


@reproduce_command.command("table5a")
@common.dataset_argument(
    "data",
    "FILE_OR_FOLDER",
    help="Folder with ModelNet40 or ShapeNetPart or both in their HDF5 releases, or a dataset file",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    type=click.Choice(list(table5a().plain)),
    help="Only this one; may be repeated.",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=click.Choice(TASKS),
    help="Only this one; may be repeated.",
)
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    default="small",
    help="small: minutes on a CPU for each network. paper: the published sizes, for a GPU.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs.  [default: the preset's]")
@options.seeds_option
@common.path_option("--out", "Folder for the results.  [default: runs/table5a-PRESET-DATA]")
@common.dry_run_option
@common.json_option
@common.markdown_option
@options.machine_options("device", "quiet")
def table5a_command(
    data: Path,
    networks: tuple[str, ...],
    tasks: tuple[TaskName, ...],
    preset: Preset,
    epochs: int | None,
    seeds: str,
    out: Path | None,
    dry_run: bool,
    as_json: bool,
    markdown: bool,
    machine: Machine,
) -> None:
    """Train PointNet, PointNet++, PointTransformer and DGCNN without and with MC-Skip.

    On ModelNet40 and ShapeNetPart where they are given; on a dataset file, its products are
    recognised and its defects segmented. Killed at any moment, the same command carries on with
    the first training that is not done.
    """
    from mc4ad_model.paper.generalisation import (  # noqa: PLC0415 - weight
        planned_table5a,
        reproduce_table5a,
    )

    numbers = parse_seeds(seeds)
    chosen = [name for name in table5a().plain if name in networks or not networks]
    folder = out or Path("runs", f"table5a-{preset}-{dataset_name(data)}")
    plan = replace(PLANS[preset], epochs=epochs or PLANS[preset].epochs)
    with _source(data) as source:
        if dry_run:
            planned = planned_table5a(source, tasks, chosen, plan, numbers, folder)
            _print_planned(planned, as_json, markdown)
            return
        found = reproduce_table5a(source, tasks, chosen, plan, numbers, folder, machine)
    content, file = found.to_dict(), folder / "table5a.json"
    text = json.dumps(content, allow_nan=False) if as_json else _table5a_text(found, markdown)
    common.print_tables(text, markdown)
    write_json(file, content)
    say(f"table: {file}", machine.quiet)


@contextmanager
def _source(data: Path) -> Iterator[Source]:
    """Open a folder of released files, or a dataset file."""
    from mc4ad_model.classification.own_products import OwnProducts  # noqa: PLC0415 - weight
    from mc4ad_model.classification.released_files import ReleasedFiles  # noqa: PLC0415 - weight

    if data.is_dir():
        yield ReleasedFiles(data)
        return
    with open_dataset(data) as dataset:
        yield OwnProducts(dataset)


def _print_planned(planned: Sequence[tuple[int, str, str]], as_json: bool, markdown: bool) -> None:
    """Print the seed, the name and the state of each training."""
    if as_json:
        names = ("seed", "training", "state")
        runs = [dict(zip(names, one, strict=True)) for one in planned]
        click.echo(json.dumps({"runs": runs}))
        return
    rows: list[list[Cell]] = [[name, seed, state] for seed, name, state in planned]
    table = table_in(markdown)(["training", "seed", "state"], rows)
    common.print_tables(f"{table}\n{len(rows)} trainings (--dry-run: none was started)", markdown)


def _table5a_text(found: Table5a, markdown: bool) -> str:
    from mc4ad_model.paper.generalisation import table_rows as rows_of  # noqa: PLC0415 - weight

    show = table_in(markdown)
    seeds = ", ".join(map(str, found.seeds))
    spread = "± standard deviation over them" if len(found.seeds) > 1 else "so without a spread"
    caption = f"Table 5a; preset {found.preset}, seeds {seeds}, {spread}"
    remarks = "\n".join(f"- {text}" for text in found.remarks)
    parts = [caption, show(*rows_of(found)), "What differs from the paper:", remarks]
    return "\n\n".join(parts)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {folder}: no folder can be made: {error}") from error


def _as_text(found: Reproduction, markdown: bool) -> str:
    show = table_in(markdown)
    seeds = ", ".join(map(str, found.seeds))
    spread = "± standard deviation over them" if len(found.seeds) > 1 else "so without a spread"
    caption = f"Table 19, Group {found.group}; {found.name}, seeds {seeds}, {spread}"
    parts = [caption, *(show(*table_rows(found, metric)) for metric in METRICS)]
    if cost := _cost(found):
        parts.append(cost)
    parts += ["What differs from the paper:", "\n".join(f"- {text}" for text in found.differences)]
    return "\n\n".join(parts)


def _cost(found: Reproduction) -> str:
    """How long it took; of interrupted trainings only the last part is known."""
    minutes = [o.training_seconds / 60 for o in found.outcomes if o.training_seconds is not None]
    steps = {o.training_steps for o in found.outcomes}
    if len(minutes) < len(found.outcomes) or len(steps) != 1:
        return ""
    rates = [one.objects_per_second for one in found.outcomes]
    return (
        f"Training took {min(minutes):.1f} to {max(minutes):.1f} minutes a category and seed; "
        f"{min(rates):.1f} to {max(rates):.1f} test objects a second."
    )
