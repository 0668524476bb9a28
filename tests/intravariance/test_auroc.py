# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from intravariance.auroc import auroc
from intravariance.errors import InputError

NUMBERS = arrays(np.float64, st.integers(1, 20), elements=st.integers(-3, 3).map(float))


def area(anomalous: list[float], normal: list[float]) -> float:
    return auroc([1] * len(anomalous) + [0] * len(normal), [*anomalous, *normal])


def test_by_hand() -> None:
    assert area([2, 3], [0, 1]) == 1
    assert area([0], [1, 2]) == 0
    assert area([1, 1], [1]) == 0.5
    assert area([1, 3], [2, 0]) == 0.75
    assert auroc(np.array([False, False, True, True]), [0.1, 0.4, 0.35, 0.8]) == 0.75


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_closed_form(n: int) -> None:
    """Scores 1 to n, anomalous on even numbers: anomalous 2k wins over k normal ones."""
    scores = np.arange(1, 2 * n + 1)
    assert auroc(scores % 2 == 0, scores) == (n + 1) / (2 * n)


@settings(max_examples=100, deadline=None)
@given(anomalous=NUMBERS, normal=NUMBERS)
def test_it_is_the_share_of_pairs_that_are_won_exactly(
    anomalous: np.ndarray, normal: np.ndarray
) -> None:
    won = sum(Fraction(int(np.sign(a - b)) + 1, 2) for a in anomalous for b in normal)
    found = area(list(anomalous), list(normal))
    assert found == float(won / (len(anomalous) * len(normal)))
    assert found + area(list(normal), list(anomalous)) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_referees(seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 5000)
    scores = (rng.normal(size=5000) + 0.3 * labels).round(seed).astype(dtype)  # with ties
    found = auroc(labels, scores)
    assert found == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    anomalous, normal = scores[labels == 1], scores[labels == 0]
    won = mannwhitneyu(anomalous, normal).statistic / (len(anomalous) * len(normal))
    assert found == pytest.approx(won, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [1.0], "as many scores as labels"),
        ([[0, 1]], [[1.0, 2.0]], "in one dimension"),
        ([0, 2], [1.0, 2.0], "expected 0 .* or 1"),
        ([0, 1], [1.0, np.nan], "1 of 2 are not finite"),
        ([0, 0], [1.0, 2.0], "none of 2 is anomalous"),
        ([1, 1], [1.0, 2.0], "none of 2 is normal"),
        ([], [], "none of 0"),
    ],
)
def test_what_has_no_area_is_an_error(labels: object, scores: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        auroc(labels, scores)
