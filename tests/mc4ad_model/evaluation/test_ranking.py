# SPDX-License-Identifier: Apache-2.0
"""Rankings of samples by a detector's scores."""

from __future__ import annotations

import pytest

pytest.importorskip("sklearn")

from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mc4ad_model.evaluation.category_metrics import SampleRow
from mc4ad_model.evaluation.ranking import Placed, outscored, rank


def row(id: str, anomalous: int, score: float, p_auroc: float | None = None) -> SampleRow:
    return SampleRow(
        id=id, category="toys", subcategory="ball", defect="bulge" if anomalous else "normal",
        anomalous=anomalous, n_points=10, n_anomalous=anomalous, n_displaced=anomalous,
        object_score=score, object_max=score, object_mean=score, object_top=score,
        p_auroc=p_auroc, displacement=None, epe=None, epe_rest=None, cosine=None, seconds=1.0,
    )  # fmt: skip


def of(kind: str, ranking: list[Placed]) -> list[tuple[str, float]]:
    return [(place.sample.id, place.value) for place in ranking if place.kind == kind]


ROWS = [
    row("n1", 0, 1.0), row("n2", 0, 2.0), row("n3", 0, 6.0), row("n4", 0, 0.0),
    row("a1", 1, 7.0, 0.9), row("a2", 1, 1.5, 0.6), row("a3", 1, 6.0, 0.2), row("a4", 1, 9.0),
]  # fmt: skip


def test_each_kind_by_hand() -> None:
    ranking = rank(ROWS, 2)
    assert of("detected", ranking) == [("a4", 1.0), ("a1", 1.0)]  # equal: by score
    assert of("missed", ranking) == [("a2", 0.5), ("a3", 0.875)]  # a tie counts half
    assert of("false alarm", ranking) == [("n3", 0.375), ("n2", 0.25)]
    assert of("located", ranking) == [("a1", 0.9), ("a2", 0.6)]  # the upper half of three
    assert of("mislocated", ranking) == [("a3", 0.2)]


def test_a_perfect_detector_misses_nothing() -> None:
    rows = [row("n", 0, 0.0), row("a", 1, 1.0, 1.0), row("b", 1, 2.0, 0.9)]
    ranking = rank(rows, 5)
    assert of("missed", ranking) == of("false alarm", ranking) == []
    assert of("detected", ranking) == [("b", 1.0)]


scores = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=12)


@given(scores, scores)
def test_the_mean_place_of_the_defective_objects_is_the_auroc(
    normal: list[float], defective: list[float]
) -> None:
    mean = sum(outscored(score, normal) for score in defective) / len(defective)
    truth = [0] * len(normal) + [1] * len(defective)
    assert mean == pytest.approx(roc_auc_score(truth, normal + defective))


@given(scores, scores, st.integers(1, 15))
def test_nothing_is_in_two_opposite_kinds_and_order_does_not_matter(
    normal: list[float], defective: list[float], count: int
) -> None:
    rows = [row(f"n{i}", 0, score) for i, score in enumerate(normal)]
    rows += [row(f"a{i}", 1, score, 0.5) for i, score in enumerate(defective)]
    ranking = rank(rows, count)
    assert ranking == rank(rows[::-1], count)
    for good, bad in (("detected", "missed"), ("located", "mislocated")):
        names = [id for kind in (good, bad) for id, _ in of(kind, ranking)]
        assert len(set(names)) == len(names)
        assert len(of(good, ranking)) == min(count, (len(defective) + 1) // 2)
