# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import bootstrap, mannwhitneyu

from intravariance.errors import InputError
from mc4ad_model.evaluation import metrics

pytest.importorskip("sklearn")
from sklearn.metrics import average_precision_score, roc_auc_score

Objects = tuple[list[NDArray[np.uint8]], list[NDArray[np.float32]]]


def objects_of(seed: int, count: int = 9, points: int = 30, ties: bool = True) -> Objects:
    """Return labels and scores of some objects, two thirds of which have anomalous points."""
    rng = np.random.default_rng(seed)
    labels, scores = [], []
    for i in range(count):
        size = int(rng.integers(points // 2, points))
        truth = (rng.random(size) < (0.3 if i % 3 else 0)).astype(np.uint8)
        truth[0] = i % 3 > 0
        values = rng.normal(size=size) + 0.7 * truth + 0.5 * rng.normal()
        labels.append(truth)
        scores.append((values.round(1) if ties else values).astype(np.float32))
    return labels, scores


def pooled(seed: int, ties: bool = True) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    labels, scores = objects_of(seed, ties=ties)
    return np.concatenate(labels), np.concatenate(scores)


# AUROC and average precision


def test_by_hand() -> None:
    labels, scores = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
    # precision 1 at the first hit, 2 / 3 at the second
    assert metrics.average_precision(labels, scores) == pytest.approx((1 + 2 / 3) / 2, abs=1e-15)


def obvious_average_precision(labels: NDArray[np.uint8], scores: NDArray[np.float32]) -> float:
    """Return the definition: at each threshold the precision, weighted by the recall it adds."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        found = labels[scores >= threshold]
        reached = found.sum() / labels.sum()
        total += (reached - recall) * found.mean()
        recall = reached
    return float(total)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_referees(seed: int, ties: bool) -> None:
    """SciPy, scikit-learn and the definition judge both metrics."""
    labels, scores = pooled(seed, ties)
    anomalous, normal = scores[labels == 1], scores[labels == 0]
    won = mannwhitneyu(anomalous, normal).statistic / (len(anomalous) * len(normal))
    assert metrics.auroc(labels, scores) == pytest.approx(won, abs=1e-12)
    expected = obvious_average_precision(labels, scores)
    assert metrics.average_precision(labels, scores) == pytest.approx(expected, abs=1e-12)
    known = average_precision_score(labels, scores)
    assert metrics.average_precision(labels, scores) == pytest.approx(known, abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 0], [0.1, 0.2], "none of 2 is anomalous"),
        ([1, 1, 1], [0.1, 0.2, 0.3], "none of 3 is normal"),
        ([0, 1], [0.1, np.nan], "1 of 2 are not finite"),
        ([0, 2], [0.1, 0.2], "0 \\(normal\\) or 1"),
        ([0, 1], [0.1, 0.2, 0.3], "shape"),
        ([], [], "none of 0"),
    ],
)
def test_what_has_no_auroc_is_an_error(
    labels: list[int], scores: list[float], message: str
) -> None:
    for metric in (metrics.auroc, metrics.average_precision):
        with pytest.raises(InputError, match=message):
            metric(labels, scores)


# Regions and AU-PRO


def test_regions_of_two_lines_of_points() -> None:
    """Points 0.1 apart, a gap of 0.5, and a normal point between that joins nothing."""
    x = np.array([0.0, 0.1, 0.2, 0.45, 0.7, 0.8, 5.0])
    points = np.stack([x, 0 * x, 0 * x], axis=1)
    labels = np.array([1, 1, 1, 0, 1, 1, 1])
    regions = metrics.anomalous_regions(points, labels, radius=0.15)
    assert regions.tolist() == [1, 1, 1, 0, 2, 2, 3]
    assert set(metrics.anomalous_regions(points, labels, radius=0.55)) == {0, 1, 2}
    assert not metrics.anomalous_regions(points, np.zeros(7)).any()


def test_coinciding_points_are_one_region() -> None:
    assert metrics.anomalous_regions(np.zeros((3, 3)), np.ones(3)).tolist() == [1, 1, 1]


@given(st.integers(0, 10**6), st.floats(0.05, 0.6))
@settings(max_examples=25, deadline=None)
def test_regions_are_what_a_flood_fill_finds(seed: int, radius: float) -> None:
    rng = np.random.default_rng(seed)
    points, labels = rng.random((40, 3)), rng.integers(0, 2, 40)
    regions = metrics.anomalous_regions(points, labels, radius)
    expected, number = np.zeros(40, dtype=int), 0
    for start in np.flatnonzero(labels):
        if expected[start]:
            continue
        number += 1
        stack = [start]
        while stack:
            i = stack.pop()
            expected[i] = number
            near = np.linalg.norm(points - points[i], axis=1) <= radius
            stack += list(np.flatnonzero(near & (labels == 1) & (expected == 0)))
    pairs = set(zip(regions.tolist(), expected.tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert ((regions == 0) == (expected == 0)).all()


def obvious_au_pro(regions: NDArray[np.int64], scores: NDArray[np.float64], limit: float) -> float:
    """Return the definition, threshold by threshold, then trapezia in small steps of the rate."""
    rate, overlap = [0.0], [0.0]
    for threshold in sorted(set(scores), reverse=True):
        found = scores >= threshold
        rate.append(found[regions == 0].mean())
        overlap.append(np.mean([found[regions == r].mean() for r in set(regions) - {0}]))
    area = 0.0
    for i in range(1, len(rate)):
        width = min(rate[i], limit) - rate[i - 1]
        if width <= 0:
            continue
        end = overlap[i - 1] + (overlap[i] - overlap[i - 1]) * width / (rate[i] - rate[i - 1])
        area += width * (overlap[i - 1] + end) / 2
    return area / limit


@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.3, 1.0]), st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_au_pro_is_its_obvious_twin(seed: int, limit: float, digits: int) -> None:
    rng = np.random.default_rng(seed)
    regions = rng.integers(0, 4, 60)
    regions[:2] = (0, 1)
    scores = (rng.normal(size=60) + 0.5 * (regions > 0)).round(digits)
    expected = obvious_au_pro(regions, scores, limit)
    assert metrics.au_pro(regions, scores, limit) == pytest.approx(expected, abs=1e-12)


def test_au_pro_in_closed_form() -> None:
    regions = np.array([0, 0, 0, 0, 1, 1, 2])
    perfect = (regions > 0).astype(float)
    assert metrics.au_pro(regions, perfect) == 1
    assert metrics.au_pro(regions, 1 - perfect) == 0
    assert metrics.au_pro(regions, np.zeros(7), limit=0.3) == pytest.approx(0.15)
    # finds the small region only, then a quarter of the normal points at a time
    scores = np.array([4.0, 3, 2, 1, 0, 0, 5])
    assert metrics.au_pro(regions, scores, limit=0.3) == pytest.approx(0.5)


def test_a_small_region_counts_as_much_as_a_large_one() -> None:
    """With one region, AU-PRO up to 1 is the AUROC; with several, it is not."""
    labels, scores = pooled(3)
    assert metrics.au_pro(labels, scores, limit=1) == pytest.approx(metrics.auroc(labels, scores))
    regions = np.array([0] * 10 + [1] * 9 + [2])
    assert metrics.au_pro(regions, np.r_[np.zeros(19), 1.0], limit=1) == pytest.approx(0.75)


# Bootstrap


def resampled_auroc(objects: Objects, chosen: NDArray[np.int64]) -> float:
    labels, scores = objects
    return float(
        roc_auc_score(
            np.concatenate([labels[i] for i in chosen]), np.concatenate([scores[i] for i in chosen])
        )
    )


@pytest.mark.parametrize("ties", [True, False])
def test_won_pairs_give_the_auroc_of_any_resample(ties: bool) -> None:
    objects = objects_of(1, ties=ties)
    won, anomalous, normal = metrics.won_pairs(*objects)
    rng = np.random.default_rng(0)
    for _ in range(20):
        chosen = rng.integers(9, size=9)
        times = np.bincount(chosen, minlength=9)
        if not times @ anomalous:
            continue
        value = times @ won @ times / ((times @ anomalous) * (times @ normal))
        assert value == pytest.approx(resampled_auroc(objects, chosen), abs=1e-12)


def test_interval_is_that_of_the_obvious_loop() -> None:
    """Redrawn objects concatenated and given to scikit-learn, with the same numbers of redraws."""
    objects = objects_of(2)
    strata = [[i for i in range(9) if i % 3], [0, 3, 6]]
    rng = np.random.default_rng(5)
    times = np.zeros((200, 9), dtype=int)
    for stratum in strata:
        count = len(stratum)
        times[:, stratum] = rng.multinomial(count, np.full(count, 1 / count), size=200)
    values = [resampled_auroc(objects, np.repeat(np.arange(9), row)) for row in times]
    low, high = metrics.auroc_interval(*objects, np.random.default_rng(5), resamples=200)
    assert (low, high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=1e-12)


def test_interval_of_objects_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    defective, normal = rng.normal(0.8, 1, 40), rng.normal(0, 1, 30)
    labels = [np.array([1])] * 40 + [np.array([0])] * 30
    scores = [np.array([value]) for value in np.r_[defective, normal]]
    low, high = metrics.auroc_interval(labels, scores, np.random.default_rng(1), resamples=4000)

    def statistic(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return float((a[:, None] > b[None, :]).mean())

    referee = bootstrap(
        (defective, normal), statistic, n_resamples=4000, method="percentile", vectorized=False,
        rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    # two independent sets of 4,000 redraws: their percentiles differ by about 0.002
    assert (low, high) == pytest.approx((referee.low, referee.high), abs=0.01)
    assert low < metrics.auroc(np.concatenate(labels), np.concatenate(scores)) < high


def test_interval_depends_on_the_generator_alone() -> None:
    objects = objects_of(4)
    first, again, other = (
        metrics.auroc_interval(*objects, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_perfect_scores_have_a_perfect_interval() -> None:
    labels, _ = objects_of(0)
    scores = [truth.astype(np.float32) for truth in labels]
    assert metrics.auroc_interval(labels, scores, np.random.default_rng(0)) == (1.0, 1.0)


def test_interval_of_one_class_is_an_error() -> None:
    with pytest.raises(InputError, match="none of 4 is anomalous"):
        metrics.auroc_interval([np.zeros(4)], [np.arange(4.0)], np.random.default_rng(0))


# Force


def test_displaced_leaves_out_what_has_no_true_force() -> None:
    displacement = np.array([[0.1, 0, 0], [np.nan] * 3, [0, 0, 0], [0.1, 0, 0], [0.001, 0, 0]])
    moved = metrics.displaced(np.array([1, 1, 1, 0, 1]), displacement)
    assert moved.tolist() == [True, False, False, False, False]


def test_force_errors_by_hand() -> None:
    true = np.array([[1.0, 0, 0], [0, 2, 0]])
    assert metrics.end_point_error(true, true) == 0
    assert metrics.end_point_error(np.zeros((2, 3)), true) == 1.5
    assert metrics.end_point_error(true + np.array([0, 0, 3]), true) == pytest.approx(3)
    assert metrics.mean_cosine(5 * true, true) == pytest.approx(1)
    assert metrics.mean_cosine(-true, true) == pytest.approx(-1)
    assert metrics.mean_cosine([[1, 1, 0], [0, 0, 0]], true) == pytest.approx(np.sqrt(0.5) / 2)


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_force_errors_do_not_depend_on_the_frame(seed: int) -> None:
    rng = np.random.default_rng(seed)
    force, true = rng.normal(size=(2, 10, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for metric in (metrics.end_point_error, metrics.mean_cosine):
        assert metric(force @ turn, true @ turn) == pytest.approx(metric(force, true))


def test_force_errors_of_nothing_are_errors() -> None:
    for metric in (metrics.end_point_error, metrics.mean_cosine):
        with pytest.raises(InputError, match="at least one"):
            metric(np.zeros((0, 3)), np.zeros((0, 3)))
        with pytest.raises(InputError, match="finite"):
            metric([[np.nan, 0, 0]], [[1.0, 0, 0]])
    with pytest.raises(InputError, match="no direction"):
        metrics.mean_cosine([[1.0, 0, 0]], [[0.0, 0, 0]])


# Mean rank


def test_mean_rank_by_hand() -> None:
    table = [[0.9, 0.5, 0.7], [0.8, 0.5, 0.9], [0.7, 0.4, 0.8]]
    assert metrics.mean_rank(table) == pytest.approx([(1 + 1.5 + 3) / 3, (2 + 1.5 + 1) / 3, 8 / 3])


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_mean_ranks_add_up(methods: int, categories: int, seed: int) -> None:
    table = np.random.default_rng(seed).random((methods, categories)).round(1)
    ranks = metrics.mean_rank(table)
    assert ranks.mean() == pytest.approx((methods + 1) / 2)
    better = (table[:, None] < table).sum(axis=1)  # (methods, categories)
    equal = (table[:, None] == table).sum(axis=1) - 1  # others
    assert ranks == pytest.approx((1 + better + equal / 2).mean(axis=1))


def test_a_table_with_a_gap_has_no_mean_rank() -> None:
    with pytest.raises(InputError, match="1 missing"):
        metrics.mean_rank([[0.5, np.nan]])


def test_metrics_need_no_torch() -> None:
    script = (
        "import sys\n"
        "from mc4ad_model import au_pro, auroc, average_precision, end_point_error\n"
        "print(auroc([0, 0, 1], [1, 2, 3]), average_precision([0, 1], [0, 1]),"
        " au_pro([0, 0, 1], [1, 2, 3]), end_point_error([[0, 0, 3]], [[0, 4, 0]]),"
        " 'torch' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert found.stdout.split() == ["1.0", "1.0", "1.0", "5.0", "False"], found.stderr
