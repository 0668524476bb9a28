# SPDX-License-Identifier: Apache-2.0
"""Results of the rows of a leaderboard: means over categories, spreads over seeds, ranks.

A figure of a row is the mean over categories for each seed, then the mean over seeds; its spread is
the standard deviation over seeds (divisor: seeds - 1). Mean rank is the paper's: the rank among all
rows in each category, 1 being best and equals sharing theirs, averaged over categories; each row's
value in a category is its mean over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from mc4ad_model.evaluation.category_metrics import DefectMetrics
from mc4ad_model.evaluation.metrics import mean_rank
from mc4ad_model.leaderboard.queue import Measured
from mc4ad_model.leaderboard.rows import Row
from mc4ad_model.runs.experiments import Spread

Value = Callable[[Measured], float | None]
Kinds = Literal["defects", "difficulties"]

# Name -> where the number is found; higher is better.
MEASURES: dict[str, Value] = {
    "O-AUROC": lambda one: one.metrics.o_auroc,
    "P-AUROC": lambda one: one.metrics.p_auroc,
    "O-AUPR": lambda one: one.metrics.o_aupr,
    "P-AUPR": lambda one: one.metrics.p_aupr,
    "AU-PRO": lambda one: one.metrics.au_pro,
    "objects/s": lambda one: one.cost.objects_per_second,
}
# The two that rows are ranked and compared by.
RANKED = ("O-AUROC", "P-AUROC")
_ORDER = {"easy": 1, "medium": 2, "hard": 3}


@dataclass(frozen=True)
class Standing:
    """A row and what it reached.

    measured : by seed and category, of seeds that are evaluated in all categories. fault : why it
    is not working, "" where it is; then nothing is measured.
    """

    row: Row
    measured: Mapping[tuple[int, str], Measured]
    fault: str = ""

    @property
    def seeds(self) -> list[int]:
        """The seeds, each once."""
        return list(dict.fromkeys(seed for seed, _ in self.measured))

    @property
    def categories(self) -> list[str]:
        """The categories, each once."""
        return list(dict.fromkeys(category for _, category in self.measured))

    def spread(self, value: Value) -> Spread | None:
        """Return mean and spread over seeds of the mean over the categories that have a value."""
        means = []
        for seed in self.seeds:
            found = [value(one) for (own, _), one in self.measured.items() if own == seed]
            if known := [one for one in found if one is not None]:
                means.append(fmean(known))
        return Spread.of(means) if means else None

    def in_category(self, category: str, value: Value) -> Spread | None:
        """Return mean and spread over seeds in a category."""
        found = [value(one) for (_, own), one in self.measured.items() if own == category]
        known = [one for one in found if one is not None]
        return Spread.of(known) if known else None

    @property
    def fit_seconds(self) -> float | None:
        """Return the seconds of fitting all categories, mean over seeds; None where not known."""
        known = [one.fit_seconds for one in self.measured.values() if one.fit_seconds is not None]
        if not known or len(known) < len(self.measured):
            return None
        return sum(known) / len(self.seeds)

    @property
    def parameters(self) -> int | None:
        """Return the learnt parameters of the largest category; None where it has none."""
        known = [one.cost.parameters for one in self.measured.values()]
        return max((count for count in known if count is not None), default=None)

    @property
    def machines(self) -> list[str]:
        """The machines that fitted and scored, as far as they are known."""
        return sorted({name for one in self.measured.values() for name in one.machines})

    @property
    def label(self) -> str:
        """The settings' label, with the preset and the networks that ran; "" where it has none."""
        return next((one.label for one in self.measured.values()), "")

    @property
    def in_doubt(self) -> float:
        """Return the objects whose scores have a note, of all categories, mean over seeds."""
        return sum(one.in_doubt for one in self.measured.values()) / max(len(self.seeds), 1)

    @property
    def memory(self) -> int:
        """Return the largest memory in bytes of a process that fitted or scored."""
        return max(one.cost.memory for one in self.measured.values())


def of_kind(kinds: Kinds, name: str, measure: str) -> Value:
    """Return what finds a measure, of RANKED, of one defect type or difficulty."""

    def value(one: Measured) -> float | None:
        found: dict[str, DefectMetrics] = getattr(one.metrics, kinds)
        if name not in found:
            return None
        return found[name].o_auroc if measure == "O-AUROC" else found[name].p_auroc

    return value


def kinds_of(standings: Sequence[Standing], kinds: Kinds) -> list[str]:
    """List the defect types or difficulties that any category has, easy ones first."""
    names = {n for s in standings for m in s.measured.values() for n in getattr(m.metrics, kinds)}
    return sorted(names, key=lambda name: (_ORDER.get(name, 0), name))


def category_table(standings: Sequence[Standing], measure: str) -> list[list[float]]:
    """Return the values of working rows in each category, means over seeds."""
    value = MEASURES[measure]
    table = []
    for one in standings:
        spreads = [one.in_category(category, value) for category in one.categories]
        table.append([spread.mean for spread in spreads if spread is not None])
    return table


def mean_ranks(standings: Sequence[Standing], measure: str) -> dict[str, float]:
    """Return the mean rank of each working row by its name."""
    ranks = mean_rank(category_table(standings, measure))
    return {one.row.name: float(rank) for one, rank in zip(standings, ranks, strict=True)}
