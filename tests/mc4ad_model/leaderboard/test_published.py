# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from mc4ad_model.leaderboard.published import PRINTED, PRINTED_METHODS, published
from mc4ad_model.leaderboard.rows import read_row
from mc4ad_model.paper.printed_tables import table19

ROWS = [read_row(name) for name in ("btf", "mc4ad[preset=quick]", "mc4ad", "btf[features=raw]")]
ROWS.append(read_row("po3ad"))


def test_printed_methods_stand_beside_the_rows_that_are_these_methods() -> None:
    found = {one.method: one for one in published("group2", ROWS)}
    assert list(found) == [row.method for row in table19(2, "o_auroc").rows]
    assert found["BTF (FPFH)"].row == "btf" and found["BTF (Raw)"].row == "btf[features=raw]"
    assert found["MC4AD"].row == "mc4ad[preset=quick]"  # the first of the method
    assert found["PO3AD"].row == "po3ad" and found["Reg3D-AD"].row == ""
    assert found["MC4AD"].averages == {"O-AUROC": 0.625, "P-AUROC": 0.678}


def test_averages_are_the_means_of_their_rows() -> None:
    """The paper prints some averages for Group 1 that are not."""
    for group in (1, 2):
        for one in published(f"group{group}", []):
            for metric, title in (("o_auroc", "O-AUROC"), ("p_auroc", "P-AUROC")):
                (row,) = [r for r in table19(group, metric).rows if r.method == one.method]
                assert one.averages[title] == pytest.approx(
                    sum(row.values) / len(row.values), abs=0.0011
                )


def test_every_name_is_one_that_the_paper_prints_and_other_files_have_none() -> None:
    printed = {row.method for row in table19(2, "o_auroc").rows}
    assert {*PRINTED.values(), *PRINTED_METHODS.values()} <= printed
    assert published("another", ROWS) == []
