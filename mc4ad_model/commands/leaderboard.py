# SPDX-License-Identifier: Apache-2.0
"""`iv leaderboard`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from intravariance.building.sweep_index import Sweep, is_sweep, read_sweep
from intravariance.commands import options as common
from intravariance.commands.options import choose_categories
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.executors.isolated import IsolatedExecutor
from intravariance.progress import say
from intravariance.tables import Cell, table_in
from mc4ad_model.commands import options
from mc4ad_model.leaderboard.documents import as_markdown, as_text
from mc4ad_model.leaderboard.luggage import RanWith
from mc4ad_model.leaderboard.making import check_dataset, examined, make_leaderboard
from mc4ad_model.leaderboard.queue import plan_jobs
from mc4ad_model.leaderboard.rows import Row, choose_rows
from mc4ad_model.leaderboard.sweeping import (
    make_sweep_leaderboard,
    member_folder,
    sweep_dict,
    sweep_text,
)
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods import method_extension
from mc4ad_model.methods.templates import TRACKS, Track, track_of
from mc4ad_model.runs.experiments import parse_seeds


@click.command("leaderboard")
@options.data_argument
@click.option(
    "--methods",
    multiple=True,
    metavar="ROWS",
    help="Rows separated by commas, each METHOD or METHOD[KEY=VALUE,...], with settings as `iv "
    "train --set` takes them; may be repeated. The controls come always.  [default: all methods]",
)
@common.path_option(
    "--encoder",
    "Folder that `iv pretrain` wrote, for the rows with Point-MAE's features, which are left out "
    "without it.",
)
@common.categories_option
@options.seeds_option
@common.path_option("--out", "Folder of the leaderboard.", required=True)
@common.executor_options
@click.option(
    "--track",
    type=click.Choice(TRACKS),
    help="What may be known of the templates, as for `iv train`.  [default: meshes if the file "
    "has them]",
)
@common.dry_run_option
@common.json_option
@common.markdown_option
@options.training_options
@click.pass_context
def leaderboard_command(
    context: click.Context,
    data: Path,
    methods: tuple[str, ...],
    encoder: Path | None,
    categories: tuple[str, ...],
    seeds: str,
    out: Path,
    jobs: int | None,
    track: Track | None,
    dry_run: bool,
    as_json: bool,
    markdown: bool,
    machine: Machine,
) -> None:
    """Train, evaluate and compare methods with several seeds, in one table.

    Controls that know nothing of defects, and registration alone, are rows of every leaderboard.
    Killed at any moment, the same command carries on. A row that does not work is told with its
    reason, the others go on, and the exit code is 1.

    FILE may be the folder of `iv build --sweep`: each of its files has a leaderboard, and curves
    show each row over what is swept.
    """
    rows, numbers = choose_rows(methods, encoder), parse_seeds(seeds)
    if not (methods or encoder):
        say("rows with Point-MAE's features are left out: they need --encoder", machine.quiet)
    sweep = read_sweep(data) if is_sweep(data) else None
    executor = common.chosen_executor(jobs, IsolatedExecutor, _ran_with(rows))
    if dry_run:
        planned = []
        for dataset, folder in _files(data, sweep, out):
            chosen = choose_categories(dataset, categories)
            planned += _planned(dataset, rows, chosen, numbers, folder, track, machine)
        click.echo(json.dumps({"jobs": planned}) if as_json else _as_table(planned, markdown))
        return
    if sweep is not None:
        with sweep.open(sweep.members[0]) as dataset:
            chosen = choose_categories(dataset, categories)
        with executor:
            curves = make_sweep_leaderboard(
                sweep, rows, chosen, numbers, out, executor, machine, track
            )
        click.echo(json.dumps(sweep_dict(curves)) if as_json else sweep_text(curves, markdown))
        _end(context, out / "curves.html", curves.failed, machine)
        return
    with open_dataset(data) as dataset:
        chosen = choose_categories(dataset, categories)
        with executor:
            board, tables = make_leaderboard(
                dataset, rows, chosen, numbers, out, executor, machine, track
            )
    content = json.dumps(board.to_dict(), allow_nan=False)
    shown = as_markdown(board, tables).rstrip() if markdown else as_text(board, tables)
    click.echo(content if as_json else shown)
    _end(context, out / "leaderboard.html", [one.row.name for one in board.failed], machine)


def _ran_with(rows: Sequence[Row]) -> RanWith:
    methods = [extension for row in rows if (extension := method_extension(row.method))]
    return RanWith.of([*methods, *(e for row in rows for e in row.settings.extensions)])


def _end(context: click.Context, page: Path, failed: Sequence[str], machine: Machine) -> None:
    """Say where the page is, and end with 1 where rows do not work."""
    say(f"leaderboard: {page}", machine.quiet)
    if failed:
        say(f"not working: {', '.join(failed)}")
        context.exit(1)


def _files(data: Path, sweep: Sweep | None, out: Path) -> Iterator[tuple[Dataset, Path]]:
    """Yield the files of a sweep, or the one that is named, each with its leaderboard's folder."""
    if sweep is None:
        with open_dataset(data) as dataset:
            yield dataset, out
        return
    for member in sweep.members:
        with sweep.open(member) as dataset:
            yield dataset, member_folder(out, member)


def _planned(
    dataset: Dataset,
    rows: Sequence[Row],
    categories: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    track: Track | None,
    machine: Machine,
) -> list[dict[str, Any]]:
    """Return the jobs, and how many categories of each are evaluated already, for JSON."""
    track = track or track_of(dataset)
    check_dataset(dataset, categories, track)
    jobs = plan_jobs(rows, seeds, categories, dataset, track, out, machine)
    done = examined(jobs, dataset)
    return [
        {
            "row": job.row,
            "seed": job.seed,
            "evaluated": len(done[job.row, job.seed]),
            "categories": list(categories),
            "folder": str(job.folder),
        }
        for job in jobs
    ]


def _as_table(planned: Sequence[dict[str, Any]], markdown: bool) -> str:
    rows: list[list[Cell]] = [
        [job["row"], job["seed"], f"{job['evaluated']}/{len(job['categories'])}", job["folder"]]
        for job in planned
    ]
    table = table_in(markdown)(["row", "seed", "evaluated", "folder"], rows).strip("\n")
    return f"{table}\n\n{len(planned)} jobs (--dry-run: none was started)"
