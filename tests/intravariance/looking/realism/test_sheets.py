# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from intravariance.looking.realism.sheets import caption, comparison_sheet
from tests.intravariance.looking.test_panels import ball, bulge, cut
from tests.intravariance.looking.test_rendering import is_blank, is_orange

SIZE = 96
CAPTION, TITLE = 3 * 11 + 4, 14 + 10  # below and above a row


def cells(sheet: Image.Image, rows: int, columns: int) -> list[list[np.ndarray]]:
    """Cut out the pictures, counted from the bottom: the heading's height does not matter."""
    pixels = np.asarray(sheet)
    assert pixels.shape[1] == columns * SIZE
    height = TITLE + SIZE + CAPTION
    tops = [pixels.shape[0] - (rows - row) * height + TITLE for row in range(rows)]
    return [
        [pixels[top : top + SIZE, c * SIZE : (c + 1) * SIZE] for c in range(columns)]
        for top in tops
    ]


def test_a_row_each_kind_with_as_many_cells_as_it_has_clouds() -> None:
    rows = [("bulge", [bulge(), bulge(0.1), ball()]), ("da_gen_paper", [bulge(0.2)]), ("none", [])]
    first, second, third = cells(comparison_sheet(rows, SIZE), rows=3, columns=3)
    assert [is_orange(cell).any() for cell in first] == [True, True, False]
    assert is_orange(second[0]).any()
    assert all(is_blank(cell).all() for cell in [*second[1:], *third])


def test_one_displacement_scale_for_the_whole_sheet() -> None:
    """A third of the movement has a third of the scale: no violet, where the largest has it."""
    sheet = comparison_sheet([("a", [bulge(0.6)]), ("b", [bulge(0.2)])], SIZE, "displacement")
    (strong,), (weak,) = cells(sheet, rows=2, columns=1)
    violet = [
        int(((cell[..., 2] > cell[..., 1] + 15.0) & (cell[..., 0] > cell[..., 1])).sum())
        for cell in (strong, weak)
    ]
    assert violet[0] > 10 and violet[1] == 0


def test_arrows_are_drawn_on_request() -> None:
    rows = [("a", [bulge(0.6)])]
    plain, arrows = (
        comparison_sheet(rows, SIZE, "displacement", arrows=flag) for flag in (False, True)
    )
    ((without,),), ((with_them,),) = (cells(sheet, 1, 1) for sheet in (plain, arrows))
    assert not np.array_equal(without, with_them)


def test_scores_need_scores_and_nothing_is_a_sheet_too() -> None:
    comparison_sheet([("a", [bulge()])], SIZE, "scores")
    with pytest.raises(ValueError, match="cut has no scores"):
        comparison_sheet([("a", [bulge(), cut()])], SIZE, "scores")
    with pytest.raises(ValueError, match="cut has no scores"):
        comparison_sheet([("a", [cut()])], SIZE, "scores")
    assert comparison_sheet([], SIZE).height > 0


def test_title_and_lines_stand_above() -> None:
    bare = comparison_sheet([("a", [ball()])], 200)
    titled = comparison_sheet([("a", [ball()])], 200, title="vase", lines=["two words"])
    assert titled.height > bare.height
    assert np.asarray(titled)[:20].min() < 100


def test_equal_sheets_have_equal_bytes() -> None:
    rows = [("a", [bulge(), cut()])]
    drawn = [comparison_sheet(rows, SIZE, "displacement", arrows=True).tobytes() for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_captions() -> None:
    share = f"{100 * bulge().labels.mean():.1f} %"
    largest = float(np.linalg.norm(bulge(0.5).displacement, axis=1).max())
    assert caption(bulge(0.5)) == f"ball, {share}, moved {largest:.2f}"
    assert caption(cut()) == f"ball, {share}"
    assert caption(ball()) == "ball, normal"
    assert caption(replace(ball(), subcategory="", displacement=None)) == "toy, normal"
