# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sklearn")
pytest.importorskip("pydantic")
from sklearn.metrics import average_precision_score, roc_auc_score

from intravariance.dataset.store import Dataset, Record, open_dataset
from intravariance.errors import InputError
from mc4ad_model.evaluation.category_metrics import category_metrics, force_metrics
from mc4ad_model.evaluation.evaluate import check_records, evaluate_category
from mc4ad_model.evaluation.metrics import anomalous_regions
from mc4ad_model.methods.method import Aggregation, Prediction
from tests.support.samples import make_dataset
from tests.support.scorers import FunctionScorer

Array = NDArray[np.float32]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(make_dataset(tmp_path_factory.mktemp("evaluation") / "small.h5"))


@pytest.fixture(scope="module")
def records(dataset: Dataset) -> list[Record]:
    return list(dataset.filter(category="ball", split="test"))


def knowing(records: list[Record], answer: Callable[[Record], Array]) -> FunctionScorer:
    """Return a scorer that recognises each cloud and looks its answer up."""
    known = {record.points.tobytes(): record for record in records}
    return FunctionScorer(lambda points: answer(known[points.tobytes()]))


def noisy_force(record: Record) -> Array:
    """Return the true force, NaN taken as 0, and an error that differs from sample to sample."""
    rng = np.random.default_rng(record.n_points)
    error = rng.normal(scale=0.04, size=(record.n_points, 3))
    return (np.nan_to_num(record.displacement) + error).astype(np.float32)


def test_a_perfect_detector_is_perfect(records: list[Record]) -> None:
    detector = knowing(records, lambda record: record.labels.astype(np.float32))
    found = evaluate_category(records, detector, quiet=True)
    perfect = found.metrics
    for name in ("o_auroc", "p_auroc", "o_aupr", "p_aupr", "p_auroc_objects", "au_pro"):
        assert getattr(perfect, name) == 1, name
    assert perfect.o_auroc_interval == perfect.p_auroc_interval == (1, 1)
    assert perfect.force.epe is perfect.force.cosine is perfect.force.epe_rest is None
    assert perfect.force.displacement is not None  # a property of the data
    assert {name: part.o_auroc for name, part in perfect.defects.items()} == {
        "bulge": 1, "missing": 1,
    }  # fmt: skip


def test_a_transductive_scorer_sees_every_test_cloud_before_the_first_score(records) -> None:
    seen: list[bytes] = []

    class Looking:
        aggregation, parameters = Aggregation(), None

        def look_at(self, clouds):
            seen.extend(cloud.tobytes() for cloud in clouds)

        def score(self, points):
            assert len(seen) == len(records) and points.tobytes() in seen
            return Prediction(np.zeros(len(points), dtype=np.float32))

    evaluate_category(records, Looking(), quiet=True)
    assert seen == [record.points.tobytes() for record in records]


def test_the_true_force_has_no_error(records: list[Record]) -> None:
    detector = knowing(records, lambda record: np.nan_to_num(record.displacement))
    force = evaluate_category(records, detector, quiet=True).metrics.force
    assert force.epe == force.epe_rest == 0
    assert force.cosine == pytest.approx(1)
    # a detector that predicts nothing has the displacement as its error
    detector = knowing(records, lambda record: np.zeros((record.n_points, 3), dtype=np.float32))
    force = evaluate_category(records, detector, quiet=True).metrics.force
    assert force.epe == force.displacement > 0
    assert force.cosine == 0


def test_pooled_metrics_are_those_of_the_definition(records: list[Record]) -> None:
    """scikit-learn on all points and all objects put together by hand."""
    found = evaluate_category(records, knowing(records, noisy_force), quiet=True)
    scores = [np.linalg.norm(noisy_force(r).astype(float), axis=1) for r in records]
    labels = np.concatenate([record.labels for record in records])
    truth = [record.defect != "normal" for record in records]
    means = [values.mean() for values in scores]
    points = np.concatenate(scores).astype(np.float32)
    tops = [np.sort(v)[-int(np.ceil(0.05 * len(v))) :].mean() for v in scores]
    expected = {
        "o_auroc": roc_auc_score(truth, means),
        "o_auroc_mean": roc_auc_score(truth, means),
        "o_auroc_max": roc_auc_score(truth, [values.max() for values in scores]),
        "o_auroc_top": roc_auc_score(truth, tops),
        "p_auroc": roc_auc_score(labels, points),
        "o_aupr": average_precision_score(truth, means),
        "p_aupr": average_precision_score(labels, points),
        "p_auroc_objects": np.mean(
            [
                roc_auc_score(record.labels, values.astype(np.float32))
                for record, values in zip(records, scores, strict=True)
                if record.n_anomalous
            ]
        ),
    }
    for name, value in expected.items():
        assert getattr(found.metrics, name) == pytest.approx(value, abs=1e-12), name
    low, high = found.metrics.p_auroc_interval
    assert low < found.metrics.p_auroc < high
    assert 0.5 < found.metrics.p_auroc < 1  # the test above is of something


