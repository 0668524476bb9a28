# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("safetensors")
import safetensors.numpy
from sklearn.metrics import roc_auc_score

from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError, IntegrityError
from intravariance.files.checksums import read_checksums, write_checksums
from intravariance.verification.folder import folder_problems
from mc4ad_model.evaluation.evaluate import CategoryEvaluation, evaluate_category
from mc4ad_model.evaluation.results import (
    check_results_folder,
    read_results,
    recompute,
    write_results,
)
from mc4ad_model.methods.method import Aggregation
from tests.support.samples import make_dataset
from tests.support.scorers import FunctionScorer

ORIGIN = {"method": "a test", "seed": 3}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(make_dataset(tmp_path_factory.mktemp("results") / "small.h5"))


@pytest.fixture(scope="module")
def evaluation(dataset: Dataset) -> CategoryEvaluation:
    rng = np.random.default_rng(0)
    return evaluate_category(
        list(dataset.filter(category="ball", split="test")),
        FunctionScorer(lambda points: (points * rng.normal(size=points.shape)).astype(np.float32)),
        seed=5,
        quiet=True,
    )


@pytest.fixture
def folder(tmp_path: Path, dataset: Dataset, evaluation: CategoryEvaluation) -> Path:
    write_results(tmp_path / "new" / "ball", evaluation, dataset, 5, ORIGIN)
    return tmp_path / "new" / "ball"


def test_what_is_written_is_read_back(folder: Path, evaluation: CategoryEvaluation) -> None:
    found = read_results(folder)
    assert found.evaluation.rows == evaluation.rows
    assert found.evaluation.metrics == evaluation.metrics
    assert found.evaluation.cost == evaluation.cost
    assert found.origin == ORIGIN
    for id, scores in evaluation.point_scores.items():
        assert (found.evaluation.point_scores[id] == scores).all()


def test_each_difficulty_is_told_from_the_normal_objects(
    dataset: Dataset, evaluation: CategoryEvaluation
) -> None:
    difficulty = {record.id: record.difficulty for record in dataset}
    found = evaluation.metrics.difficulties
    assert found and found.keys() <= {"easy", "medium", "hard"}
    assert sum(part.objects for part in found.values()) == evaluation.metrics.anomalous
    for name, part in found.items():
        rows = [row for row in evaluation.rows if difficulty[row.id] in ("", name)]
        truth, scores = ([getattr(r, n) for r in rows] for n in ("anomalous", "object_score"))
        assert part.o_auroc == pytest.approx(roc_auc_score(truth, scores))


def test_notes_are_read_back(tmp_path: Path, dataset: Dataset, evaluation: CategoryEvaluation):
    first, *rest = evaluation.rows
    noted = replace(first, note='fits no template, "perhaps"\nsays a method')
    write_results(tmp_path / "noted", replace(evaluation, rows=(noted, *rest)), dataset, 5, ORIGIN)
    assert read_results(tmp_path / "noted").evaluation.rows == (noted, *rest)


def test_metrics_computed_again_are_the_same_to_the_last_digit(
    folder: Path, dataset: Dataset, evaluation: CategoryEvaluation
) -> None:
    assert recompute(read_results(folder), dataset) == evaluation.metrics


def test_alarms_and_p_values_are_kept_and_computed_again(tmp_path: Path, dataset: Dataset) -> None:
    records = list(dataset.filter(category="ball", split="test"))
    scorer = FunctionScorer(lambda points: points[:, 0], Aggregation("max"))
    normal = np.linspace(0.6, 1.05, 19)
    found = evaluate_category(records, scorer, quiet=True, normal=normal, false_alarms=(0.05, 0.5))
    write_results(tmp_path / "ball", found, dataset, 0, ORIGIN)
    read = read_results(tmp_path / "ball")
    assert read.evaluation.metrics == found.metrics == recompute(read, dataset)
    rows = read.evaluation.rows
    assert rows == found.rows and len({row.p_value for row in rows}) > 3
    for alarms in read.evaluation.metrics.alarms:
        # from the p-values alone, without the threshold
        above = [row for row in rows if row.p_value is not None and row.p_value <= alarms.rate]
        assert sum(row.anomalous for row in above) == alarms.detected
        assert sum(not row.anomalous for row in above) == alarms.false_alarms
    low, high = found.metrics.alarms
    assert low.threshold == normal.max() and low.detected + low.false_alarms > 0
    assert high.false_alarms > low.false_alarms


