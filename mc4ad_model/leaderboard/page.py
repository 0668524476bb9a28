# SPDX-License-Identifier: Apache-2.0
"""A leaderboard as one self-contained HTML page with tables that a reader sorts.

All text is escaped. The page runs no script but its own (Content-Security-Policy), opens no
connection, and links to files of its folder alone: the page of a row where `iv compare` made
it, and the scores of each category.
"""

from __future__ import annotations

import base64
import html
import importlib.resources
import urllib.parse
from collections.abc import Mapping, Sequence

from intravariance.looking import page as pages
from intravariance.looking.page import (
    Heading,
    Row,
    fill,
    script_hash,
    sort_script,
    sortable_table,
    style,
)
from mc4ad_model.leaderboard.board import Board
from mc4ad_model.leaderboard.documents import describe_board
from mc4ad_model.leaderboard.tables import Cell, Table

FILES = ("leaderboard.csv", "leaderboard.md", "leaderboard.tex", "leaderboard.json")
_LINKS = (
    " A row's name leads to its misses and false alarms where <code>iv compare</code> made that "
    "page, a category's figure to the scores of the first seed."
)


def leaderboard_page(board: Board, tables: list[Table]) -> bytes:
    """Make the page (UTF-8)."""
    title = f"Leaderboard of {board.dataset['file']}"
    return tables_page(title, describe_board(board), tables, FILES, _LINKS)


def tables_page(
    title: str,
    about: str,
    tables: list[Table],
    files: Sequence[str],
    hint: str = "",
    pictures: Mapping[str, bytes] | None = None,
) -> bytes:
    """Make a page (UTF-8) of tables, after pictures.

    files : in the page's folder, which it links to. hint : HTML, after how to sort. pictures : PNG
    by what they show.
    """
    script = "\n" + sort_script()
    filled = {
        "policy": f"default-src 'none'; script-src '{script_hash(script)}'; "
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'",
        "title": html.escape(title),
        "style": style() + _asset("style.css"),
        "about": html.escape(about),
        "hint": hint,
        "files": ", ".join(
            f'<a href="{urllib.parse.quote(name)}">{html.escape(name)}</a>' for name in files
        ),
        "contents": "\n".join(
            f'<li><a href="#{table.key}">{html.escape(table.title)}</a></li>' for table in tables
        ),
        "tables": "\n".join(
            [
                *(_picture(shown, content) for shown, content in (pictures or {}).items()),
                *map(_table, tables),
            ]
        ),
        "script": script,
    }
    return fill(_asset("template.html"), filled).encode()


def _picture(shown: str, content: bytes) -> str:
    data = base64.b64encode(content).decode()
    return (
        f'<section><h2>{html.escape(shown)}</h2><div class="scroll">'
        f'<img alt="{html.escape(shown)}" src="data:image/png;base64,{data}"></div></section>'
    )


def _table(table: Table) -> str:
    columns = [
        Heading(column.title, "ascending" if column.better == "lower" else "descending")
        for column in table.columns
    ]
    rows = sortable_table(columns, [_row(row) for row in table.rows])
    note = f"<p>{html.escape(table.note)}</p>" if table.note else ""
    return (
        f'<section id="{table.key}" aria-labelledby="{table.key}-title">'
        f'<h2 id="{table.key}-title">{html.escape(table.title)}</h2>{note}'
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{table.key}-title">'
        f"{rows}</div></section>"
    )


def _row(row: Sequence[Cell]) -> Row:
    return Row([pages.Cell(cell.text, cell.value, cell.best, cell.link) for cell in row])


def _asset(name: str) -> str:
    folder = importlib.resources.files("mc4ad_model.leaderboard") / "page_assets"
    return (folder / name).read_text(encoding="utf-8")
