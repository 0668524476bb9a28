# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pydantic")
from mc4ad_model.evaluation.scoring import RULES, object_score, point_scores
from mc4ad_model.methods.mc4ad.configuration import ScoringConfig

FORCE = np.array([[3.0, -4.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, -1.0]], dtype=np.float32)


def test_point_scores_by_hand() -> None:
    assert point_scores(FORCE, ScoringConfig(point="l1")).tolist() == [7, 0, 3]
    l2 = point_scores(FORCE, ScoringConfig(point="l2"))
    assert l2 == pytest.approx([5, 0, np.sqrt(3)])
    assert l2.dtype == np.float32


def test_l2_does_not_depend_on_the_frame_and_l1_does() -> None:
    """Why the field's L1 is a choice and not a detail: it is no property of the object."""
    rng = np.random.default_rng(0)
    force = rng.normal(size=(50, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    l1, l2 = ScoringConfig(point="l1"), ScoringConfig(point="l2")
    assert point_scores(force @ turn, l2) == pytest.approx(point_scores(force, l2), rel=1e-6)
    assert np.abs(point_scores(force @ turn, l1) - point_scores(force, l1)).max() > 0.1


def test_object_scores_by_hand() -> None:
    scores = np.arange(1, 101, dtype=np.float32)
    assert object_score(scores, ScoringConfig(object="max")) == 100
    assert object_score(scores, ScoringConfig(object="mean")) == 50.5
    assert object_score(scores, ScoringConfig(object="top", top_share=0.02)) == 99.5
    assert object_score(scores, ScoringConfig(object="mean"), "max") == 100


@pytest.mark.parametrize(
    ("share", "count", "taken"),
    [(0.07, 100, 7), (0.01, 300, 3), (0.01, 301, 4), (0.001, 10, 1), (1.0, 10, 10)],
)
def test_top_takes_the_share_rounded_up(share: float, count: int, taken: int) -> None:
    """0.07 * 100 is 7.000000000000001 in floating point, and 7 points are meant."""
    scores = np.arange(count, dtype=np.float64)
    expected = scores[-taken:].mean()
    assert object_score(scores, ScoringConfig(object="top", top_share=share)) == expected


@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=50), st.floats(0.01, 1))
@settings(max_examples=50, deadline=None)
def test_order_of_the_rules(values: list[float], share: float) -> None:
    """mean <= top <= max, at any share; top is the mean at 1; the points' order is nothing."""
    scores = np.array(values, dtype=np.float32)
    config = ScoringConfig(object="top", top_share=share)
    found = {rule: object_score(scores, config, rule) for rule in RULES}
    assert found["mean"] <= found["top"] + 1e-9
    assert found["top"] <= found["max"] + 1e-9
    everything = object_score(scores, ScoringConfig(object="top", top_share=1.0))
    assert everything == pytest.approx(found["mean"])
    for rule in RULES:
        assert object_score(scores[::-1], config, rule) == pytest.approx(found[rule])
