# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pydantic")
from intravariance.dataset.specification_reader import load_group
from intravariance.errors import InputError
from mc4ad_model.paper.printed_tables import (
    MC4AD,
    METRICS,
    PO3AD,
    ablation_table,
    misprints,
    notes,
    table19,
)

TABLES = [table19(group, metric) for group in (1, 2) for metric in METRICS]
GRIDS = ("losses", "architecture", "patches", "normal-share", "attenuation", "magnitude", "accept")


def test_printed_averages_are_the_means_of_their_rows_but_for_the_listed_misprints() -> None:
    wrong = {}
    for table in TABLES:
        for row in table.rows:
            assert len(row.values) == len(table.categories) == 8
            # half a unit of the last printed digit, and of each value's
            if abs(np.mean(row.values) - row.average) > 0.0011:
                wrong[table.group, table.metric, row.method] = (row.average, np.mean(row.values))
    listed = {(m.group, m.metric, m.method): m for group in (1, 2) for m in misprints(group)}
    assert wrong.keys() == listed.keys() == {(1, "p_auroc", "PatchCore (FPFH)")}
    for key, (printed, computed) in wrong.items():
        assert listed[key].printed == printed == 0.890
        assert listed[key].computed == pytest.approx(computed, abs=0.0005)


def test_headline_figures() -> None:
    """The paper's text: 0.761 / 0.807 in Group 1, 0.625 / 0.678 in Group 2."""
    assert [table.average(MC4AD) for table in TABLES] == [0.761, 0.807, 0.625, 0.678]
    assert [table.average(PO3AD) for table in TABLES] == [0.703, 0.745, 0.595, 0.632]
    assert all(len(table.rows) == 7 for table in TABLES)
    assert all(0 < value < 1 for table in TABLES for row in table.rows for value in row.values)


def test_values_are_found_by_method_and_category() -> None:
    table = table19(2, "o_auroc")
    assert table.value(MC4AD, "vase") == 0.780
    assert table.value("BTF (Raw)", "cone") == 0.030
    assert table.value(MC4AD, "bowl") is None
    with pytest.raises(InputError, match=r"no method 'Mine'.*PO3AD"):
        table.value("Mine", "vase")
    with pytest.raises(InputError, match="no group 3"):
        table19(3, "o_auroc")


def test_the_categories_differ_from_our_specification_in_desk_and_bowl_alone() -> None:
    for group, odd in ((1, (set(), set())), (2, ({"desk"}, {"bowl"}))):
        ours = {category.name for category in load_group(group).select().categories}
        for metric in METRICS:
            printed = set(table19(group, metric).categories)
            assert (printed - ours, ours - printed) == odd
    assert any("desk" in note and "bowl" in note for note in notes(2))


def test_the_repeated_row_is_noted_and_no_other_row_repeats() -> None:
    rows = [(row.values, row.method, table) for table in TABLES for row in table.rows]
    repeated = [
        (method, table.metric)
        for i, (values, method, table) in enumerate(rows)
        if any(values == other for other, *_ in rows[:i])
    ]
    assert repeated == [("Reg3D-AD", "p_auroc")]
    for group in (1, 2):
        assert any("Reg3D-AD" in note for note in notes(group))


@pytest.mark.parametrize("grid", GRIDS)
def test_each_ablation_contains_the_full_model_once_and_it_is_best(grid: str) -> None:
    table = ablation_table(grid)
    assert table is not None and table.data == "Real3D-AD"
    figures = [(row.o_auroc, row.p_auroc) for row in table.rows.values()]
    assert figures.count((0.786, 0.837)) == 1
    if grid != "accept":
        assert max(figures) == (0.786, 0.837)


def test_two_stages_cannot_be_as_fast_as_table_10_says() -> None:
    """The note's 9.9 FPS: 1/20 s for each object and 1/14.8 s for three quarters of them."""
    table = ablation_table("accept")
    assert table is not None
    first, second = table.rows["V_P"].fps, table.rows["V_O"].fps
    assert first and second
    assert 1 / (1 / first + 0.75 / second) == pytest.approx(9.9, abs=0.05)
    assert table.rows["b = 0.25"].fps == 15.7
    assert "9.9" in table.notes[0]


def test_a_grid_that_the_paper_does_not_have() -> None:
    assert ablation_table("generators") is None
