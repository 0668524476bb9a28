# SPDX-License-Identifier: Apache-2.0
"""Tables for people: aligned text for a terminal, Markdown for a document."""

from __future__ import annotations

from collections.abc import Sequence

Cell = str | int | float | None


def text_table(heading: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Columns aligned, the first to the left; fractions with three digits, None as "-"."""
    lines = [list(heading), *([show(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def markdown_table(heading: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """The same as a Markdown table."""
    lines = [list(heading), ["---", *["---:"] * (len(heading) - 1)]]
    lines += [[show(value) for value in row] for row in rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"
                     for row in lines)  # fmt: skip


def show(value: Cell) -> str:
    """One cell."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
