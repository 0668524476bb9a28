# SPDX-License-Identifier: Apache-2.0
"""Figures where some defective objects have no labels of their points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pydantic")
from sklearn.metrics import roc_auc_score

from intravariance.dataset.store import Dataset, Record
from intravariance.errors import InputError
from mc4ad_model.evaluation.evaluate import check_labelled, evaluate_category
from mc4ad_model.evaluation.results import read_results, recompute, write_results
from mc4ad_model.reports.evaluation_report import compare, pictures
from tests.support.scorers import FunctionScorer
from tests.support.unlabelled_trees import partly_labelled


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return partly_labelled(tmp_path_factory.mktemp("evaluation") / "small.h5")


def records_of(dataset: Dataset) -> list[Record]:
    return list(dataset.filter(category="ball", split="test"))


def scorer() -> FunctionScorer:
    """Score points by their height, with as much noise."""
    return FunctionScorer(lambda points: points[:, 2] + np.sin(1e3 * points[:, 0]))


POINT_FIGURES = ("p_auroc", "p_auroc_interval", "p_aupr", "au_pro")


def test_points_without_labels_do_not_count_and_their_objects_do(dataset: Dataset) -> None:
    records = records_of(dataset)
    bare = [r for r in records if not r.labelled]
    assert bare and len(bare) < sum(r.defect != "normal" for r in records)
    found = evaluate_category(records, scorer(), quiet=True)
    known = [r for r in records if r.labelled]
    without = evaluate_category(known, scorer(), quiet=True).metrics
    assert found.metrics.unlabelled == len(bare)
    assert without.unlabelled == 0
    for name in POINT_FIGURES:
        assert getattr(found.metrics, name) == getattr(without, name), name
    truth = np.concatenate([r.labels for r in known])
    values = np.concatenate([found.point_scores[r.id] for r in known])
    assert found.metrics.p_auroc == pytest.approx(roc_auc_score(truth, values))
    objects = [row.object_score for row in found.rows]
    defective = [r.defect != "normal" for r in records]
    assert found.metrics.o_auroc == pytest.approx(roc_auc_score(defective, objects))
    assert found.metrics.defects["bulge"].p_auroc is None
    assert found.metrics.defects["bulge"].objects == len(bare)
    for row, record in zip(found.rows, records, strict=True):
        assert (row.n_anomalous is None) == (not record.labelled)


def test_without_any_label_objects_alone_have_figures(tmp_path: Path) -> None:
    dataset = partly_labelled(tmp_path / "none.h5", keep="")
    found = evaluate_category(records_of(dataset), scorer(), quiet=True).metrics
    assert [getattr(found, name) for name in POINT_FIGURES] == [None] * 4
    assert 0 <= found.o_auroc <= 1
    with pytest.raises(InputError, match=r"have no labels of their points .*iv labels"):
        check_labelled(records_of(dataset))


def test_some_labels_are_enough_unless_all_are_needed(dataset: Dataset) -> None:
    check_labelled(records_of(dataset))
    with pytest.raises(InputError, match="have no labels of their points"):
        check_labelled(records_of(dataset), all_of_them=True)


def test_results_are_read_and_computed_again(dataset: Dataset, tmp_path: Path) -> None:
    for keep, place in (("missing", dataset), ("", partly_labelled(tmp_path / "none.h5", ""))):
        found = evaluate_category(records_of(place), scorer(), quiet=True)
        folder = tmp_path / f"of-{keep}"
        write_results(folder, found, place, 0, {})
        results = read_results(folder)
        assert (results.evaluation.rows, results.evaluation.metrics) == (found.rows, found.metrics)
        assert recompute(results, place) == found.metrics
        assert json.loads((folder / "metrics.json").read_bytes())["version"] == 3
        assert len(list(pictures(compare(results, place, 1), 64)))


def test_without_unlabelled_objects_nothing_is_said_of_them(
    dataset: Dataset, tmp_path: Path
) -> None:
    known = [r for r in records_of(dataset) if r.labelled]
    write_results(tmp_path / "a", evaluate_category(known, scorer(), quiet=True), dataset, 0, {})
    content = json.loads((tmp_path / "a/metrics.json").read_bytes())
    assert content["version"] == 2
    assert "unlabelled" not in content["metrics"]
