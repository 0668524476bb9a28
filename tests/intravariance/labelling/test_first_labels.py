# SPDX-License-Identifier: Apache-2.0
"""A hand gives labels to scans that had none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from annotations.vocabulary import UNKNOWN_LABEL, UNLABELLED
from intravariance.dataset.label_origin import construction_labels
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError
from intravariance.verification.verify import verify
from tests.support.hand_labels import edit, run
from tests.support.unlabelled_trees import unlabelled_scans


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return unlabelled_scans(tmp_path)


def given_out(dataset: Dataset, *arguments: str) -> Path:
    folder = dataset.path.with_name("clouds")
    run("export", dataset.path, "--out", folder, "--unlabelled", *arguments)
    return folder


def some(record, count: int = 9) -> np.ndarray:
    return (np.arange(record.n_points) < count).astype(np.uint8)


@pytest.mark.parametrize("rule", ["hand", "union", "intersection", "construction"])
def test_labels_are_filled_in_and_all_else_stays(dataset: Dataset, rule: str) -> None:
    folder = given_out(dataset)
    assert {path.stem for path in folder.glob("*.ply")} == {
        record.id for record in dataset if not record.labelled
    }
    dent, (first, second) = dataset.filter(defect="dent")[0], dataset.filter(defect=UNLABELLED)
    order = np.random.default_rng(0).permutation(dent.n_points)
    edit(folder, dent.id, some(dent), order)
    edit(folder, first.id, some(first, 5))
    edit(folder, second.id, some(second, 0))
    out = dataset.path.with_name("new.h5")
    run("import", folder, "--data", dataset.path, "--out", out, "--rule", rule)
    with open_dataset(out) as new:
        assert {id: new[id].defect for id in (dent.id, first.id, second.id)} == {
            dent.id: "dent", first.id: "anomaly", second.id: "normal",
        }  # fmt: skip
        assert (new[dent.id].labels == some(dent)).all()
        moved = np.isnan(new[dent.id].displacement).all(axis=1)
        assert (moved == (some(dent) == 1)).all()
        assert (construction_labels(new[first.id].load()) == UNKNOWN_LABEL).all()
        rest = [r.id for r in dataset if r.id not in (dent.id, first.id, second.id)]
        assert {id: new[id].digest for id in rest} == {id: dataset[id].digest for id in rest}
        assert [r.id for r in new] == [r.id for r in dataset]
        counts = new.specification.categories[0]
        assert (counts.positives, dict(counts.defects)) == (3, {"anomaly": 1, "bump": 1, "dent": 2})
    report = verify(out)
    assert report.passed, report.failures()


def test_a_second_hand_may_say_something_else(dataset: Dataset) -> None:
    first, second = given_out(dataset), dataset.path.with_name("second.h5")
    record = dataset.filter(defect=UNLABELLED)[0]
    edit(first, record.id, some(record, 0))
    run("import", first, "--data", dataset.path, "--out", second)
    again = dataset.path.with_name("again")
    run("export", second, "--out", again, "--sample", record.id)
    edit(again, record.id, some(record))
    run("import", again, "--data", second, "--out", dataset.path.with_name("third.h5"))
    with open_dataset(dataset.path.with_name("third.h5")) as new:
        assert (new[record.id].defect, new[record.id].n_anomalous) == ("anomaly", 9)
        assert new[record.id].parameters["labels"]["unlabelled"] == UNLABELLED
    assert verify(dataset.path.with_name("third.h5")).passed


def test_a_file_without_unlabelled_samples_is_of_the_version_before(dataset: Dataset) -> None:
    folder, out = given_out(dataset), dataset.path.with_name("new.h5")
    for record in dataset:
        if not record.labelled:
            edit(folder, record.id, some(record))
    run("import", folder, "--data", dataset.path, "--out", out)
    with open_dataset(out) as new:
        assert new.version == 2
    with pytest.raises(InputError, match="all points of these samples"):
        run("export", out, "--out", dataset.path.with_name("none"), "--unlabelled")


@pytest.mark.parametrize(
    ("count", "rows", "message"),
    [(9, slice(20, None), "20 of 120 points .* have no row"), (0, slice(None), "no point is")],
)
def test_what_says_nothing_is_refused(
    dataset: Dataset, count: int, rows: slice, message: str
) -> None:
    folder, record = given_out(dataset), dataset.filter(defect="dent")[0]
    edit(folder, record.id, some(record, count), np.arange(record.n_points)[rows])
    with pytest.raises(InputError, match=message):
        run("import", folder, "--data", dataset.path, "--out", dataset.path.with_name("new.h5"))


def test_there_is_nothing_to_compare_them_with(dataset: Dataset) -> None:
    folder = dataset.path.with_name("clouds")
    run("export", dataset.path, "--out", folder)
    bump, dent = (dataset.filter(defect=name)[0] for name in ("bump", "dent"))
    edit(folder, dent.id, some(dent))
    with pytest.raises(InputError, match="1 samples had no labels before"):
        run("compare", folder, "--data", dataset.path)
    edit(folder, bump.id, some(bump))
    (folder / "README.txt").write_text("not a cloud")
    text = run("compare", folder, "--data", dataset.path)
    assert "1 samples had no labels before the hand's" in text
    assert "not used: 1 (README.txt)" in text
    new = dataset.path.with_name("new.h5")
    run("import", folder, "--data", dataset.path, "--out", new)
    assert "1 samples had no labels" in run("compare", new, "--data", dataset.path)
