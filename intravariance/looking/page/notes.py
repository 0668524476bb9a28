# SPDX-License-Identifier: Apache-2.0
"""Text of a page beside its clouds: numbers above the viewer, and notes below it.

All text is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """A section below the viewer: a title, plain text (line breaks stay), a table, or both.

    columns : headings. rows : cells in that order; numbers are aligned to the right, None is left
    empty. Floats appear with four significant digits: give text where they should not.
    """

    title: str
    text: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str | float | None]] = ()


@dataclass(frozen=True)
class Figure:
    """A number above the viewer. name : of the measure. value : as text. detail : small, beside it,
    such as an interval. meaning : a sentence, shown where the pointer rests."""

    name: str
    value: str
    detail: str = ""
    meaning: str = ""


def notes_html(notes: Sequence[Note]) -> str:
    """Write the part of a page that holds the notes; nothing where there are none."""
    if not notes:
        return ""
    sections = "\n".join(map(_note, notes))
    return f'<details id="notes"><summary>Notes and figures</summary>\n{sections}\n</details>'


def _note(note: Note) -> str:
    parts = [f"<h2>{html.escape(note.title)}</h2>"]
    if note.text:
        parts.append(f"<p>{html.escape(note.text)}</p>")
    if note.rows or note.columns:
        numeric = [_numeric([row[i] for row in note.rows]) for i in range(len(note.columns))]
        head = "".join(
            f'<th scope="col"{_aligned(right)}>{html.escape(name)}</th>'
            for name, right in zip(note.columns, numeric, strict=True)
        )
        rows = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in note.rows)
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
    return "<section>" + "\n".join(parts) + "</section>"


def _numeric(cells: Sequence[str | float | None]) -> bool:
    return any(cell is not None and not isinstance(cell, str) for cell in cells)


def _aligned(right: bool) -> str:
    return ' class="number"' if right else ""


def _cell(cell: str | float | None) -> str:
    text = "" if cell is None else cell if isinstance(cell, str) else f"{cell:.4g}"
    if isinstance(cell, int):  # a count: all its digits
        text = str(cell)
    return f"<td{_aligned(_numeric([cell]))}>{html.escape(text)}</td>"


def figures_html(figures: Mapping[str, Sequence[Figure]]) -> str:
    """Write the numbers of each category; the page shows those of the category that it shows."""
    if not figures:
        return ""
    lists = "\n".join(
        f'<dl data-category="{html.escape(category)}" hidden>{"".join(map(_figure, some))}</dl>'
        for category, some in figures.items()
    )
    return f'<section id="figures" aria-label="Metrics">{lists}</section>'


def _figure(figure: Figure) -> str:
    detail = f" <small>{html.escape(figure.detail)}</small>" if figure.detail else ""
    title = f' title="{html.escape(figure.meaning)}"' if figure.meaning else ""
    return (
        f"<div{title}><dt>{html.escape(figure.name)}</dt>"
        f"<dd>{html.escape(figure.value)}{detail}</dd></div>"
    )
