# SPDX-License-Identifier: Apache-2.0
"""A realism comparison as JSON, CSV and Markdown."""

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


def to_dict(result: Realism) -> dict[str, Any]:
    """Convert to a JSON-able dict; None where undefined."""
    return asdict(result)


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


def markdown(result: Realism) -> str:
    """Write the tables as Markdown: the two-sample test with its control, then each measure."""
    defects = list(dict.fromkeys(item.defect for item in result.comparisons))
    generators = list(dict.fromkeys(item.generator for item in result.comparisons))
    at = {(item.generator, item.defect): item for item in result.comparisons}
    radii = {c.two_sample.radius for c in result.comparisons if c.two_sample}
    said = f" FPFH radius {min(radii):g}." if radii else ""
    parts = [
        "### Two-sample test\n\nAUROC with its 95 % interval; 0.5: cannot be told apart, below: "
        f"chance. In brackets the control far from the defects.{said}\n",
        _table(generators, defects, lambda g, d: _test_cell(at[g, d])),
    ]
    for name, quantity in QUANTITIES.items():
        unit = f" [{quantity.unit}]" if quantity.unit else ""
        parts += [
            f"\n### {quantity.title.capitalize()}{unit}\n\nWasserstein-1 distance with its 95 % "
            "interval; in brackets what chance alone gives.\n",
            _table(generators, defects, lambda g, d, name=name: _cell(at[g, d].distances[name])),
        ]
    parts += ["\n### Nearest generator\n\n*: its interval lies below all others.\n"]
    best = {(item.criterion, item.defect): item for item in result.nearest}
    criteria = [TWO_SAMPLE, *QUANTITIES]
    title = {name: quantity.title for name, quantity in QUANTITIES.items()}
    parts.append(
        _table(
            criteria, defects, lambda c, d: _best_cell(best.get((c, d))), lambda c: title.get(c, c)
        )
    )
    return "\n".join(parts) + "\n"


def _table(rows: list[str], columns: list[str], cell: Any, head: Any = str) -> str:
    lines = ([head(row), *(cell(row, column) for column in columns)] for row in rows)
    return markdown_table(["", *columns], lines)


def _test_cell(item: GeneratorComparison) -> str:
    if item.two_sample is None:
        return "-"
    test, control = item.two_sample, item.control
    beside = "-" if control is None else f"{control.auroc:.2f}"
    return f"{test.auroc:.2f} ({test.low:.2f} to {test.high:.2f}) [{beside}]"


def _cell(item: Distance | None) -> str:
    if item is None:
        return "-"
    return f"{item.value:.3g} ({item.low:.3g} to {item.high:.3g}) [{item.reference:.3g}]"


def _best_cell(item: Nearest | None) -> str:
    return "-" if item is None else item.generator + ("*" if item.clear else "")
