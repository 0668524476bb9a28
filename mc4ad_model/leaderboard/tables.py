# SPDX-License-Identifier: Apache-2.0
"""The tables of a leaderboard: the same cells for the terminal, Markdown, LaTeX and the page."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mc4ad_model.evaluation.metrics import LEVEL
from mc4ad_model.evaluation.results import SAMPLES_FILE
from mc4ad_model.leaderboard.board import Board
from mc4ad_model.leaderboard.comparing import Comparison
from mc4ad_model.leaderboard.rows import unencoded_rows
from mc4ad_model.leaderboard.significance import Difference
from mc4ad_model.leaderboard.standings import (
    MEASURES,
    RANKED,
    Kinds,
    Standing,
    kinds_of,
    of_kind,
)
from mc4ad_model.runs.experiments import Spread

PICTURES = Path("comparison", "page.html")  # in the folder of a row's seed, where `iv compare` is


@dataclass(frozen=True)
class Cell:
    """text : as it is shown. value : what a column is sorted by, None where there is none. link :
    a file of the leaderboard's folder, "" for none. best : in its column."""

    text: str
    value: float | None = None
    link: str = ""
    best: bool = False


@dataclass(frozen=True)
class Column:
    """better : "higher", "lower", or "" for one that is no contest."""

    title: str
    better: str = ""


@dataclass(frozen=True)
class Table:
    """key : a word for names of files and places. note : sentences about the table."""

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: list[list[Cell]]
    note: str = ""


NOTHING = Cell("-")
_NO_ENCODER = "not run: it needs an encoder of `iv pretrain` (--encoder FOLDER)"


def all_tables(board: Board) -> list[Table]:
    """Return the tables, the main one first; those that would be empty are left out."""
    tables = [main_table(board), *(against_baseline(board, one) for one in board.comparisons)]
    if any(found.ranking for found in board.comparisons):
        tables.append(rank_table(board))
    tables += [category_tables(board, measure) for measure in RANKED]
    kinds: tuple[tuple[Kinds, str], ...] = (
        ("defects", "defect type"), ("difficulties", "difficulty"),
    )  # fmt: skip
    tables += [kind_table(board, k, word, measure) for k, word in kinds for measure in RANKED]
    tables += [variant_table(board), published_table(board), failure_table(board)]
    return [_marked(table) for table in tables if table.rows]


def main_table(board: Board) -> Table:
    """Return the table of all rows: means over categories, ranks and costs."""
    columns = [Column("row"), Column("frame"), Column("seeds")]
    columns += [Column(name, "" if name == "objects/s" else "higher") for name in MEASURES]
    columns += [Column(f"mean rank, {name}", "lower") for name in RANKED]
    columns += [Column("fit, s"), Column("parameters"), Column("peak, MiB")]
    several, doubted = len(board.machines) > 1, any(one.in_doubt for one in board.working)
    columns += [Column("in doubt")] if doubted else []
    columns += [Column("machine")] if several else []
    ranks = {one.measure: one.ranks for one in board.comparisons}
    rows = []
    for one in board.standings:
        cells = [Cell(one.row.name, link=_pictures(board, one)), _word(one.row.frame)]
        if one.fault:
            missing = [NOTHING] * (len(columns) - len(cells) - 1)
            rows.append([*cells, Cell("not working"), *missing])
            continue
        count = f"{len(one.seeds)}" if one.row.seeded else "needs none"
        cells.append(Cell(count, len(one.seeds)))
        cells += [
            _spread(one.spread(value), 1 if measure == "objects/s" else 3)
            for measure, value in MEASURES.items()
        ]
        cells += [_number(ranks.get(m, {}).get(one.row.name), 2) for m in RANKED]
        cells += [_number(one.fit_seconds, 1), _count(one.parameters)]
        cells.append(_count(round(one.memory / 2**20)))
        cells += [_number(one.in_doubt, 1)] if doubted else []
        cells += [Cell(", ".join(one.machines) or "not known")] if several else []
        rows.append(cells)
    return Table("rows", "All rows", tuple(columns), rows, _main_note(board))


