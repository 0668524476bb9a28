# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom

from intravariance.errors import InputError
from mc4ad_model.evaluation.alarms import (
    alarm_metrics,
    alarm_threshold,
    binomial_interval,
    check_clouds,
    mean_alarms,
    p_value,
    rate_interval,
)

SCORES = arrays(
    np.float64, st.integers(1, 40), elements=st.floats(-1e3, 1e3).map(lambda x: round(x, 1))
)
RATES = st.floats(0, 1)


def test_p_values_are_counted_by_hand() -> None:
    normal = [1.0, 2.0, 2.0, 4.0]
    assert p_value(normal, 5) == 1 / 5
    assert p_value(normal, 4) == 2 / 5  # equal scores count against an alarm
    assert p_value(normal, 2) == 4 / 5
    assert p_value(normal, 0) == 1


def test_thresholds_are_counted_by_hand() -> None:
    normal = np.arange(1, 100)  # 99 products: each is worth 0.01
    assert alarm_threshold(normal, 0.01) == 99
    assert alarm_threshold(normal, 0.0199) == 99
    assert alarm_threshold(normal, 0.05) == 95
    assert alarm_threshold(normal, 0.29) == 71  # 0.29 * 100 < 29 in floating point
    assert alarm_threshold(normal, 0.009) == math.inf
    assert alarm_threshold(normal, 1) == -math.inf
    assert alarm_threshold([2.0, 1.0], 0.34) == 2


@given(SCORES, st.integers(0, 100), st.floats(-1e3, 1e3).map(lambda x: round(x, 1)))
def test_an_alarm_is_above_the_threshold_and_has_a_small_p_value(
    normal: np.ndarray, allowed: int, score: float
) -> None:
    rate = min(allowed, len(normal) + 1) / (len(normal) + 1)
    assert (score > alarm_threshold(normal, rate)) == (p_value(normal, score) <= rate)


@given(SCORES, RATES, RATES)
def test_a_larger_rate_never_has_a_higher_threshold(
    normal: np.ndarray, first: float, second: float
) -> None:
    low, high = sorted((first, second))
    assert alarm_threshold(normal, low) >= alarm_threshold(normal, high)


@given(st.integers(2, 40), RATES, st.integers(0, 3))
def test_of_products_made_alike_no_more_than_the_rate_are_alarms(
    count: int, rate: float, seed: int
) -> None:
    """Each of K + 1 in turn against the others: the expectation over all orders, exactly."""
    scores = np.random.default_rng(seed).permutation(count).astype(float)
    alarms = [scores[i] > alarm_threshold(np.delete(scores, i), rate) for i in range(len(scores))]
    assert sum(alarms) == math.floor(round(rate * count, 9))


def test_nothing_to_calibrate_with_is_an_error() -> None:
    with pytest.raises(InputError, match="at least one normal"):
        alarm_threshold([], 0.5)
    for rate in (-0.1, 1.1):
        with pytest.raises(InputError, match="from 0 to 1"):
            alarm_threshold([1.0], rate)


@pytest.mark.parametrize(("rate", "needed"), [(0.01, 99), (0.05, 19), (0.1, 9), (0.003, 333)])
def test_too_few_products_say_how_many_it_takes(rate: float, needed: int) -> None:
    check_clouds(needed, rate, "here")
    with pytest.raises(InputError, match=rf"here: .*{needed - 1} normal.*--clouds {needed} "):
        check_clouds(needed - 1, rate, "here")


@pytest.mark.parametrize(("count", "rate"), [(200, 0.01), (99, 0.01), (200, 0.1), (1000, 0.05)])
def test_the_true_rate_of_a_calibration_by_the_binomial_distribution(
    count: int, rate: float
) -> None:
    """The rate is below x where m of the K normal scores are in the highest x of all."""
    low, high = rate_interval(count, rate)
    allowed = math.floor(round(rate * (count + 1), 9))
    assert binom.sf(allowed - 1, count, low) == pytest.approx(0.025, abs=1e-9)
    assert binom.sf(allowed - 1, count, high) == pytest.approx(0.975, abs=1e-9)


def test_a_rate_of_nothing_or_all_is_certain() -> None:
    assert rate_interval(10, 0.01) == (0, 0)
    assert rate_interval(10, 1) == (1, 1)


def test_the_interval_of_a_share() -> None:
    low, high = binomial_interval(0, 40)
    assert low == 0 and high == pytest.approx(1 - 0.025 ** (1 / 40))
    low, high = binomial_interval(3, 40)
    assert binom.sf(2, 40, low) == pytest.approx(0.025)
    assert binom.cdf(3, 40, high) == pytest.approx(0.025)


def test_alarms_of_categories_are_put_together() -> None:
    first = alarm_metrics(0.1, 2.0, [0, 0, 1, 1], [2.0, 2.5, 3.0, 1.0])
    assert (first.detected, first.false_alarms, first.normal) == (1, 1, 2)  # equal is no alarm
    assert (first.detection_rate, first.false_alarm_rate) == (0.5, 0.5)
    assert first.false_alarm_interval == binomial_interval(1, 2)
    second = alarm_metrics(0.1, 0.0, [0, 0, 0, 0, 1], [-1.0, -1.0, -1.0, 0.0, 1.0])
    both = mean_alarms([first, second])
    assert (both.detection_rate, both.false_alarm_rate) == (0.75, 0.25)
    assert (both.false_alarms, both.normal) == (1, 6)
    assert both.false_alarm_interval == binomial_interval(1, 6)
