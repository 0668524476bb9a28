# SPDX-License-Identifier: Apache-2.0
"""Figures that the paper prints (arXiv 2505.05901 v2), as data: `printed/*.toml`.

They are as printed, misprints included, which are listed beside them. Table 19 is of the paper's
own Anomaly-IntraVariance, which is not public; Tables 3, 9 and 10 are of Real3D-AD, Table 5a of
ModelNet40 and ShapeNetPart. None of them is of a dataset that this project builds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

from intravariance.errors import InputError

Metric = Literal["o_auroc", "p_auroc"]
METRICS: dict[Metric, str] = {"o_auroc": "O-AUROC", "p_auroc": "P-AUROC"}
# The paper's "Ours", and the method that it extends.
MC4AD, PO3AD = "MC4AD", "PO3AD"


@dataclass(frozen=True)
class Row:
    """A method: its value for each category, in the table's order, and the printed average."""

    method: str
    values: tuple[float, ...]
    average: float


@dataclass(frozen=True)
class CategoryTable:
    """A part of Table 19: one group and one metric, methods in the printed order."""

    group: int
    metric: Metric
    categories: tuple[str, ...]
    rows: tuple[Row, ...]

    def value(self, method: str, category: str) -> float | None:
        """Return a method's value, None for a category that the table does not have."""
        if category not in self.categories:
            return None
        return self._row(method).values[self.categories.index(category)]

    def average(self, method: str) -> float:
        """Return the printed average of a method."""
        return self._row(method).average

    def _row(self, method: str) -> Row:
        for row in self.rows:
            if row.method == method:
                return row
        known = ", ".join(row.method for row in self.rows)
        raise InputError(f"Table 19 has no method {method!r}; expected one of {known}")


@dataclass(frozen=True)
class Misprint:
    """An average that is not the mean of its row; `computed` is that mean, `text` says more."""

    group: int
    metric: Metric
    method: str
    printed: float
    computed: float
    text: str


@dataclass(frozen=True)
class Figures:
    """A variant of an ablation; None where the paper gives no frames a second."""

    o_auroc: float
    p_auroc: float
    fps: float | None = None


@dataclass(frozen=True)
class AblationTable:
    """Variants of one of the grids in `mc4ad_model.paper.ablation`.

    number : of the table in the paper; data : the dataset that it is of; notes : what is odd in it.
    """

    grid: str
    number: str
    data: str
    rows: Mapping[str, Figures]
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class GeneralisationTable:
    """Table 5a: values in percent by network, for each of `columns`, without and with MC-Skip."""

    columns: tuple[str, ...]
    plain: Mapping[str, tuple[float, ...]]
    mc_skip: Mapping[str, tuple[float, ...]]

    def value(self, network: str, mc_skip: bool, column: str) -> float:
        """Return one value, in percent."""
        return (self.mc_skip if mc_skip else self.plain)[network][self.columns.index(column)]


def table19(group: int, metric: Metric) -> CategoryTable:
    """Table 19 for a group, 1 or 2.

    Raises
    ------
    InputError
        The paper has no such group or metric.
    """
    for part in _read("table19")["table"]:
        if (part["group"], part["metric"]) == (group, metric):
            categories = tuple(part["categories"])
            rows = [
                Row(method, tuple(values), average)
                for method, (*values, average) in part["rows"].items()
            ]
            return CategoryTable(group, metric, categories, tuple(rows))
    raise InputError(f"Table 19: no group {group} with {metric}; expected 1 or 2, o_ or p_auroc")


def misprints(group: int) -> list[Misprint]:
    """Averages of a group's tables that are not the means of their rows."""
    found = [Misprint(**entry) for entry in _read("table19")["misprint"]]
    return [misprint for misprint in found if misprint.group == group]


def notes(group: int) -> list[str]:
    """Return what else is odd in a group's tables, one sentence or two each."""
    return [note["text"] for note in _read("table19")["note"] if note["group"] == group]


def table5a() -> GeneralisationTable:
    """Table 5a."""
    content = _read("table5a")
    plain, mc_skip = (
        {name: tuple(values) for name, values in content[part].items()}
        for part in ("plain", "mc_skip")
    )
    return GeneralisationTable(tuple(content["columns"]), plain, mc_skip)


def ablation_table(grid: str) -> AblationTable | None:
    """Return what the paper prints for a grid; None for a grid that it does not have."""
    content = _read("ablations")
    for part in content["table"]:
        if part["grid"] == grid:
            rows = {variant: Figures(**values) for variant, values in part["rows"].items()}
            text = tuple(part.get("notes", ()))
            return AblationTable(grid, part["number"], content["data"], rows, text)
    return None


@cache
def _read(name: str) -> dict[str, Any]:
    path = resources.files(__package__).joinpath("printed", f"{name}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))
