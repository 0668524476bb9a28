# SPDX-License-Identifier: Apache-2.0
"""Realism: which generator's pseudo-anomalies are how near to which real defects.

`examine` does the expensive work on one cloud and can run in a worker process. `realism` compares
the small results: every generator with every defect type, and with all defects together ("all").
A generator is compared with the defects of those categories in which it was run, and where its
pseudo-anomalies are counterparts of the real defects, each defect type with its own. Two criteria:
the two-sample test (can local shapes be told apart?) and the distances of the measures (is the
defect as large, as round, as directed?). They need not agree, so no sum of both is made.

Real is what a dataset file or a scan holds; pseudo is what has the source "generator".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import DEFECT_TYPES
from intravariance.looking.cloud import LabelledCloud, Source
from intravariance.looking.realism.distances import Distance, distance
from intravariance.looking.realism.measures import QUANTITIES, Measures, measure, profile
from intravariance.looking.realism.two_sample import (
    DESCRIPTOR_RADIUS,
    Descriptors,
    TwoSample,
    describe,
    two_sample_test,
)

ALL = "all"
TWO_SAMPLE = "two-sample AUROC"


@dataclass(frozen=True, eq=False)
class Object:
    """What is known of one defect; `defect` is the generator's name where source is "generator".
    profile : (bins,) as of `measures.profile`. The group of the descriptors is the name of the real
    defect that a pseudo-anomaly is the counterpart of, and a real one's own name."""

    name: str
    category: str
    defect: str
    source: Source
    measures: Measures
    profile: NDArray[np.float64]
    descriptors: Descriptors


@dataclass(frozen=True)
class Comparison:
    """One generator against one defect type (or "all").

    two_sample : at the defects; control : far from them. distances : for each name of
    `QUANTITIES`. None: too few objects, or not defined for this defect.
    """

    generator: str
    defect: str
    n_real: int
    n_pseudo: int
    two_sample: TwoSample | None
    control: TwoSample | None
    distances: dict[str, Distance | None]


@dataclass(frozen=True)
class Nearest:
    """The generator that is nearest to a defect type by one criterion: `TWO_SAMPLE` (its AUROC
    is nearest to 0.5, from above or below) or a name of `QUANTITIES`. value : the AUROC, or the
    distance in the measure's unit. clear : whether its interval lies below those of all others;
    None with one generator alone."""

    defect: str
    criterion: str
    generator: str
    value: float
    clear: bool | None


@dataclass(frozen=True)
class Realism:
    """comparisons : generator by generator, in each the defect types in the vocabulary's order and
    "all" at the end. nearest : one for each defect type and criterion that is defined."""

    comparisons: tuple[Comparison, ...]
    nearest: tuple[Nearest, ...]


def examine(
    cloud: LabelledCloud,
    pristine: LabelledCloud | None,
    rng: np.random.Generator,
    radius: float = DESCRIPTOR_RADIUS,
    counterpart_of: str = "",
) -> Object:
    """Measure and describe one defect.

    Parameters
    ----------
    cloud, pristine
        As of `measures.measure`. The cloud's name must be its own among all that are compared.
    radius
        Of the descriptors.
    counterpart_of
        Name of the real defect beside which a pseudo-anomaly was made.

    Raises
    ------
    InputError
        The cloud has no labelled point.
    """
    return Object(
        name=cloud.name,
        category=cloud.category,
        defect=cloud.defect,
        source=cloud.source,
        measures=measure(cloud, pristine),
        profile=profile(cloud),
        descriptors=describe(cloud, rng, radius, group=counterpart_of),
    )


def realism(objects: Iterable[Object], rng: np.random.Generator, folds: int = 5) -> Realism:
    """Compare every generator with every defect type.

    Equal objects in another order give an equal result.
    """
    items = sorted(objects, key=lambda item: item.name)
    groups = grouped(items)
    defects = [name for name, (source, _) in groups.items() if source == "real"]
    comparisons = []
    for generator, (source, pseudo) in groups.items():
        if source == "real":
            continue
        categories = {item.category for item in pseudo}
        for defect in [*defects, ALL] if defects else []:
            real = [
                item
                for name in (defects if defect == ALL else [defect])
                for item in groups[name][1]
                if item.category in categories
            ]
            pseudos = _counterparts(real, pseudo)
            comparisons.append(_compare(generator, defect, real, pseudos, rng, folds))
    return Realism(tuple(comparisons), tuple(_nearest(comparisons)))


