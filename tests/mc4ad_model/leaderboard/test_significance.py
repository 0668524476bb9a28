# SPDX-License-Identifier: Apache-2.0
"""Differences against explicit redraws, ranks against the formulas of Demsar (2006)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, rankdata

pytest.importorskip("sklearn")

from intravariance.auroc import auroc
from mc4ad_model.evaluation.metrics import RESAMPLES, won_pairs
from mc4ad_model.leaderboard.significance import Pairs, difference, ranking


def scored(seed: int, gain: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Labels and scores of 9 objects, 5 of them with anomalous points."""
    rng = np.random.default_rng(seed)
    labels = [(rng.random(30) < 0.3 * (number < 5)).astype(np.uint8) for number in range(9)]
    return labels, [np.round(rng.normal(size=30) + gain * own, 1) for own in labels]


def pairs(labels: list[np.ndarray], scores: list[np.ndarray]) -> Pairs:
    return Pairs(*won_pairs(labels, scores))


def test_a_difference_is_that_of_redrawn_objects() -> None:
    labels, first = scored(0, 1.5)
    _, second = scored(1, 0.5)
    found = difference([pairs(labels, first)], [pairs(labels, second)], np.random.default_rng(3))
    rng, drawn = np.random.default_rng(3), []
    anomalous = np.array([own.any() for own in labels])
    times = np.zeros((RESAMPLES, 9), dtype=int)
    for stratum in (anomalous, ~anomalous):
        count = stratum.sum()
        times[:, stratum] = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    for each in times[:200]:
        chosen = np.repeat(np.arange(9), each)
        truth = np.concatenate([labels[i] for i in chosen])
        drawn.append(
            auroc(truth, np.concatenate([first[i] for i in chosen]))
            - auroc(truth, np.concatenate([second[i] for i in chosen]))
        )
    # the same 200 redraws, by the won pairs
    gained = pairs(labels, first).won - pairs(labels, second).won
    numbers = pairs(labels, first)
    total = (times @ numbers.anomalous) * (times @ numbers.normal)
    values = ((times @ gained) * times).sum(axis=1) / total
    assert values[:200] == pytest.approx(drawn, abs=1e-12)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
    whole = np.concatenate(labels)
    assert found.mean == pytest.approx(
        auroc(whole, np.concatenate(first)) - auroc(whole, np.concatenate(second))
    )
    assert found.low < found.mean < found.high


def test_a_row_does_not_differ_from_itself_and_categories_are_averaged() -> None:
    labels, first = scored(0, 1.5)
    _, second = scored(1, 0.5)
    one, other = pairs(labels, first), pairs(labels, second)
    none = difference([one, other], [one, other], np.random.default_rng(0))
    assert (none.mean, none.low, none.high) == (0, 0, 0)
    both = difference([one, other], [other, one], np.random.default_rng(0))
    assert both.mean == pytest.approx(0) and both.low < 0 < both.high
    half = difference([one, one], [other, one], np.random.default_rng(0))
    alone = difference([one], [other], np.random.default_rng(0))
    assert half.mean == pytest.approx(alone.mean / 2)


def test_friedman_is_the_formula() -> None:
    table = np.random.default_rng(0).random((5, 8))
    found = ranking(table)
    assert found is not None and found.statistic is not None
    rows, categories = table.shape
    ranks = rankdata(-table, axis=0).mean(axis=1)
    statistic = (
        12 * categories / (rows * (rows + 1)) * ((ranks**2).sum() - rows * (rows + 1) ** 2 / 4)
    )
    assert found.statistic == pytest.approx(statistic)
    assert found.p_value == pytest.approx(chi2.sf(statistic, rows - 1))


@pytest.mark.parametrize(
    ("rows", "categories", "quantile"),
    [(3, 8, 2.343), (4, 14, 2.569), (5, 8, 2.728), (10, 30, 3.164)],
)
def test_the_critical_difference_is_the_published_one(
    rows: int, categories: int, quantile: float
) -> None:
    """Demsar 2006, Table 5(a), alpha = 0.05."""
    found = ranking(np.random.default_rng(1).random((rows, categories)))
    assert found is not None
    expected = quantile * np.sqrt(rows * (rows + 1) / (6 * categories))
    assert found.critical_difference == pytest.approx(expected, rel=5e-4)


def test_too_few_rows_or_categories_are_not_tested_and_equal_rows_have_no_p_value() -> None:
    assert ranking(np.ones((2, 8))) is None
    assert ranking(np.ones((5, 1))) is None
    equal = ranking(np.tile([0.5, 0.6, 0.7], (4, 1)))
    assert equal is not None and equal.p_value is None