def _main_note(board: Board) -> str:
    count = len(board.categories)
    spread = (
        "± is the standard deviation over seeds of the means over categories. "
        if len(board.seeds) > 1 else ""
    )  # fmt: skip
    machines = (
        f" They were measured on {len(board.machines)} machines, and times of different machines "
        'cannot be compared: see the column "machine".'
        if len(board.machines) > 1 else ""
    )  # fmt: skip
    return (
        f"Means over {count} categor{'ies' if count > 1 else 'y'}. {spread}Mean rank: of the rank "
        "among all rows in each category, 1 being best. objects/s, fit (all categories) and peak "
        f"memory are of one process for a row and seed, {board.at_once} at a time; the process "
        "fits, scores and measures one category after another (on a Dask cluster there is one for "
        f"each category), and where it was interrupted they are of what was left.{machines} A row "
        'that needs no seed ran once ("needs none").'
    )


def variant_table(board: Board) -> Table:
    """Return which paper's method each row is, and its preset and networks."""
    rows = [
        [Cell(one.row.name), Cell(one.row.title), _word(one.label or one.row.settings.label)]
        for one in board.standings
    ]
    return Table(
        "variants",
        "Variants that ran",
        (Column("row"), Column("method"), Column("variant")),
        rows,
        "A variant names the preset, or features and frame, and the source of a network that the "
        'method was given: "self-trained", or a published file by the start of its SHA-256.',
    )


def against_baseline(board: Board, found: Comparison) -> Table:
    """Return the differences of rows from the best baseline."""
    rows = []
    for one in board.working:
        gap = found.differences.get(one.row.name)
        if gap is not None:
            rows.append([
                Cell(one.row.name), _number(gap.mean, 3, signed=True),
                Cell(f"{gap.low:+.3f} to {gap.high:+.3f}", gap.low), Cell(_verdict(gap)),
            ])  # fmt: skip
    return Table(
        f"against-{found.measure.lower()}",
        f"{found.measure} against the best baseline, {found.baseline}",
        (Column("row"), Column("difference"), Column(f"{LEVEL:.0%} interval"), Column("verdict")),
        rows,
        "Paired bootstrap over objects in each category, of the mean over categories and seeds. "
        "Baselines are the methods that no paper proposes. A method that is not better than them "
        "has shown nothing.",
    )


def _verdict(gap: Difference) -> str:
    if gap.low > 0:
        return "better"
    return "worse" if gap.high < 0 else "not told apart"


def rank_table(board: Board) -> Table:
    """Return mean ranks, and which rows Nemenyi's test does not tell from the best."""
    columns, notes = [Column("row")], []
    for found in board.comparisons:
        columns += [Column(f"mean rank, {found.measure}", "lower"), Column("as the best")]
        notes.append(_friedman(found))
    rows = []
    for one in board.working:
        cells = [Cell(one.row.name)]
        for found in board.comparisons:
            rank, best = found.ranks[one.row.name], min(found.ranks.values())
            cells.append(_number(rank, 2))
            if found.ranking is None:
                cells.append(NOTHING)
            else:
                near = rank - best <= found.ranking.critical_difference
                cells.append(Cell("yes" if near else "no"))
        rows.append(cells)
    return Table("ranks", "Ranks over categories", tuple(columns), rows, " ".join(notes))


def _friedman(found: Comparison) -> str:
    if found.ranking is None:
        return f"{found.measure}: Friedman's test needs three rows and two categories."
    test = found.ranking
    p = "all rows are equal" if test.p_value is None else f"p = {test.p_value:.2g}"
    return (
        f"{found.measure}: Friedman's test over {test.categories} categories: {p}; critical "
        f"difference of mean ranks (Nemenyi, {1 - LEVEL:.0%}) {test.critical_difference:.2f}."
    )


def category_tables(board: Board, measure: str) -> Table:
    """Return a measure in each category; a cell links to the scores of the first seed."""
    rows = []
    for one in board.working:
        cells = [Cell(one.row.name)]
        for category in board.categories:
            cell = _spread(one.in_category(category, MEASURES[measure]))
            scores = one.measured[one.seeds[0], category].evaluation / SAMPLES_FILE
            cells.append(Cell(cell.text, cell.value, _relative(board, scores)))
        rows.append([*cells, _spread(one.spread(MEASURES[measure]))])
    columns = (Column("row"), *(Column(name, "higher") for name in (*board.categories, "mean")))
    return Table(f"categories-{measure.lower()}", f"{measure} by category", columns, rows)


