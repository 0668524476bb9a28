# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from intravariance.looking.realism.classifier import classified

linear = pytest.importorskip("sklearn.linear_model")
pipeline = pytest.importorskip("sklearn.pipeline")
preprocessing = pytest.importorskip("sklearn.preprocessing")


def by_scikit_learn(rows: np.ndarray, sides: np.ndarray, weights: np.ndarray) -> np.ndarray:
    model = pipeline.make_pipeline(
        preprocessing.StandardScaler(),
        linear.LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12),
    )
    used = weights > 0
    names = ("standardscaler", "logisticregression")
    model.fit(
        rows[used], sides[used], **{f"{name}__sample_weight": weights[used] for name in names}
    )
    return np.asarray(model.decision_function(rows))


@pytest.mark.parametrize("apart", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("weight", [0.01, 1.0, 50.0])
def test_scores_are_those_of_scikit_learn(apart: float, weight: float) -> None:
    rng = np.random.default_rng(0)
    sides = np.arange(600) % 2
    rows = rng.gamma(1.0, size=(600, 33)) * rng.uniform(0.1, 100, size=33)
    rows[:, 0] += apart * sides  # 30: a plane parts them
    weights = weight * rng.uniform(0.1, 2, size=600) * (rng.random(600) < 0.8)
    expected = by_scikit_learn(rows, sides, weights)
    np.testing.assert_allclose(classified(rows, sides, weights), expected, rtol=1e-5, atol=1e-5)


def test_constant_columns_and_rows_that_only_some_have_say_nothing() -> None:
    rng = np.random.default_rng(1)
    rows = np.column_stack([rng.normal(size=(60, 2)), np.full(60, 200.1), np.zeros(60)])
    sides = (rows[:, 0] > 0).astype(int)
    weights = np.where(np.arange(60) < 50, 0.7, 0.0)
    expected = by_scikit_learn(rows, sides, weights)
    np.testing.assert_allclose(classified(rows, sides, weights), expected, rtol=1e-6, atol=1e-6)
    rows[55, 2] = 7.0  # no weighted row differs there
    np.testing.assert_allclose(classified(rows, sides, weights), expected, rtol=1e-6, atol=1e-6)


def test_one_row_of_each_side() -> None:
    found = classified(np.array([[1.0], [3.0], [2.0]]), np.array([0, 1, 0]), np.array([1.0, 1, 0]))
    assert found[0] == pytest.approx(-found[1]) and found[1] > 0
    assert found[2] == pytest.approx(0, abs=1e-9)