def test_regions_of_several_objects_are_several(records: list[Record]) -> None:
    """AU-PRO of all objects from its definition, object by object and region by region."""
    found = evaluate_category(records, knowing(records, noisy_force), quiet=True)
    normal, regions = [], []
    for record in records:
        scores, own = found.point_scores[record.id], anomalous_regions(record.points, record.labels)
        normal.append(scores[own == 0])
        regions += [scores[own == number] for number in range(1, own.max() + 1)]
    pooled = np.concatenate(normal)
    thresholds = np.unique(pooled)[::-1]
    rate = np.array([0.0, *((pooled >= t).mean() for t in thresholds)])
    overlap = np.array(
        [0.0, *(np.mean([(own >= t).mean() for own in regions]) for t in thresholds)]
    )
    inside = rate <= 0.3
    x, y = rate[inside], overlap[inside]
    area = ((y[1:] + y[:-1]) / 2 * np.diff(x)).sum()
    # thresholds at normal scores only: off by a few steps of the rate at most
    assert found.metrics.au_pro == pytest.approx(area / 0.3, abs=5 / len(pooled))


def test_force_error_is_the_mean_over_all_points(records: list[Record]) -> None:
    force = evaluate_category(records, knowing(records, noisy_force), quiet=True).metrics.force
    errors, rest, cosines, lengths = [], [], [], []
    for record in records:
        predicted, true = noisy_force(record).astype(float), record.displacement.astype(float)
        length = np.linalg.norm(true, axis=1)
        for i in range(record.n_points):
            if record.labels[i] == 0:
                rest.append(np.linalg.norm(predicted[i] - true[i]))
            elif length[i] > 0.002:
                errors.append(np.linalg.norm(predicted[i] - true[i]))
                lengths.append(length[i])
                cosines.append(predicted[i] @ true[i] / np.linalg.norm(predicted[i]) / length[i])
    assert force.epe == pytest.approx(np.mean(errors))
    assert force.epe_rest == pytest.approx(np.mean(rest))
    assert force.cosine == pytest.approx(np.mean(cosines))
    assert force.displacement == pytest.approx(np.mean(lengths))


def test_defect_types_are_compared_with_the_normal_objects(records: list[Record]) -> None:
    found = evaluate_category(records, knowing(records, noisy_force), quiet=True)
    bulges = found.metrics.defects["bulge"]
    own = [row for row in found.rows if row.defect == "bulge"]
    normal = [row for row in found.rows if row.defect == "normal"]
    assert bulges.objects == len(own) == 3
    expected = roc_auc_score(
        [1] * len(own) + [0] * len(normal), [row.object_score for row in own + normal]
    )
    assert bulges.o_auroc == pytest.approx(expected, abs=1e-12)
    chosen = [record for record in records if record.defect == "bulge"]
    expected = roc_auc_score(
        np.concatenate([record.labels for record in chosen]),
        np.concatenate([found.point_scores[record.id] for record in chosen]),
    )
    assert bulges.p_auroc == pytest.approx(expected, abs=1e-12)
    assert bulges.force.epe is not None
    # cut surface has no displacement
    assert found.metrics.defects["missing"].force == replace(
        found.metrics.defects["missing"].force, epe=None, cosine=None, displacement=None
    )


def test_rows_say_what_a_sample_is(records: list[Record]) -> None:
    found = evaluate_category(records, knowing(records, noisy_force), quiet=True)
    assert [row.id for row in found.rows] == [record.id for record in records]
    for record, row in zip(records, found.rows, strict=True):
        scores = found.point_scores[record.id]
        assert scores.dtype == np.float32
        assert row.n_points == len(scores) == record.n_points
        assert row.anomalous == (record.defect != "normal")
        assert row.object_score == row.object_mean == scores.astype(float).mean()
        assert row.object_max == scores.max()
        assert (row.p_auroc is None) == (record.n_anomalous == 0)


@pytest.mark.parametrize("rule", ["max", "mean", "top"])
def test_the_configured_rule_is_the_one_used(records: list[Record], rule: str) -> None:
    scorer = replace(knowing(records, noisy_force), aggregation=Aggregation(rule, 0.05))
    found = evaluate_category(records, scorer, quiet=True)
    asked = evaluate_category(records, knowing(records, noisy_force), rule, quiet=True)
    assert asked.metrics == found.metrics
    assert found.metrics.o_auroc == getattr(found.metrics, f"o_auroc_{rule}")
    assert all(row.object_score == getattr(row, f"object_{rule}") for row in found.rows)


