# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from mc4ad_model.leaderboard.board import Board
from mc4ad_model.leaderboard.documents import as_latex, as_markdown, as_text, latex
from mc4ad_model.leaderboard.page import leaderboard_page
from mc4ad_model.leaderboard.tables import Cell, Column, Table

HOSTILE = "</script><b>\"a\" & 'b' | $x_1$ 50% #{}~^\\ `c` *d* [e](f)"
BOARD = Board(
    dataset={"file": HOSTILE, "specification": "s", "digest": "0" * 64},
    noise_sigma=0.1,
    track="meshes",
    seeds=(0,),
    categories=(HOSTILE,),
    standings=(),
    comparisons=(),
    published=(),
    at_once=1,
    folder=Path("board"),
)
TABLE = Table(
    "rows",
    HOSTILE,
    (Column(HOSTILE), Column("figure", "higher")),
    [[Cell(HOSTILE, link="runs/a=b,c d/<x>.csv"), Cell("0.500 ±0.010", 0.5, best=True)]],
    HOSTILE,
)


def test_text_is_no_markup_in_any_form() -> None:
    page = leaderboard_page(BOARD, [TABLE]).decode()
    assert page.count("</script>") == 1 and "<b>" not in page
    assert page.count("&lt;/script&gt;") >= 6  # title twice, about, contents, table
    assert 'href="runs/a%3Db%2Cc%20d/%3Cx%3E.csv"' in page
    tex = as_latex(BOARD, [TABLE])
    for letter in "&%$#_":
        body = tex.replace("\\" + letter, "").split("\\begin{table}")[1]
        assert letter not in body.replace("$\\pm$", "").replace(" & ", ""), letter
    assert r"\textbf{0.500 $\pm$0.010}" in tex
    markdown = as_markdown(BOARD, [TABLE])
    assert "<b>" not in markdown.replace("\\<b\\>", "") and "**0.500 ±0.010**" in markdown
    assert HOSTILE in as_text(BOARD, [TABLE])


@pytest.mark.parametrize(
    ("text", "written"),
    [("a_b", r"a\_b"), ("50%\nx", r"50\% x"), ("\\", r"\textbackslash{}"), ("{}", r"\{\}")],
)
def test_latex_prints_what_the_text_is(text: str, written: str) -> None:
    assert latex(text) == written
