# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score, jaccard_score, precision_score, recall_score

from annotations.agreement import Agreement, agreement, mean, pooled
from annotations.merging import RULES, Rule, merge

LABELS = arrays(np.uint8, 30, elements=st.integers(0, 1))


def test_figures_by_hand() -> None:
    # 20 points: chance agrees on (7 * 8 + 13 * 12) / 400 = 0.53, they agree on 15 / 20
    counts = Agreement(both=5, hand_only=2, truth_only=3, neither=10)
    assert counts.iou == 5 / 10
    assert counts.precision == 5 / 7 and counts.recall == 5 / 8
    assert counts.kappa == pytest.approx((0.75 - 0.53) / (1 - 0.53))


def test_what_is_not_defined_is_none() -> None:
    nobody = Agreement(0, 0, 0, 9)
    assert (nobody.iou, nobody.kappa, nobody.precision, nobody.recall) == (None,) * 4
    false_alarm = Agreement(0, 4, 0, 5)
    assert false_alarm.iou == false_alarm.precision == false_alarm.kappa == 0
    assert false_alarm.recall is None
    assert mean([None, 1.0, 0.5]) == 0.75 and mean([None]) is None


@given(truth=LABELS, hand=LABELS)
def test_scikit_learn_agrees(truth: np.ndarray, hand: np.ndarray) -> None:
    counts = agreement(truth, hand)
    assert counts.points == 30
    referees = {"precision": precision_score, "recall": recall_score, "iou": jaccard_score}
    for name, referee in referees.items():
        figure = getattr(counts, name)
        if figure is not None:
            assert figure == pytest.approx(referee(truth, hand))
    if counts.kappa is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert counts.kappa == pytest.approx(cohen_kappa_score(truth, hand))


@given(truth=LABELS, hand=LABELS)
def test_pooling_is_counting_together(truth: np.ndarray, hand: np.ndarray) -> None:
    parts = [agreement(truth[:11], hand[:11]), agreement(truth[11:], hand[11:])]
    assert pooled(parts) == agreement(truth, hand)
    assert pooled([]).points == 0


def test_labels_of_different_clouds_are_refused() -> None:
    with pytest.raises(ValueError, match="labels of"):
        agreement(np.zeros(3, dtype=np.uint8), np.zeros(4, dtype=np.uint8))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("construction", [0, 0, 1, 1, 0, 1]),
        ("hand", [0, 1, 0, 1, 0, 1]),
        ("union", [0, 1, 1, 1, 0, 1]),
        ("intersection", [0, 0, 0, 1, 0, 1]),
    ],
)
def test_every_rule_and_points_without_a_row_keep_theirs(rule: Rule, expected: list[int]) -> None:
    construction = np.array([0, 0, 1, 1, 0, 1], dtype=np.uint8)
    hand = np.array([0, 1, 0, 1, 1, 0], dtype=np.uint8)
    known = np.array([1, 1, 1, 1, 0, 0], dtype=bool)
    merged = merge(construction, hand, known, rule)
    assert merged.tolist() == expected and merged.dtype == np.uint8
    assert set(RULES) == {"construction", "hand", "union", "intersection"}
