# SPDX-License-Identifier: Apache-2.0
"""Realism: a comparison of every generator's pseudo-anomalies with every type of real defect.

`examine` does the expensive work on one cloud and can run in a worker process.
`compare_generators` compares the small results: every generator with every defect type, and with
all defects together ("all"). A generator is compared with the defects of those categories in which
it was run, and where its pseudo-anomalies are counterparts of the real defects, each defect type
with its own. Two criteria: the two-sample test (can local shapes be told apart?) and the distances
of the measures (is the defect as large, as round, as directed?). They need not agree, so no sum of
both is made.

Defects of a dataset file or a scan are real; those whose source is "generator" are pseudo.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import DEFECT_TYPES
from intravariance.looking.cloud import CloudSource, LabelledCloud
from intravariance.looking.realism.distances import Distance, distance
from intravariance.looking.realism.measures import QUANTITIES, Measures, measure_defect, profile
from intravariance.looking.realism.two_sample import (
    DESCRIPTOR_RADIUS,
    Descriptors,
    TwoSample,
    describe_shape,
    two_sample_test,
)

ALL = "all"
TWO_SAMPLE = "two-sample AUROC"


@dataclass(frozen=True, eq=False)
class MeasuredDefect:
    """The measures and descriptors of one defect.

    `defect` is the generator's name where source is "generator". profile : (bins,) as of
    `measures.profile`. The group of the descriptors is the name of the real defect that a
    pseudo-anomaly is the counterpart of, and a real one's own name.
    """

    name: str
    category: str
    defect: str
    source: CloudSource
    measures: Measures
    profile: NDArray[np.float64]
    descriptors: Descriptors


@dataclass(frozen=True)
class GeneratorComparison:
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
    """The generator that is nearest to a defect type by one criterion.

    criterion : `TWO_SAMPLE` (its AUROC is nearest to 0.5, from above or below) or a name of
    `QUANTITIES`. value : the AUROC, or the distance in the measure's unit. clear : whether its
    interval lies below those of all others; None with one generator alone.
    """

    defect: str
    criterion: str
    generator: str
    value: float
    clear: bool | None


@dataclass(frozen=True)
class Realism:
    """All comparisons, and the nearest generators.

    comparisons : generator by generator, in each the defect types in the vocabulary's order and
    "all" at the end. nearest : one for each defect type and criterion that is defined.
    """

    comparisons: tuple[GeneratorComparison, ...]
    nearest: tuple[Nearest, ...]


def examine(
    cloud: LabelledCloud,
    pristine: LabelledCloud | None,
    rng: np.random.Generator,
    radius: float = DESCRIPTOR_RADIUS,
    counterpart_of: str = "",
) -> MeasuredDefect:
    """Measure and describe one defect.

    Parameters
    ----------
    cloud, pristine
        As of `measures.measure_defect`. The cloud's name must be its own among all clouds.
    radius
        Radius of the descriptors.
    counterpart_of
        Name of the real defect beside which a pseudo-anomaly was made.

    Raises
    ------
    InputError
        The cloud has no labelled point.
    """
    return MeasuredDefect(
        name=cloud.name,
        category=cloud.category,
        defect=cloud.defect,
        source=cloud.source,
        measures=measure_defect(cloud, pristine),
        profile=profile(cloud),
        descriptors=describe_shape(cloud, rng, radius, group=counterpart_of),
    )


def compare_generators(
    objects: Iterable[MeasuredDefect], rng: np.random.Generator, folds: int = 5
) -> Realism:
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


def grouped(items: Sequence[MeasuredDefect]) -> dict[str, tuple[str, list[MeasuredDefect]]]:
    """Group objects by name -> ("real" or "pseudo", objects).

    Defect types come in the vocabulary's order, then others by name, then generators by name.
    """
    order = list(DEFECT_TYPES)
    groups: dict[str, tuple[str, list[MeasuredDefect]]] = {}
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


def _counterparts(real: list[MeasuredDefect], pseudo: list[MeasuredDefect]) -> list[MeasuredDefect]:
    """List the counterparts of the real defects; without any, all of their categories."""
    names = {item.name for item in real}
    if own := [item for item in pseudo if item.descriptors.group in names]:
        return own
    present = {item.category for item in real}
    return [item for item in pseudo if item.category in present]


def suspicious(result: Realism) -> list[GeneratorComparison]:
    """List the comparisons with all defects whose control is not at chance.

    The interval of the control's AUROC lies above 0.5, so the two sides differ in sampling or
    noise, and the two-sample test is of that as well. Single defect types are left out: some of
    many lie there by chance.
    """
    return [
        item
        for item in result.comparisons
        if item.defect == ALL and item.control and item.control.low > 0.5
    ]


def _compare(
    generator: str,
    defect: str,
    real: list[MeasuredDefect],
    pseudo: list[MeasuredDefect],
    rng: np.random.Generator,
    folds: int,
) -> GeneratorComparison:
    first, second = ([item.descriptors for item in side] for side in (real, pseudo))
    return GeneratorComparison(
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


def _values(objects: list[MeasuredDefect], name: str) -> list[float | None]:
    return [getattr(item.measures, name) for item in objects]


def _nearest(comparisons: Sequence[GeneratorComparison]) -> Iterable[Nearest]:
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
    """Return how far from real, with its interval: the distance, or the AUROC's from 0.5."""
    if isinstance(outcome, Distance):
        return outcome.value, outcome.low, outcome.high
    ends = sorted(abs(end - 0.5) for end in (outcome.low, outcome.high))
    low = 0.0 if outcome.low <= 0.5 <= outcome.high else ends[0]
    return abs(outcome.auroc - 0.5), low, ends[1]
