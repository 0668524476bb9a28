# SPDX-License-Identifier: Apache-2.0
"""A leaderboard as text, Markdown, LaTeX and CSV."""

from __future__ import annotations

import re
from collections.abc import Iterator

from intravariance.tables import csv_table, markdown_table, text_table
from mc4ad_model.leaderboard.board import Board
from mc4ad_model.leaderboard.queue import Measured
from mc4ad_model.leaderboard.standings import MEASURES, RANKED, Kinds, of_kind
from mc4ad_model.leaderboard.tables import Table

_CSV = ("row", "method", "settings", "seed", "category", "metric", "value")
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}  # fmt: skip


def describe_board(board: Board) -> str:
    """Say in a sentence or two what was compared."""
    seeds = ", ".join(map(str, board.seeds))
    return (
        f"{board.dataset['file']} ({board.dataset['specification']}, content digest "
        f"{board.dataset['digest']}), noise {board.noise_sigma:.4g}, track {board.track}; "
        f"{', '.join(board.categories)}; seed{'s' if len(board.seeds) > 1 else ''} {seeds}."
    )


def as_text(board: Board, tables: list[Table]) -> str:
    """Return the tables for a terminal."""
    return text_document(describe_board(board), tables)


def text_document(about: str, tables: list[Table]) -> str:
    """Return tables for a terminal, after what they are about."""
    parts = [about]
    for table in tables:
        heading = [column.title for column in table.columns]
        cells = [[cell.text for cell in row] for row in table.rows]
        note = f"\n{table.note}" if table.note else ""
        parts.append(f"{table.title}\n{text_table(heading, cells)}{note}")
    return "\n\n".join(parts)


def as_markdown(board: Board, tables: list[Table]) -> str:
    """Return the tables as a Markdown document, the best of each column bold."""
    return markdown_document("Leaderboard", describe_board(board), tables)


def markdown_document(title: str, about: str, tables: list[Table]) -> str:
    """Return tables as a Markdown document, the best of each column bold."""
    parts = [f"# {_in_markdown(title)}", _in_markdown(about)]
    for table in tables:
        cells = [
            [f"**{c.text}**" if c.best else _in_markdown(c.text) for c in row] for row in table.rows
        ]
        heading = [_in_markdown(column.title) for column in table.columns]
        parts += [f"## {_in_markdown(table.title)}", markdown_table(heading, cells)]
        parts += [_in_markdown(table.note)] if table.note else []
    return "\n\n".join(parts) + "\n"


def as_latex(board: Board, tables: list[Table]) -> str:
    """Return the tables as LaTeX with booktabs, to be included."""
    parts = ["% needs \\usepackage{booktabs}", f"% {_one_line(describe_board(board))}"]
    for table in tables:
        alignment = "l" + "r" * (len(table.columns) - 1)
        lines = [[latex(column.title) for column in table.columns]]
        lines += [
            [rf"\textbf{{{latex(c.text)}}}" if c.best else latex(c.text) for c in row]
            for row in table.rows
        ]
        head, *body = [" & ".join(line) + r" \\" for line in lines]
        parts.append(
            "\n".join([
                r"\begin{table}", r"\centering",
                rf"\caption{{{latex(table.title)}. {latex(table.note)}}}",
                rf"\label{{tab:{table.key}}}", rf"\begin{{tabular}}{{{alignment}}}", r"\toprule",
                head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", r"\end{table}",
            ])
        )  # fmt: skip
    return "\n\n".join(parts) + "\n"


def latex(text: str) -> str:
    """Write plain text so that LaTeX prints it as it is, on one line."""
    return "".join(_LATEX.get(letter, letter) for letter in _one_line(text))


def as_csv(board: Board) -> str:
    """Return every figure of every working row: a line for each seed, category and metric."""
    lines: list[list[object]] = []
    for one in board.working:
        row = one.row
        settings = row.name.removeprefix(row.method).removeprefix("[").removesuffix("]")
        for (seed, category), measured in one.measured.items():
            for metric, value in figures(measured):
                lines.append([row.name, row.method, settings, seed, category, metric, value])
    return csv_table(_CSV, lines)


def figures(measured: Measured) -> Iterator[tuple[str, float | int | None]]:
    """Yield name and value of all figures of an evaluation; None where it is not defined."""
    for name, value in MEASURES.items():
        yield name, value(measured)
    parts: tuple[tuple[Kinds, dict[str, object]], ...] = (
        ("defects", {**measured.metrics.defects}),
        ("difficulties", {**measured.metrics.difficulties}),
    )
    for kinds, found in parts:
        for kind in found:
            for name in RANKED:
                yield f"{name}, {kind}", of_kind(kinds, kind, name)(measured)
    yield "fit seconds", measured.fit_seconds
    yield "parameters", measured.cost.parameters
    yield "peak memory, bytes", measured.cost.memory


def _in_markdown(text: str) -> str:
    """Write plain text so that Markdown shows it as it is."""
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())
