# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pydantic")
from mc4ad_model.evaluation.scoring import object_score, predicted_object_score
from mc4ad_model.methods.method import OBJECT_RULES, Aggregation, Prediction


def test_object_scores_by_hand() -> None:
    scores = np.arange(1, 101, dtype=np.float32)
    assert object_score(scores, Aggregation("max")) == 100
    assert object_score(scores, Aggregation("mean")) == 50.5
    assert object_score(scores, Aggregation("top", top_share=0.02)) == 99.5
    prediction = Prediction(scores, object=3.0)
    assert predicted_object_score(prediction, Aggregation("mean")) == 3
    assert predicted_object_score(prediction, Aggregation("mean"), "max") == 100


@pytest.mark.parametrize(
    ("share", "count", "taken"),
    [(0.07, 100, 7), (0.01, 300, 3), (0.01, 301, 4), (0.001, 10, 1), (1.0, 10, 10)],
)
def test_top_takes_the_share_rounded_up(share: float, count: int, taken: int) -> None:
    """0.07 * 100 is 7.000000000000001 in floating point, and 7 points are meant."""
    scores = np.arange(count, dtype=np.float64)
    expected = scores[-taken:].mean()
    assert object_score(scores, Aggregation("top", top_share=share)) == expected


@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=50), st.floats(0.01, 1))
@settings(max_examples=50, deadline=None)
def test_order_of_the_rules(values: list[float], share: float) -> None:
    """mean <= top <= max, at any share; top is the mean at 1; the points' order is nothing."""
    scores = np.array(values, dtype=np.float32)
    found = {rule: object_score(scores, Aggregation(rule, share)) for rule in OBJECT_RULES}
    assert found["mean"] <= found["top"] + 1e-9
    assert found["top"] <= found["max"] + 1e-9
    everything = object_score(scores, Aggregation("top", top_share=1.0))
    assert everything == pytest.approx(found["mean"])
    for rule in OBJECT_RULES:
        assert object_score(scores[::-1], Aggregation(rule, share)) == pytest.approx(found[rule])
