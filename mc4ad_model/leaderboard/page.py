# SPDX-License-Identifier: Apache-2.0
"""A leaderboard as one self-contained HTML page with tables that a reader sorts.

All text is escaped. The page runs no script but its own (Content-Security-Policy), opens no
connection, and links to files of its folder alone: the page of a row where `iv compare` made
it, and the scores of each category.
"""

from __future__ import annotations

import html
import importlib.resources
from collections.abc import Sequence

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


def leaderboard_page(board: Board, tables: list[Table]) -> bytes:
    """Make the page (UTF-8)."""
    script = "\n" + sort_script()
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
