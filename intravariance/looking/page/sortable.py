# SPDX-License-Identifier: Apache-2.0
"""Tables of a page that a reader sorts, and whose rows may open a cloud in the page's viewer.

A page that has one carries `sort_script()`. All text is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from intravariance.looking.colours import Colour, css
from intravariance.looking.page.assets import asset


@dataclass(frozen=True)
class Heading:
    """title : of the column. first : the order that its first click gives, of a column of numbers;
    text ascends first."""

    title: str
    first: Literal["ascending", "descending"] = "descending"


@dataclass(frozen=True)
class Cell:
    """text : what is shown. value : what it is sorted by, None for the text. strong : in bold.
    link : a file of the page's folder. mark : colour of a dot before the text."""

    text: str
    value: float | None = None
    strong: bool = False
    link: str = ""
    mark: Colour | None = None


@dataclass(frozen=True)
class Row:
    """cells : one for each column. shows : name of the cloud that the row opens; "" for none."""

    cells: Sequence[Cell]
    shows: str = ""


@dataclass(frozen=True)
class Listing:
    """A table beside a page's viewer. text : above it, plain; line breaks stay."""

    text: str
    columns: Sequence[Heading]
    rows: Sequence[Row] = field(default_factory=tuple)


def sortable_table(
    columns: Sequence[Heading], rows: Sequence[Row], numbers: dict[str, int] | None = None
) -> str:
    """Return the table's HTML. A column is of numbers where one of its cells has a value.

    numbers : place in the page's index of each cloud that a row may open, by its name.
    """
    numeric = [any(row.cells[i].value is not None for row in rows) for i in range(len(columns))]
    head = "".join(map(_heading, columns, numeric))
    body = "\n".join(_row(row, numeric, (numbers or {}).get(row.shows)) for row in rows)
    return f'<table class="sortable"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'


def sort_script() -> str:
    """Return the script that makes headings sort."""
    return asset("sort.js")


def _heading(column: Heading, numeric: bool) -> str:
    first = column.first if numeric else "ascending"
    return (
        f'<th scope="col"{_aligned(numeric)} data-first="{first}">'
        f'<button type="button">{html.escape(column.title)}</button></th>'
    )


def _row(row: Row, numeric: Sequence[bool], shows: int | None) -> str:
    cells = "".join(
        _cell(cell, right, place, shows)
        for place, (cell, right) in enumerate(zip(row.cells, numeric, strict=True))
    )
    return f"<tr>{cells}</tr>" if shows is None else f'<tr data-shows="{shows}">{cells}</tr>'


def _cell(cell: Cell, numeric: bool, place: int, shows: int | None) -> str:
    text = html.escape(cell.text)
    if cell.strong:
        text = f"<strong>{text}</strong>"
    if cell.mark is not None:
        text = f'<i class="mark" style="background: {css(cell.mark)}"></i>{text}'
    if cell.link:
        text = f'<a href="{html.escape(quote(cell.link))}">{text}</a>'
    if place == 0 and shows is not None:
        text = f'<button type="button" class="shows">{text}</button>'
    value = "" if cell.value is None else f' data-value="{cell.value:.9g}"'
    kind = 'th scope="row"' if place == 0 else "td"
    return f"<{kind}{_aligned(numeric)}{value}>{text}</{kind.partition(' ')[0]}>"


def _aligned(numeric: bool) -> str:
    return ' class="number"' if numeric else ""
