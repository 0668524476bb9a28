# SPDX-License-Identifier: Apache-2.0
"""The paper's figures for the methods of a leaderboard (Table 19), beside those measured here.

The paper's figures are of the authors' file, which is not public, and of other products: a
difference between the two columns says nothing about a method.
"""

from __future__ import annotations

from dataclasses import dataclass

from mc4ad_model.leaderboard.rows import Row
from mc4ad_model.paper.printed_tables import METRICS, misprints, table19

# The rows that are the paper's methods as published, and methods of which the first row stands
# beside the paper's, whatever its preset or encoder is.
PRINTED = {
    "btf[features=raw]": "BTF (Raw)",
    "btf": "BTF (FPFH)",
    "patchcore": "PatchCore (FPFH)",
}
PRINTED_METHODS = {
    "m3dm": "M3DM (PointMAE)",
    "reg3d_ad": "Reg3D-AD",
    "po3ad": "PO3AD",
    "mc4ad": "MC4AD",
}
_GROUPS = {"group1": 1, "group2": 2}


@dataclass(frozen=True)
class Published:
    """A printed method. row : its name in the leaderboard, "" where none is; averages by measure,
    put right where the paper's mean is not that of its row."""

    method: str
    row: str
    averages: dict[str, float]


def published(specification: str, rows: list[Row]) -> list[Published]:
    """List the methods of Table 19 for a group; none for a file that is no group of the paper."""
    group = _GROUPS.get(specification)
    if group is None:
        return []
    names = {PRINTED[row.name]: row.name for row in rows if row.name in PRINTED}
    for row in rows:
        if row.method in PRINTED_METHODS:
            names.setdefault(PRINTED_METHODS[row.method], row.name)
    wrong = {(m.metric, m.method): m.computed for m in misprints(group)}
    return [
        Published(
            method=printed.method,
            row=names.get(printed.method, ""),
            averages={
                title: wrong.get(
                    (metric, printed.method), table19(group, metric).average(printed.method)
                )
                for metric, title in METRICS.items()
            },
        )
        for printed in table19(group, "o_auroc").rows
    ]
