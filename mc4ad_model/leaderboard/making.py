# SPDX-License-Identifier: Apache-2.0
"""Making a leaderboard: what is left is run, then everything is compared and written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from intravariance.dataset.store import Dataset
from intravariance.files.atomic import write_whole
from intravariance.progress import say
from mc4ad_model.evaluation.evaluate import check_labelled, check_records
from mc4ad_model.evaluation.results import describe
from mc4ad_model.leaderboard.board import RECORD, Board, held, outcome_of
from mc4ad_model.leaderboard.comparing import compare_rows
from mc4ad_model.leaderboard.documents import as_csv, as_latex, as_markdown
from mc4ad_model.leaderboard.jobs import Job
from mc4ad_model.leaderboard.luggage import coming
from mc4ad_model.leaderboard.page import leaderboard_page
from mc4ad_model.leaderboard.published import published
from mc4ad_model.leaderboard.queue import (
    Measured,
    Workers,
    finished,
    pending,
    plan_jobs,
    run_jobs,
)
from mc4ad_model.leaderboard.rows import Row
from mc4ad_model.leaderboard.tables import Table, all_tables
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.saved_files import writing
from mc4ad_model.methods.templates import Track, template_records, track_of
from mc4ad_model.runs.jobs import evaluated_records

Done = dict[tuple[str, int], dict[str, Measured]]


def make_leaderboard(
    dataset: Dataset,
    rows: Sequence[Row],
    categories: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    executor: Workers,
    machine: Machine,
    track: Track | None = None,
) -> tuple[Board, list[Table]]:
    """Train and evaluate each row with each seed, whatever is left, and write the leaderboard.

    Parameters
    ----------
    out : its folder, see `leaderboard.board`
    executor : runs rows and seeds; entered by the caller

    Raises
    ------
    InputError
        The file cannot be trained or evaluated on (`check_dataset`), or the folder cannot be used
        (`held`, `finished`); found before anything is trained.
    """
    track = track or track_of(dataset)
    check_dataset(dataset, categories, track)
    _say_unlabelled(dataset, categories, machine.quiet)
    with held(out, dataset, track):
        planned = plan_jobs(rows, seeds, categories, dataset, track, out, machine)
        for job in planned:  # what a killed command left half-written
            shutil.rmtree(coming(job.folder), ignore_errors=True)
        done = examined(planned, dataset)
        left = list(pending(planned, done))
        say(f"leaderboard: {len(planned)} jobs, {len(left)} of them to do", machine.quiet)
        if others := left_out(out, planned):
            say(f"leaderboard: {out} has other rows too, which were not asked for: {others}")
        faults = run_jobs(left, executor, machine.quiet)
        ran = {(job.row, job.seed) for job in left} - faults.keys()
        done |= examined([job for job in planned if (job.row, job.seed) in ran], dataset)
        standings = tuple(outcome_of(row, seeds, done, faults) for row in rows)
        board = Board(
            dataset=describe(dataset),
            noise_sigma=float(dataset.metadata["identity"]["noise_sigma"]),
            track=track,
            seeds=tuple(seeds),
            categories=tuple(categories),
            standings=standings,
            comparisons=tuple(compare_rows(standings, dataset, machine.quiet)),
            published=tuple(published(dataset.specification.name, list(rows))),
            at_once=executor.workers(),
            folder=out,
        )
        tables = all_tables(board)
        _write(board, tables)
    return board, tables


def check_dataset(dataset: Dataset, categories: Sequence[str], track: Track) -> None:
    """Find what keeps every row from being trained or evaluated on a file; clouds are not read.

    Raises
    ------
    InputError
        A category has no templates, no test samples of both kinds, or no defective one with labels
        of its points; or a template lacks its mesh, in the track "meshes".
    """
    for category in categories:
        template_records(dataset, category, track)
        records = evaluated_records(dataset, category)
        check_records(records)
        check_labelled(records)


def _say_unlabelled(dataset: Dataset, categories: Sequence[str], quiet: bool) -> None:
    for category in categories:
        records = evaluated_records(dataset, category)
        if bare := sum(not record.labelled for record in records):
            say(
                f"{category}: {bare} of {len(records)} test samples have no labels of their "
                "points; figures of points leave them out",
                quiet,
            )


def left_out(out: Path, planned: Sequence[Job]) -> str:
    """Name the folders of rows that are there and not in a leaderboard; "" where there are none."""
    own = {job.folder.parent.name for job in planned}
    return ", ".join(sorted(path.name for path in (out / "runs").glob("*") if path.name not in own))


def _write(board: Board, tables: list[Table]) -> None:
    for name, content in contents(board, tables).items():
        with writing(board.folder / name):
            write_whole(board.folder / name, content)


def examined(jobs: Sequence[Job], dataset: Dataset) -> Done:
    """Return what is evaluated of jobs, by row and seed. Errors as of `finished`."""
    return {(job.row, job.seed): finished(job, dataset) for job in jobs}


def contents(board: Board, tables: list[Table]) -> Mapping[str, bytes]:
    """Return the files of a leaderboard by their names."""
    return {
        "leaderboard.csv": as_csv(board).encode(),
        "leaderboard.md": as_markdown(board, tables).encode(),
        "leaderboard.tex": as_latex(board, tables).encode(),
        "leaderboard.html": leaderboard_page(board, tables),
        RECORD: (json.dumps(board.to_dict(), indent=2, allow_nan=False) + "\n").encode(),
    }