def grouped(items: Sequence[Object]) -> dict[str, tuple[str, list[Object]]]:
    """name -> ("real" or "pseudo", objects): defect types in the vocabulary's order, others by
    name, then generators by name."""
    order = list(DEFECT_TYPES)
    groups: dict[str, tuple[str, list[Object]]] = {}
    for item in sorted(
        items,
        key=lambda item: (
            item.source == "generator",
            order.index(item.defect) if item.defect in order else len(order),
            item.defect,
        ),
    ):
        side = "pseudo" if item.source == "generator" else "real"
        groups.setdefault(item.defect, (side, []))[1].append(item)
    return groups


def _counterparts(real: list[Object], pseudo: list[Object]) -> list[Object]:
    """The counterparts of the real defects; where there are none, all of their categories."""
    names = {item.name for item in real}
    if own := [item for item in pseudo if item.descriptors.group in names]:
        return own
    present = {item.category for item in real}
    return [item for item in pseudo if item.category in present]


def suspicious(result: Realism) -> list[Comparison]:
    """Comparisons with all defects whose control is not at chance: the interval of its AUROC lies
    above 0.5, so the two sides differ in sampling or noise, and the two-sample test is of that as
    well. Of many single defect types some lie there by chance."""
    return [
        item
        for item in result.comparisons
        if item.defect == ALL and item.control and item.control.low > 0.5
    ]


def _compare(
    generator: str,
    defect: str,
    real: list[Object],
    pseudo: list[Object],
    rng: np.random.Generator,
    folds: int,
) -> Comparison:
    first, second = ([item.descriptors for item in side] for side in (real, pseudo))
    return Comparison(
        generator=generator,
        defect=defect,
        n_real=len(real),
        n_pseudo=len(pseudo),
        two_sample=two_sample_test(first, second, rng, folds),
        control=two_sample_test(first, second, rng, folds, part="control"),
        distances={
            name: distance(_values(real, name), _values(pseudo, name), rng) for name in QUANTITIES
        },
    )


def _values(objects: list[Object], name: str) -> list[float | None]:
    return [getattr(item.measures, name) for item in objects]


def _nearest(comparisons: Sequence[Comparison]) -> Iterable[Nearest]:
    for defect in dict.fromkeys(item.defect for item in comparisons):
        rows = [item for item in comparisons if item.defect == defect]
        for criterion in (TWO_SAMPLE, *QUANTITIES):
            found = []
            for row in rows:
                outcome = row.two_sample if criterion == TWO_SAMPLE else row.distances[criterion]
                if outcome is not None:
                    found.append((*_nearness(outcome), row.generator, _value(outcome)))
            if found:
                _, _, high, generator, value = min(found)
                others = [low for _, low, _, name, _ in found if name != generator]
                clear = high < min(others) if others else None
                yield Nearest(defect, criterion, generator, value, clear)


def _value(outcome: TwoSample | Distance) -> float:
    return outcome.auroc if isinstance(outcome, TwoSample) else outcome.value


def _nearness(outcome: TwoSample | Distance) -> tuple[float, float, float]:
    """How far from real, with its interval: the distance, or that of the AUROC from 0.5."""
    if isinstance(outcome, Distance):
        return outcome.value, outcome.low, outcome.high
    ends = sorted(abs(end - 0.5) for end in (outcome.low, outcome.high))
    low = 0.0 if outcome.low <= 0.5 <= outcome.high else ends[0]
    return abs(outcome.auroc - 0.5), low, ends[1]


# --- writers


def to_dict(result: Realism) -> dict[str, Any]:
    """JSON-able; None where undefined."""
    return asdict(result)


CSV_FIELDS = (
    "generator", "defect", "measure", "unit", "value", "low", "high", "reference", "scale",
    "n_real", "n_pseudo",
)  # fmt: skip


def csv_rows(result: Realism) -> list[dict[str, Any]]:
    """One row with the keys `CSV_FIELDS` for each generator, defect type and measure; the
    two-sample test and its control are measures too, with a reference of 0.5. None: undefined."""
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
    """The tables as Markdown: the two-sample test with its control, then each measure."""
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
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    lines += [[head(row), *(cell(row, column) for column in columns)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _test_cell(item: Comparison) -> str:
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
