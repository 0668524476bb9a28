# SPDX-License-Identifier: Apache-2.0
"""A realism comparison as CSV and Markdown; `dataclasses.asdict` gives its JSON form."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from intravariance.looking.realism.comparison import (
    TWO_SAMPLE,
    GeneratorComparison,
    Nearest,
    Realism,
)
from intravariance.looking.realism.distances import Distance
from intravariance.looking.realism.measures import QUANTITIES
from intravariance.looking.realism.two_sample import TwoSample
from intravariance.tables import markdown_table

CSV_FIELDS = (
    "generator", "defect", "measure", "unit", "value", "low", "high", "reference", "scale",
    "n_real", "n_pseudo",
)  # fmt: skip


def csv_rows(result: Realism) -> list[dict[str, Any]]:
    """List a row with the keys `CSV_FIELDS` for each generator, defect type and measure.

    The two-sample test and its control are measures too, with a reference of 0.5. None: undefined.
    """
    rows = []
    for item in result.comparisons:
        tests = {"two_sample": item.two_sample, "two_sample_control": item.control}
        outcomes: dict[str, TwoSample | Distance | None] = {**tests, **item.distances}
        for name, outcome in outcomes.items():
            row: dict[str, Any] = dict.fromkeys(CSV_FIELDS)
            unit = QUANTITIES[name].unit if name in QUANTITIES else ""
            row |= {"generator": item.generator, "defect": item.defect, "measure": name}
            row |= {"unit": unit, "n_real": item.n_real, "n_pseudo": item.n_pseudo}
            if outcome is not None:
                known = asdict(outcome)
                known["value"] = known.pop("auroc", known.get("value"))
                known.setdefault("reference", 0.5)
                row |= {key: known[key] for key in CSV_FIELDS if key in known}
            rows.append(row)
    return rows


def two_sample_table(result: Realism, interval: bool = False) -> tuple[list[str], list[list[str]]]:
    """Return heading and rows: AUROC and [control] of each generator and defect type."""
    return _table(result, lambda item: _test(item, interval))


def markdown(result: Realism) -> str:
    """Write the tables as Markdown: the two-sample test with its control, then each measure."""
    radii = {c.two_sample.radius for c in result.comparisons if c.two_sample}
    said = f" FPFH radius {min(radii):g}." if radii else ""
    parts = [
        "### Two-sample test\n\nAUROC with its 95 % interval; 0.5: cannot be told apart, below: "
        f"chance. In brackets the control far from the defects.{said}\n",
        markdown_table(*two_sample_table(result, interval=True)),
    ]
    for name, quantity in QUANTITIES.items():
        parts += [
            f"\n### {quantity.label.capitalize()}\n\nWasserstein-1 distance with its 95 % "
            "interval; in brackets what chance alone gives.\n",
            markdown_table(*_table(result, lambda item, name=name: _cell(item.distances[name]))),
        ]
    parts += ["\n### Nearest generator\n\n*: its interval lies below all others.\n"]
    best = {(item.criterion, item.defect): item for item in result.nearest}
    titles = {TWO_SAMPLE: TWO_SAMPLE} | {name: one.title for name, one in QUANTITIES.items()}
    defects = dict.fromkeys(item.defect for item in result.comparisons)
    rows = [[titles[c], *(_best(best.get((c, defect))) for defect in defects)] for c in titles]
    return "\n".join([*parts, markdown_table(["", *defects], rows)]) + "\n"


def _table(result: Realism, cell: Any) -> tuple[list[str], list[list[str]]]:
    """Return heading and rows of a table with a cell for each generator and defect type."""
    rows: dict[str, dict[str, str]] = {}
    for item in result.comparisons:
        rows.setdefault(item.generator, {})[item.defect] = cell(item)
    heading = dict.fromkeys(item.defect for item in result.comparisons)
    return ["", *heading], [[name, *row.values()] for name, row in rows.items()]


def _test(item: GeneratorComparison, interval: bool) -> str:
    test, control = item.two_sample, item.control
    if test is None:
        return "-"
    beside = "-" if control is None else f"{control.auroc:.2f}"
    between = f" ({test.low:.2f} to {test.high:.2f})" if interval else ""
    return f"{test.auroc:.2f}{between} [{beside}]"


def _cell(item: Distance | None) -> str:
    if item is None:
        return "-"
    return f"{item.value:.3g} ({item.low:.3g} to {item.high:.3g}) [{item.reference:.3g}]"


def _best(item: Nearest | None) -> str:
    return "-" if item is None else item.generator + ("*" if item.clear else "")
