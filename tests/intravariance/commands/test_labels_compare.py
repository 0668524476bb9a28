# SPDX-License-Identifier: Apache-2.0
"""`iv labels compare`: agreement of hand labels with construction."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from tests.support.hand_labels import edit, ids, invoke, run, some_labels
from tests.support.samples import UNEVEN, make_dataset


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("labels") / "small.h5", UNEVEN, sigma=0.002)


@pytest.fixture
def folder(file: Path, tmp_path: Path) -> Path:
    """Give all clouds out."""
    run("export", file, "--out", tmp_path / "clouds")
    return tmp_path / "clouds"


def test_compare_counts_each_sample_and_group(file: Path, folder: Path) -> None:
    good, half = ids(file, "bulge")[:2]
    normal = next(id for id in ids(file, "normal") if "test" in id)
    with open_dataset(file) as dataset:
        truth = {id: dataset[id].labels for id in (good, half, normal)}
    edit(folder, good, truth[good], np.arange(len(truth[good]))[::-1])
    found = truth[half].copy()
    found[np.flatnonzero(found)[::2]] = 0  # every other point, none wrong
    edit(folder, half, found)
    edit(folder, normal, np.arange(len(truth[normal])) < 7)
    result = json.loads(run("compare", folder, "--data", file, "--json"))
    rows = {row["id"]: row for row in result["samples"]}
    share = found.sum() / truth[half].sum()
    assert (rows[good]["iou"], rows[good]["kappa"]) == (1, 1)
    assert rows[half]["iou"] == rows[half]["recall"] == pytest.approx(share)
    assert rows[half]["precision"] == 1
    assert (rows[normal]["hand_only"], rows[normal]["recall"]) == (7, None)
    bulge = result["defect"]["bulge"]
    assert (bulge["objects"], bulge["iou"]["objects"]) == (2, 2)
    assert bulge["iou"]["mean"] == pytest.approx((1 + share) / 2)
    union = truth[good].sum() + truth[half].sum()
    assert bulge["iou"]["pooled"] == pytest.approx((truth[good].sum() + found.sum()) / union)
    assert result["defect"]["normal"]["marked"] == 1
    assert result["all"]["all samples"]["objects"] == 3 and result["blind"] is False
    table = list(csv.DictReader(io.StringIO(run("compare", folder, "--data", file, "--csv"))))
    assert {row["id"]: row["iou"] for row in table}[half] == str(rows[half]["iou"])
    assert {row["id"]: row["recall"] for row in table}[normal] == ""
    text = run("compare", folder, "--data", file)
    assert "bulge" in text and "--blind" in text


def test_compare_of_a_labelled_file(file: Path, folder: Path, tmp_path: Path) -> None:
    bulge = ids(file, "bulge")[0]
    edit(folder, bulge, some_labels(file, bulge))
    run("import", folder, "--data", file, "--out", tmp_path / "new.h5")
    of_file = json.loads(run("compare", tmp_path / "new.h5", "--data", file, "--json"))
    of_folder = json.loads(run("compare", folder, "--data", file, "--json"))
    assert of_file["samples"] == of_folder["samples"] and of_file["blind"] is None
    assert "after its merging rule" in run("compare", tmp_path / "new.h5", "--data", file)
    with pytest.raises(InputError, match="no hand labels"):
        run("compare", file, "--data", file)


def test_compare_says_what_could_not_be_compared(file: Path, folder: Path) -> None:
    bulge, torn = ids(file, "bulge")[:2]
    edit(folder, bulge, some_labels(file, bulge))
    (folder / f"{torn}.ply").write_bytes(b"ply\n")
    result = invoke("compare", folder, "--data", file, "--quiet")
    assert result.exit_code == 1 and f"not compared: {torn}" in result.stderr
    both = invoke("compare", folder, file, "--json", "--csv")
    assert both.exit_code == 2 and "give --json or --csv, not both" in both.stderr
