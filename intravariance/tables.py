# SPDX-License-Identifier: Apache-2.0
"""Tables: aligned text for a terminal, Markdown for a document, CSV for programs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence

Cell = str | int | float | None
TableForm = Callable[[Sequence[str], Sequence[Sequence[Cell]]], str]

_NUMBER = re.compile(r"(\*\*)?[-+]?[\d.,]+(%| ±[\d.]+)?(\*\*)?$|-$")


def text_table(heading: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Align the columns of a table, the first to the left, the others to the right."""
    lines = [list(heading), *([show(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def markdown_table(heading: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """Format the same as a Markdown table in GitHub's form; columns of numbers to the right."""
    lines = [[show(value) for value in row] for row in rows]
    columns = zip(*lines, strict=True) if lines else ()
    rules = ["---:" if all(map(_NUMBER.match, column)) else "---" for column in columns]
    table = [list(heading), rules or ["---"] * len(heading), *lines]
    escaped = ([cell.replace("|", r"\|") for cell in row] for row in table)
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def table_in(markdown: bool) -> TableForm:
    """Return `text_table`; or `markdown_table`, with the empty lines around it that Markdown wants
    between a table and sentences."""
    if not markdown:
        return text_table
    return lambda heading, rows: f"\n{markdown_table(heading, rows)}\n"


def csv_table(heading: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Format a table as CSV, each line ended by a line feed; None is empty."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([heading, *rows])
    return text.getvalue()


def show(value: Cell) -> str:
    """Format one cell: fractions with three digits, None as "-"."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
