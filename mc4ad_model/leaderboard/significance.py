# SPDX-License-Identifier: Apache-2.0
"""Whether rows differ by more than chance: pure functions of scores and tables.

Two rows are compared over objects by a paired bootstrap: the same redrawn objects for both, so that
what is hard for both cancels out. All rows are compared over categories by Friedman's test, and
which of them differ by Nemenyi's: two do where their mean ranks are further apart than the critical
difference (Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 2006).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mc4ad_model.evaluation.metrics import LEVEL, RESAMPLES


@dataclass(frozen=True)
class Pairs:
    """Won pairs of objects in a category, see `metrics.won_pairs`; means over a row's seeds.

    won : (O, O) float64; anomalous, normal : (O,) numbers of points (or objects) of each object.
    """

    won: NDArray[np.float64]
    anomalous: NDArray[np.int64]
    normal: NDArray[np.int64]

    @property
    def auroc(self) -> float:
        """The pooled AUROC."""
        return float(self.won.sum() / (self.anomalous.sum() * self.normal.sum()))


@dataclass(frozen=True)
class Difference:
    """A difference of AUROCs, mean over categories; low, high : its bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Ranking:
    """Friedman's test over categories, and Nemenyi's critical difference of mean ranks.

    p_value : None where the test is not defined, since all rows are equal.
    """

    statistic: float | None
    p_value: float | None
    critical_difference: float
    rows: int
    categories: int


def difference(
    first: Sequence[Pairs], second: Sequence[Pairs], rng: np.random.Generator
) -> Difference:
    """Compare two rows over the same objects, category by category.

    Objects with and without anomalous points are redrawn apart, with replacement and all their
    points, in each category; the interval is between percentiles.

    Parameters
    ----------
    first, second
        One for each category, in the same order, of the same objects.
    rng
        Source of the redraws.
    """
    mean, drawn = 0.0, np.zeros(RESAMPLES)
    for one, other in zip(first, second, strict=True):
        gained = one.won - other.won
        times = np.zeros((RESAMPLES, len(gained)))  # how often each object was drawn
        for stratum in (one.anomalous > 0, one.anomalous == 0):
            if count := int(stratum.sum()):
                shares = np.full(count, 1 / count)
                times[:, stratum] = rng.multinomial(count, shares, size=RESAMPLES)
        pairs = (times @ one.anomalous) * (times @ one.normal)
        drawn += ((times @ gained) * times).sum(axis=1) / np.maximum(pairs, 1)
        mean += one.auroc - other.auroc
    low, high = np.quantile(drawn / len(first), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(mean / len(first), float(low), float(high))


def ranking(table: ArrayLike) -> Ranking | None:
    """Test whether rows differ over categories.

    Parameters
    ----------
    table : (rows, categories), finite

    Returns
    -------
    None where there are fewer than three rows or two categories, which the tests need.
    """
    from scipy.stats import friedmanchisquare, studentized_range  # noqa: PLC0415 - weight

    values = np.asarray(table, dtype=np.float64)
    rows, categories = values.shape
    if rows < 3 or categories < 2:
        return None
    statistic = p_value = None
    if not (values == values[0]).all():
        found = friedmanchisquare(*values)
        statistic, p_value = float(found.statistic), float(found.pvalue)
    quantile = float(studentized_range.ppf(LEVEL, rows, np.inf)) / math.sqrt(2)
    critical = quantile * math.sqrt(rows * (rows + 1) / (6 * categories))
    return Ranking(statistic, p_value, critical, rows, categories)
