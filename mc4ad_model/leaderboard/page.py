# SPDX-License-Identifier: Apache-2.0
"""A leaderboard as one self-contained HTML page with tables that a reader sorts.

All text is escaped. The page runs no script but its own (Content-Security-Policy), opens no
connection, and links to files of its folder alone: heat maps of a row where `iv compare` made them,
and the scores of each category.
"""

from __future__ import annotations

import html
import importlib.resources
from urllib.parse import quote

from intravariance.looking.page import fill, script_hash, style
from mc4ad_model.leaderboard.board import Board
from mc4ad_model.leaderboard.documents import describe_board
from mc4ad_model.leaderboard.tables import Cell, Column, Table

FILES = ("leaderboard.csv", "leaderboard.md", "leaderboard.tex", "leaderboard.json")


def leaderboard_page(board: Board, tables: list[Table]) -> bytes:
    """Make the page (UTF-8)."""
    script = "\n" + _asset("sort.js")
    files = ", ".join(f'<a href="{name}">{name}</a>' for name in FILES)
    filled = {
        "policy": f"default-src 'none'; script-src '{script_hash(script)}'; "
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'",
        "title": html.escape(f"Leaderboard of {board.dataset['file']}"),
        "style": style() + _asset("style.css"),
        "about": html.escape(describe_board(board)),
        "files": files,
        "contents": "\n".join(
            f'<li><a href="#{table.key}">{html.escape(table.title)}</a></li>' for table in tables
        ),
        "tables": "\n".join(map(_table, tables)),
        "script": script,
    }
    return fill(_asset("template.html"), filled).encode()


def _table(table: Table) -> str:
    numeric = [
        any(row[place].value is not None for row in table.rows)
        for place in range(len(table.columns))
    ]
    head = "".join(map(_heading, table.columns, numeric))
    body = "\n".join(
        f"<tr>{''.join(map(_cell, row, numeric, range(len(row))))}</tr>" for row in table.rows
    )
    note = f"<p>{html.escape(table.note)}</p>" if table.note else ""
    return (
        f'<section id="{table.key}" aria-labelledby="{table.key}-title">'
        f'<h2 id="{table.key}-title">{html.escape(table.title)}</h2>{note}'
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{table.key}-title">'
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div></section>"
    )


def _heading(column: Column, numeric: bool) -> str:
    first = "descending" if numeric and column.better != "lower" else "ascending"
    return (
        f'<th scope="col"{_aligned(numeric)} data-first="{first}">'
        f'<button type="button">{html.escape(column.title)}</button></th>'
    )


def _cell(cell: Cell, numeric: bool, place: int) -> str:
    text = html.escape(cell.text)
    if cell.best:
        text = f"<strong>{text}</strong>"
    if cell.link:
        text = f'<a href="{html.escape(quote(cell.link))}">{text}</a>'
    value = "" if cell.value is None else f' data-value="{cell.value!r}"'
    kind = 'th scope="row"' if place == 0 else "td"
    return f"<{kind}{_aligned(numeric)}{value}>{text}</{kind.partition(' ')[0]}>"


def _aligned(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def _asset(name: str) -> str:
    folder = importlib.resources.files("mc4ad_model.leaderboard") / "page_assets"
    return (folder / name).read_text(encoding="utf-8")
