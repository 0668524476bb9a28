# SPDX-License-Identifier: Apache-2.0
"""Rankings of samples by a detector's scores."""

from __future__ import annotations

import pytest

pytest.importorskip("sklearn")

from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mc4ad_model.evaluation.category_metrics import SampleRow
from mc4ad_model.evaluation.ranking import Judged, Placed, outscored, rank, verdicts


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


def told(judged: list[Judged]) -> list[tuple[str, str, float]]:
    return [(one.sample.id, one.verdict, one.wrong) for one in judged]


def test_verdicts_without_a_threshold_by_hand() -> None:
    assert told(verdicts(ROWS, None)) == [
        ("a2", "missed", 0.5),
        ("n3", "false alarm", 0.375),
        ("n2", "false alarm", 0.25),
        ("a3", "missed", 0.125),
        ("n1", "no alarm", 0.0),  # of equal ones, the nearest to a mistake first
        ("n4", "no alarm", 0.0),
        ("a1", "detected", 0.0),
        ("a4", "detected", 0.0),
    ]


def test_verdicts_of_a_threshold_by_hand() -> None:
    judged = verdicts(ROWS, 6.0)
    wrong = [(one.sample.id, one.verdict) for one in judged if not one.right]
    assert wrong == [("a2", "missed"), ("a3", "missed")]  # n3 does not score above it
    assert {one.sample.id for one in judged if one.verdict == "no alarm"} == {
        "n1",
        "n2",
        "n3",
        "n4",
    }


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=9),
    st.lists(st.integers(0, 4), min_size=1, max_size=9),
)
def test_the_mean_share_on_the_wrong_side_is_the_auroc_that_is_missing(
    normal: list[int], defective: list[int]
) -> None:
    rows = [row(f"n{i}", 0, float(score)) for i, score in enumerate(normal)]
    rows += [row(f"a{i}", 1, float(score)) for i, score in enumerate(defective)]
    truth, scores = [r.anomalous for r in rows], [r.object_score for r in rows]
    missing = 1 - roc_auc_score(truth, scores)
    judged = verdicts(rows, None)
    for kind in (0, 1):
        shares = [one.wrong for one in judged if one.sample.anomalous == kind]
        assert sum(shares) / len(shares) == pytest.approx(missing)
    assert sorted(one.sample.id for one in judged) == sorted(r.id for r in rows)