def kind_table(board: Board, kinds: Kinds, word: str, measure: str) -> Table:
    """Return a measure of each defect type or difficulty, means over categories."""
    names = kinds_of(board.working, kinds)
    rows = [
        [Cell(one.row.name), *(_spread(one.spread(of_kind(kinds, n, measure))) for n in names)]
        for one in board.working
        if names
    ]
    of = "against all normal objects" if measure == "O-AUROC" else "of their own points"
    return Table(
        f"{kinds}-{measure.lower()}",
        f"{measure} by {word}",
        (Column("row"), *(Column(name, "higher") for name in names)),
        rows,
        f"Defective objects of a {word} {of}, mean over the categories that have any.",
    )


def sweep_table(boards: Mapping[str, Board], measure: str, by: str) -> Table:
    """Return a measure of each row on each file of a sweep, with a column for each setting.

    boards : by their setting. by : what the settings are of.
    """
    names = dict.fromkeys(one.row.name for board in boards.values() for one in board.standings)
    found = [{one.row.name: one for one in board.working} for board in boards.values()]
    rows = [
        [
            Cell(name),
            *(
                _spread(working[name].spread(MEASURES[measure])) if name in working else NOTHING
                for working in found
            ),
        ]
        for name in names
    ]
    columns = (Column("row"), *(Column(title, "higher") for title in boards))
    return _marked(Table(f"sweep-{measure.lower()}", f"{measure} by {by}", columns, rows))


def published_table(board: Board) -> Table:
    """Return what the paper prints, and our rows of the same methods beside it."""
    columns = (
        Column("method of Table 19"), *(Column(f"paper, {name}") for name in RANKED),
        Column("row here"), *(Column(f"here, {name}") for name in RANKED),
    )  # fmt: skip
    by_name = {one.row.name: one for one in board.standings}
    rows = []
    for printed in board.published:
        own = by_name.get(printed.row)
        ours = [NOTHING] * len(RANKED)
        if own is not None and not own.fault:
            ours = [_spread(own.spread(MEASURES[name])) for name in RANKED]
        theirs = [_number(printed.averages[name], 3) for name in RANKED]
        rows.append([Cell(printed.method), *theirs, Cell(printed.row or "not here"), *ours])
    return Table(
        "published",
        "Published figures, of another file",
        columns,
        rows,
        f"The paper's averages are of the authors' file, which is not public; ours are of "
        f"{board.dataset['file']}, with other products. Compare neither the numbers nor the order.",
    )


def failure_table(board: Board) -> Table:
    """Return the rows that are not working, and those that lack an encoder."""
    rows = [[Cell(one.row.name), Cell(f"not working: {one.fault}")] for one in board.failed]
    rows += [[Cell(name), Cell(_NO_ENCODER)] for name in unencoded_rows(board.rows)]
    return Table("failures", "Not working or not run", (Column("row"), Column("reason")), rows)


def _marked(table: Table) -> Table:
    """Mark the best of each column that is a contest."""
    rows = [list(row) for row in table.rows]
    for place, column in enumerate(table.columns):
        known = [v for row in rows if (v := row[place].value) is not None]
        if column.better and len(set(known)) > 1:
            best = max(known) if column.better == "higher" else min(known)
            for row in rows:
                cell = row[place]
                if cell.value == best:
                    row[place] = Cell(cell.text, cell.value, cell.link, best=True)
    return Table(table.key, table.title, table.columns, rows, table.note)


def _spread(found: Spread | None, digits: int = 3) -> Cell:
    if found is None:
        return NOTHING
    spread = "" if found.deviation is None else f" ±{found.deviation:.{digits}f}"
    return Cell(f"{found.mean:.{digits}f}{spread}", found.mean)


def _number(value: float | None, digits: int, signed: bool = False) -> Cell:
    if value is None:
        return NOTHING
    return Cell(f"{value:{'+' if signed else ''}.{digits}f}", value)


def _count(value: int | None) -> Cell:
    return NOTHING if value is None else Cell(f"{value:,}", value)


def _word(text: str) -> Cell:
    return Cell(text) if text else NOTHING


def _relative(board: Board, path: Path) -> str:
    return Path(os.path.relpath(path, board.folder)).as_posix()


def _pictures(board: Board, one: Standing) -> str:
    """Return the page of a row's heat maps, of the first seed that has one."""
    for place in _seed_folders(one):
        if (place / PICTURES).is_file():
            return _relative(board, place / PICTURES)
    return ""


def _seed_folders(one: Standing) -> Iterator[Path]:
    yield from dict.fromkeys(measured.folder.parent for measured in one.measured.values())
