# SPDX-License-Identifier: Apache-2.0
"""A leaderboard of a sweep: one of each of its files, and curves over what is swept.

OUT/
  curves.json                        which files; figures once it is done
  curves.csv, .md, .html, -KEY.png   means by setting; a picture for each swept key
  FILE/                              the leaderboard of a file (`leaderboard.board`), by its name
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from intravariance.building.sweep_index import Member, Sweep
from intravariance.errors import InputError
from intravariance.files.atomic import write_whole
from intravariance.progress import say
from mc4ad_model.leaderboard.curves import SweepBoard, curve_pictures, curves_csv
from mc4ad_model.leaderboard.documents import markdown_document, text_document
from mc4ad_model.leaderboard.making import check_dataset, make_leaderboard
from mc4ad_model.leaderboard.page import tables_page
from mc4ad_model.leaderboard.queue import Workers
from mc4ad_model.leaderboard.rows import Row
from mc4ad_model.leaderboard.standings import MEASURES, RANKED
from mc4ad_model.leaderboard.tables import Table, sweep_table
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.saved_files import read_json, reading, write_json, writing
from mc4ad_model.methods.templates import Track, track_of

CURVES_FORMAT = "intravariance-curves"
RECORD = "curves.json"


def member_folder(out: Path, member: Member) -> Path:
    """Return the folder of the leaderboard of a file."""
    return out / PurePath(member.file).stem


def make_sweep_leaderboard(
    sweep: Sweep,
    rows: Sequence[Row],
    categories: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    executor: Workers,
    machine: Machine,
    track: Track | None = None,
) -> SweepBoard:
    """Make a leaderboard of each file, whatever is left of it, and write the curves.

    Parameters are those of `make_leaderboard`.

    Raises
    ------
    InputError
        As of `make_leaderboard`; a file is not the one that the sweep's index names; or `out` holds
        something else.
    ModuleNotFoundError
        Matplotlib, which draws the curves, is not installed; found before anything is trained.
    """
    import matplotlib  # noqa: F401, PLC0415 - weight; missing, it is said now

    for member in sweep.members:
        with sweep.open(member) as dataset:
            check_dataset(dataset, categories, track or track_of(dataset))
    _claim(out, sweep)
    boards = []
    for member in sweep.members:
        say(f"leaderboard: {member.title}", machine.quiet)
        with sweep.open(member) as dataset:
            folder = member_folder(out, member)
            made, _ = make_leaderboard(
                dataset, rows, categories, seeds, folder, executor, machine, track
            )
        boards.append(made)
    board = SweepBoard(sweep, tuple(boards), out)
    _write(board)
    return board


def describe_sweep(board: SweepBoard) -> str:
    """Say in a sentence or two what was compared."""
    first = board.boards[0]
    seeds = f"seed{'s' if len(first.seeds) > 1 else ''} {', '.join(map(str, first.seeds))}"
    swept = "; ".join(
        f"{key} {', '.join(f'{value:.10g}' for value in values)}"
        for key, values in board.sweep.swept.items()
    )
    return (
        f"{len(board.boards)} files of {first.dataset['specification']} with the same base meshes, "
        f"defects and poses: {swept}. Track {first.track}; {', '.join(first.categories)}; {seeds}. "
        "Every file has a leaderboard of its own."
    )


def sweep_tables(board: SweepBoard) -> list[Table]:
    """Return a table for each ranked measure, with a column for each file."""
    pairs = zip(board.sweep.members, board.boards, strict=True)
    boards = {
        ", ".join(f"{value:.10g}" for value in member.values.values()): made
        for member, made in pairs
    }
    return [sweep_table(boards, measure, ", ".join(board.sweep.swept)) for measure in RANKED]


def sweep_text(board: SweepBoard, markdown: bool) -> str:
    """Return the tables for a terminal, or as Markdown."""
    about, tables = describe_sweep(board), sweep_tables(board)
    return (
        markdown_document("Leaderboard of a sweep", about, tables).rstrip()
        if markdown
        else text_document(about, tables)
    )


def sweep_dict(board: SweepBoard) -> dict[str, Any]:
    """Return means by row and measure, in the order of the files; JSON-able."""
    means: dict[str, dict[str, dict[str, float]]] = {row: {} for row in board.rows}
    for measure in MEASURES:
        for member, row, spread, _ in board.figures(measure):
            means[row].setdefault(measure, {})[member.file] = spread.mean
    return {
        **_record(board.sweep),
        "rows": {
            row: {
                measure: [by_file.get(member.file) for member in board.sweep.members]
                for measure, by_file in measures.items()
            }
            for row, measures in means.items()
        },
        "not_working": board.failed,
    }


def _record(sweep: Sweep) -> dict[str, Any]:
    return {
        "format": CURVES_FORMAT,
        "version": 1,
        "swept": {key: list(values) for key, values in sweep.swept.items()},
        "files": [
            {"file": m.file, "values": dict(m.values), "digest": m.digest} for m in sweep.members
        ],
    }


def _claim(out: Path, sweep: Sweep) -> None:
    """Make the folder, or check that it is of this sweep, to which files may have been added."""
    record = out / RECORD
    with writing(record):
        out.mkdir(parents=True, exist_ok=True)
        others = [path.name for path in out.iterdir() if path.suffix != ".partial"]
    if record.is_file():
        with reading():
            found = read_json(record, CURVES_FORMAT).get("files")
        own = _record(sweep)["files"]
        if not isinstance(found, list) or any(one not in own for one in found):
            raise InputError(
                f"--out {out}: holds the leaderboard of another sweep than {sweep.folder} (its "
                f"files are in {record}); choose another folder"
            )
    elif others:
        raise InputError(
            f"--out {out}: holds other files ({', '.join(sorted(others)[:3])}), and no leaderboard "
            "of a sweep; choose another folder"
        )
    else:
        write_json(record, _record(sweep))


def _write(board: SweepBoard) -> None:
    pictures = curve_pictures(board)
    about, tables = describe_sweep(board), sweep_tables(board)
    names = [f"curves-{key}.png" for key in pictures]
    links = [f"{member_folder(board.folder, m).name}/leaderboard.html" for m in board.sweep.members]
    page = tables_page(
        "Leaderboard of a sweep",
        about,
        tables,
        ["curves.csv", "curves.md", RECORD, *names, *links],
        pictures={f"Over {key}": content for key, content in pictures.items()},
    )
    contents = {
        "curves.csv": curves_csv(board).encode(),
        "curves.md": markdown_document("Leaderboard of a sweep", about, tables).encode(),
        "curves.html": page,
        **dict(zip(names, pictures.values(), strict=True)),
        RECORD: (json.dumps(sweep_dict(board), indent=2, allow_nan=False) + "\n").encode(),
    }
    for name, content in contents.items():
        with writing(board.folder / name):
            write_whole(board.folder / name, content)
