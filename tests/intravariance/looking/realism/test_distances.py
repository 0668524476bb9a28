# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from intravariance.looking.realism.distances import FEWEST_OBJECTS, distance

groups = st.lists(st.floats(-50, 50), min_size=FEWEST_OBJECTS, max_size=30)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_two_groups_a_known_distance_apart() -> None:
    found = distance([0, 1, 2, 3], [5, 6, 7, 8], rng())
    assert found is not None
    assert found.value == 5
    assert found.scale == 1.5  # quartiles 0.75 and 2.25
    assert found.value / found.scale == pytest.approx(5 / 1.5)
    assert found.low < 5 < found.high
    assert 0 < found.reference < 1
    assert (found.n_real, found.n_pseudo) == (4, 4)


@settings(max_examples=40, deadline=None)
@given(first=groups, second=groups, shift=st.floats(-10, 10), factor=st.floats(0.1, 10))
def test_it_is_scipys_distance_and_follows_the_unit(
    first: list[float], second: list[float], shift: float, factor: float
) -> None:
    found = distance(first, second, rng(), resamples=20)
    back = distance(second, first, rng(), resamples=20)
    scaled = distance(
        [factor * x + shift for x in first], [factor * x + shift for x in second], rng(), 20
    )
    assert found is not None and back is not None and scaled is not None
    assert found.value == pytest.approx(wasserstein_distance(first, second), abs=1e-9)
    assert back.value == pytest.approx(found.value, abs=1e-9)
    assert scaled.value == pytest.approx(factor * found.value, rel=1e-6, abs=1e-9)


def test_the_bootstrap_is_that_of_scipy() -> None:
    values = np.random.default_rng(1)
    first, second = values.normal(size=15), values.normal(0.8, size=25)
    found = distance(first.tolist(), second.tolist(), rng(), resamples=4000)
    boots = [
        wasserstein_distance(values.choice(first, 15), values.choice(second, 25))
        for _ in range(4000)
    ]
    chance = [
        wasserstein_distance(values.choice(first, 15), values.choice(first, 25))
        for _ in range(4000)
    ]
    assert found is not None
    assert [found.low, found.high] == pytest.approx(np.quantile(boots, (0.025, 0.975)), abs=0.04)
    assert found.reference == pytest.approx(np.mean(chance) * np.sqrt(15 / 14), rel=0.04)


def test_the_reference_is_what_equal_groups_give() -> None:
    values = np.random.default_rng(2)
    pairs = [(values.normal(size=25), values.normal(size=40)) for _ in range(150)]
    found = [distance(a.tolist(), b.tolist(), rng(), 200) for a, b in pairs]
    measured = np.mean([item.value for item in found if item])
    expected = np.mean([item.reference for item in found if item])
    assert 0.8 * measured < expected < 1.03 * measured


def test_groups_that_differ_exceed_the_reference_and_the_interval_holds_the_truth() -> None:
    values = np.random.default_rng(3)
    held = above = 0
    for _ in range(100):
        first, second = values.normal(size=20).tolist(), values.normal(1, size=20).tolist()
        found = distance(first, second, rng())
        assert found is not None
        held += found.low <= 1 <= found.high
        above += found.value > found.reference
    assert held >= 88 and above >= 95


def test_the_order_of_objects_and_the_missing_ones_change_nothing() -> None:
    values = np.random.default_rng(4)
    first, second = values.normal(size=12).tolist(), values.normal(size=9).tolist()
    mixed = [None, *reversed(first), float("nan")]
    assert distance(first, second, rng()) == distance(mixed, [*second[3:], *second[:3]], rng())


def test_too_few_objects_and_no_spread() -> None:
    assert distance([1, 2, 3, None], [1, 2, 3, 4], rng()) is None
    assert distance([], [1, 2, 3, 4], rng()) is None
    same = distance([1] * 5, [3] * 5, rng())
    assert same is not None
    assert (same.value, same.scale, same.reference) == (2, None, 0)
    outlier = distance([1, 1, 1, 1, 1, 1, 1, 9], [1] * 5, rng())  # its quartiles coincide
    assert outlier is not None and outlier.scale == pytest.approx(np.std([1] * 7 + [9], ddof=1))