def test_the_same_scores_and_seed_give_the_same_metrics(records: list[Record]) -> None:
    detector = knowing(records, noisy_force)
    first, again, other = (
        evaluate_category(records, detector, seed=seed, quiet=True).metrics for seed in (3, 3, 4)
    )
    assert first == again
    assert first.p_auroc_interval != other.p_auroc_interval
    assert first.p_auroc == other.p_auroc


def test_time_is_that_of_the_detector(records: list[Record]) -> None:
    calls = []

    def slow(points: Array) -> Array:
        calls.append(len(points))
        time.sleep(0.01)
        return points[:, 0]

    cost = evaluate_category(records, FunctionScorer(slow, parameters=7), quiet=True).cost
    assert len(calls) == len(records) + 1  # one more, not timed, to warm up
    assert cost.seconds >= 0.01 * len(records)
    assert cost.objects_per_second == pytest.approx(len(records) / cost.seconds)
    assert cost.objects_per_second <= 100
    assert cost.parameters == 7
    assert cost.memory > 10**7


def test_an_output_that_cannot_be_used_names_the_sample(records: list[Record]) -> None:
    for answer, message in (
        (lambda record: np.zeros((record.n_points, 2)), "force"),
        (lambda record: np.zeros(3), r"expected \(\d+,\)"),
        (lambda record: np.full((record.n_points, 3), np.nan), "not finite"),
    ):
        with pytest.raises(InputError, match=f"{records[0].id}.*{message}"):
            evaluate_category(records, knowing(records, answer), quiet=True)


def test_records_that_have_no_auroc_are_an_error(dataset: Dataset, records: list[Record]) -> None:
    normal = [record for record in records if record.defect == "normal"]
    defective = [record for record in records if record.defect != "normal"]
    for chosen, message in (
        (normal, "ball: none of its 6 test samples is defective"),
        (defective, "ball: none of its 6 test samples is normal"),
        (list(dataset.filter(category="ball")), "training sample"),
        (list(dataset.filter(split="test")), "one category"),
        ([], "one category"),
    ):
        with pytest.raises(InputError, match=message):
            check_records(chosen)


def test_objects_all_labelled_leave_a_gap_not_a_nan(records: list[Record]) -> None:
    """A row or a breakdown without normal points has no P-AUROC, and no number is made up."""
    found = evaluate_category(records, knowing(records, noisy_force), quiet=True)
    rows = [replace(row, p_auroc=None) for row in found.rows]
    assert category_metrics(records, rows, found.point_scores).p_auroc_objects is None
    normal = [row for row in found.rows if not row.anomalous]
    assert force_metrics(normal).epe is None
    assert force_metrics(normal).epe_rest is not None


def test_a_score_of_the_object_is_taken_as_it_is(records: list[Record]) -> None:
    """Unless a rule is asked for; and it must be a number."""

    class Whole(FunctionScorer):
        def score(self, points: Array) -> Prediction:
            return replace(super().score(points), object=self.function(points).sum())

    scorer = Whole(lambda points: points[:, 0])
    for row in evaluate_category(records, scorer, quiet=True).rows:
        assert row.object_score == pytest.approx(row.object_mean * row.n_points, rel=1e-4)
    for row in evaluate_category(records, scorer, "max", quiet=True).rows:
        assert row.object_score == row.object_max

    class Broken(FunctionScorer):
        def score(self, points: Array) -> Prediction:
            return replace(super().score(points), object=float("nan"))

    with pytest.raises(InputError, match="the object's score is nan, expected a number"):
        evaluate_category(records, Broken(lambda points: points[:, 0]), quiet=True)


def test_a_cloud_that_cannot_be_scored_is_named(records: list[Record]) -> None:
    """Whether it is the first one, which is scored once more to warm up, or a later one."""

    def refusing(refused: Record) -> FunctionScorer:
        def force(points: Array) -> Array:
            if np.array_equal(points, refused.points):
                raise InputError("point cloud: of another size")
            return np.zeros_like(points)

        return FunctionScorer(force)

    for record in (records[0], records[-1]):
        with pytest.raises(InputError, match=f"^{record.id}: point cloud: of another size"):
            evaluate_category(records, refusing(record), quiet=True)


def test_a_gpu_without_memory_for_a_cloud_is_said(records: list[Record]) -> None:
    torch = pytest.importorskip("torch")

    def force(points: Array) -> Array:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    told = rf"^{records[0].id}: scoring [\d,]+ points: the GPU .*2.00 GiB asked for.*--device cpu"
    with pytest.raises(InputError, match=told):
        evaluate_category(records, FunctionScorer(force), quiet=True)