def test_anybody_can_compute_them_with_other_tools(
    folder: Path, dataset: Dataset, evaluation: CategoryEvaluation
) -> None:
    """The csv module, safetensors and scikit-learn, and none of our code but the dataset."""
    with open(folder / "samples.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    stated = json.loads((folder / "metrics.json").read_text())["metrics"]
    truth = [int(row["anomalous"]) for row in rows]
    scores = [float(row["object_score"]) for row in rows]
    assert stated["o_auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    scores = safetensors.numpy.load_file(folder / "points.safetensors")
    labels = np.concatenate([dataset[row["id"]].labels for row in rows])
    pooled = np.concatenate([scores[row["id"]] for row in rows])
    assert stated["p_auroc"] == pytest.approx(roc_auc_score(labels, pooled), abs=1e-12)
    means = [scores[row["id"]].astype(float).mean() for row in rows]
    assert means == [float(row["object_mean"]) for row in rows]


def test_existing_results_are_kept_unless_forced(
    folder: Path, dataset: Dataset, evaluation: CategoryEvaluation
) -> None:
    with pytest.raises(InputError, match="evaluated before"):
        write_results(folder, evaluation, dataset, 5, ORIGIN)
    write_results(folder, evaluation, dataset, 6, ORIGIN, force=True)
    assert read_results(folder).seed == 6


def test_results_do_not_depend_on_where_the_dataset_lies(folder: Path, dataset: Dataset) -> None:
    assert str(dataset.path.parent) not in (folder / "metrics.json").read_text()


@pytest.mark.parametrize("name", ["samples.csv", "points.safetensors"])
def test_a_changed_file_is_noticed(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(IntegrityError, match=name):
        read_results(folder)


def test_replacing_that_was_interrupted_leaves_the_results_before(
    folder: Path, dataset: Dataset, evaluation: CategoryEvaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full after the first file: an error that names the folder, no old-new mixture."""
    calls = []
    replace_file = os.replace

    def full(written: Path, path: Path) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace_file(written, path)

    monkeypatch.setattr(os, "replace", full)
    rows = tuple(replace(row, object_score=0.5) for row in evaluation.rows)
    with pytest.raises(InputError, match=r"ball cannot be written.*No space"):
        write_results(folder, replace(evaluation, rows=rows), dataset, 6, ORIGIN, force=True)
    assert read_results(folder).seed == 5
    assert [path.name for path in folder.parent.iterdir()] == ["ball"]


def test_the_list_of_checksums_is_of_all_files(folder: Path) -> None:
    assert folder_problems(folder) == []
    assert sorted(read_checksums(folder)) == ["metrics.json", "points.safetensors", "samples.csv"]


def by_version_1(folder: Path, listed: bool = False) -> None:
    """Make of a folder what was written before there were p-values and notes; listed : with
    SHA256SUMS."""
    lines = (folder / "samples.csv").read_text().splitlines()
    assert lines[0].endswith(",p_value,note") and all(line.endswith(",,") for line in lines[1:])
    samples = "".join(line.rsplit(",", 2)[0] + "\n" for line in lines).encode()
    (folder / "samples.csv").write_bytes(samples)
    content = json.loads((folder / "metrics.json").read_bytes())
    content["version"] = 1
    del content["metrics"]["alarms"]
    content["sha256"]["samples.csv"] = hashlib.sha256(samples).hexdigest()
    (folder / "metrics.json").write_text(json.dumps(content))
    (folder / "SHA256SUMS").unlink()
    if listed:
        write_checksums(folder)


@pytest.mark.parametrize("listed", [False, True])
def test_results_of_version_1_are_read_and_replaced(
    listed: bool, folder: Path, dataset: Dataset, evaluation: CategoryEvaluation
) -> None:
    by_version_1(folder, listed)
    found = read_results(folder)
    assert found.evaluation.rows == evaluation.rows
    assert recompute(found, dataset) == found.evaluation.metrics == evaluation.metrics
    write_results(folder, evaluation, dataset, 6, ORIGIN, force=True)
    assert read_results(folder).seed == 6 and folder_problems(folder) == []


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("name", ["samples.csv", "notes.txt", "points.safetensors"])
def test_what_was_edited_or_added_is_never_replaced(
    name: str, before: bool, folder: Path, dataset: Dataset, evaluation: CategoryEvaluation
) -> None:
    if before:
        by_version_1(folder)
    (folder / name).write_bytes(b"my work")
    with pytest.raises(InputError, match=rf"not replaced.*added or changed: {name}\."):
        check_results_folder(folder, force=True)
    with pytest.raises(InputError, match=rf"not replaced.*added or changed: {name}\."):
        write_results(folder, evaluation, dataset, 6, ORIGIN, force=True)
    assert (folder / name).read_bytes() == b"my work"


def test_edited_metrics_are_not_replaced(
    folder: Path, dataset: Dataset, evaluation: CategoryEvaluation
) -> None:
    path = folder / "metrics.json"
    path.write_text(path.read_text().replace('"bootstrap_seed": 5', '"bootstrap_seed": 7'))
    with pytest.raises(InputError, match=r"changed: metrics\.json"):
        write_results(folder, evaluation, dataset, 6, ORIGIN, force=True)


def test_a_folder_of_other_files_is_not_written_in(
    tmp_path: Path, dataset: Dataset, evaluation: CategoryEvaluation
) -> None:
    (tmp_path / "run.json").write_text("{}")
    for force in (False, True):
        with pytest.raises(InputError, match="holds other files"):
            write_results(tmp_path, evaluation, dataset, 5, ORIGIN, force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_link_stays_and_its_target_is_written(
    folder: Path, dataset: Dataset, evaluation: CategoryEvaluation, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)
    write_results(link, evaluation, dataset, 6, ORIGIN, force=True)
    assert link.is_symlink() and read_results(folder).seed == 6


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"{", IntegrityError, "not valid JSON"),
        (b"[]", InputError, "another file"),
        (b'{"format": "intravariance-evaluation", "version": 99}', InputError, "version 99"),
        (b'{"format": "intravariance-evaluation", "version": 2}', IntegrityError, "contradicts"),
    ],
)
def test_another_file_is_an_error(
    folder: Path, content: bytes, error: type[Exception], message: str
) -> None:
    (folder / "metrics.json").write_bytes(content)
    with pytest.raises(error, match=message):
        read_results(folder)


def test_missing_results_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="iv evaluate"):
        read_results(tmp_path)


def test_another_dataset_is_an_error(folder: Path, tmp_path: Path) -> None:
    other = open_dataset(make_dataset(tmp_path / "other.h5", seed=1))
    with pytest.raises(InputError, match="content digest"):
        recompute(read_results(folder), other)


def test_scores_of_other_samples_are_an_error(folder: Path, dataset: Dataset) -> None:
    found = read_results(folder)
    shorter = replace(found.evaluation, rows=found.evaluation.rows[1:])
    with pytest.raises(IntegrityError, match="evaluate again"):
        recompute(replace(found, evaluation=shorter), dataset)
