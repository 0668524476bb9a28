# SPDX-License-Identifier: Apache-2.0
"""Scans without labels: how they are kept, shown, given away and brought back."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from annotations.vocabulary import UNKNOWN_LABEL, UNLABELLED
from intravariance.cards.dataset_card import dataset_card
from intravariance.cloud_files import write_text
from intravariance.commands.import_ import import_command
from intravariance.commands.info import describe
from intravariance.commands.view import view_command
from intravariance.dataset.sample_checks import IMPORTED_CHECKS, Expected
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError
from intravariance.exchange.layouts import find_scans
from intravariance.exchange.parquet.reading import restore_dataset
from intravariance.exchange.parquet.writing import write_parquet
from intravariance.looking.cloud import upright
from intravariance.looking.histograms import point_histogram
from intravariance.looking.preview import Drawing, contact_sheet
from intravariance.verification.verify import verify
from tests.support.exporting_samples import export_to, plain_folder
from tests.support.foreign_trees import ball, write_tree
from tests.support.unlabelled_trees import (
    import_scans,
    partly_labelled,
    some_scans,
    unlabelled_scans,
    without_labels,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return unlabelled_scans(tmp_path_factory.mktemp("unlabelled"))


def test_what_is_not_known_is_kept_as_such(dataset: Dataset) -> None:
    kept = {r.defect: (r.labelled, r.object_known, r.n_anomalous < 0) for r in dataset}
    assert kept == {
        "normal": (True, True, False),
        "dent": (False, True, True),
        "bump": (True, True, False),
        UNLABELLED: (False, False, True),
    }
    for record in dataset.filter(defect=["dent", UNLABELLED]):
        assert (record.labels == UNKNOWN_LABEL).all()
        assert np.isnan(record.displacement).all()
    assert verify(dataset.path).passed
    assert describe(dataset)["unlabelled"] == {"points": 4, "objects": 2}


def test_an_earlier_reader_refuses_the_file_and_no_other(dataset: Dataset, tmp_path: Path) -> None:
    labelled = {name: data for name, data in some_scans(labelled=True).items() if "unl" not in name}
    other = import_scans(write_tree(tmp_path / "scans", labelled), tmp_path / "scans.h5")
    for file, version in ((dataset, 3), (other, 2)):
        with h5py.File(file.path) as content:
            assert content.attrs["format_version"] == version
    assert describe(other)["unlabelled"] == {"points": 0, "objects": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: replace(s, labels=np.r_[s.labels[:-1], 0].astype(np.uint8)), "label 255"),
        (lambda s: replace(s, displacement=np.zeros_like(s.displacement)), "and without a label"),
        (lambda s: replace(s, defect="normal"), "a normal sample without labels"),
    ],
)
def test_verify_finds_half_labels(dataset: Dataset, change, message: str) -> None:
    sample = dataset.filter(defect="dent")[0].load()
    expected = Expected(dataset.specification, 0.0)
    assert not any(check(sample, expected) for check in IMPORTED_CHECKS.values())
    found = [check(change(sample), expected) for check in IMPORTED_CHECKS.values()]
    assert any(message in one for one in found)


def test_a_built_sample_has_labels(tmp_path: Path) -> None:
    assert not verify(partly_labelled(tmp_path / "a.h5").path, probes=False).passed


def test_a_folder_keeps_it(dataset: Dataset) -> None:
    with plain_folder() as folder:
        export_to(dataset, "mvtec-like-folder", folder / "out")
        again = import_scans(folder / "out", folder / "again.h5", normalise="none")
    assert Counter(r.defect for r in again) == Counter(r.defect for r in dataset)

    def content(file: Dataset) -> set[tuple[str, bytes, bytes]]:
        return {(r.defect, r.points.tobytes(), r.labels.tobytes()) for r in file}

    assert content(again) == content(dataset)


def test_parquet_keeps_it(dataset: Dataset, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet(dataset, tmp_path / "out")
    assert restore_dataset(tmp_path / "out", tmp_path / "again.h5") == dataset.digest
    assert json.loads((tmp_path / "out/iv_export.json").read_bytes())["format_version"] == 2
    (path,) = tmp_path.glob("out/data/*/test-*.parquet")
    rows = parquet.read_table(path, columns=["id", "label", "n_anomalous"]).to_pylist()
    labels = {row["id"]: row["label"] for row in rows}
    known = {r.id: int(r.defect != "normal") if r.object_known else -1 for r in dataset}
    assert labels == {id: known[id] for id in labels}


@pytest.mark.parametrize("layout", ["anomaly-shapenet", "real3d-ad"])
def test_layouts_that_want_ground_truth_refuse_it(dataset: Dataset, layout: str) -> None:
    with plain_folder() as folder:
        with pytest.raises(InputError, match=r"4 of 9 samples have no labels of their points"):
            export_to(dataset, layout, folder / "out")
        assert not (folder / "out").exists()


def test_the_card_says_so(dataset: Dataset, tmp_path: Path) -> None:
    card = dataset_card(dataset.path)
    assert (
        "Nobody says which points of 4 test samples are anomalous, nor whether there is a defect "
        "in 2 of them." in card
    )
    assert "| dent | 2 | not labelled |" in card
    assert "(2 normal,\n  3 defective)" in card
    assert "Without labels" not in dataset_card(
        import_scans(
            write_tree(tmp_path / "scans", {"train/0.xyz": some_scans()["train/0.xyz"]}),
            tmp_path / "a.h5",
        ).path
    )


def test_nothing_is_drawn_as_a_label(dataset: Dataset, tmp_path: Path) -> None:
    record = dataset.filter(defect="dent")[0]
    cloud = upright(record)
    assert not cloud.labelled
    assert not cloud.labels.any()
    scored = [replace(upright(r), scores=r.points[:, 0]) for r in dataset if r.split == "test"]
    assert point_histogram(scored) != point_histogram([c for c in scored if c.labelled][:1])
    contact_sheet(dataset, Drawing(size=64, colouring="labels"))
    words = [f"{dataset.path}:{record.id}", "--colour", "labels", "--out", f"{tmp_path}/a.png"]
    with pytest.raises(InputError, match="label it with `iv labels`"):
        CliRunner().invoke(view_command, words, catch_exceptions=False)


def test_folders_of_which_nothing_is_known(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scan = write_text(ball(60, rng)[0])
    places = {
        "a.xyz": "", "scans/b.xyz": "", "test/c.xyz": "", "mug/scans/d.xyz": "mug",
        "mug/e.xyz": "mug", "mug/test/f.xyz": "mug",
    }  # fmt: skip
    known = {"train/0.xyz": "normal", "mug/train/1.xyz": "normal", "test/dent/2.xyz": "dent"}
    tree = write_tree(tmp_path / "scans", dict.fromkeys([*places, *known], scan))
    scans = find_scans("folder", tree, unlabelled=True)
    found = {scan.cloud: scan for scan in scans}
    assert {name: found[name].category for name in places} == places
    assert {found[name].defect for name in places} == {UNLABELLED}
    assert {name: found[name].defect for name in known} == known
    with pytest.raises(InputError, match="of no use with real3d-ad"):
        find_scans("real3d-ad", tree, unlabelled=True)
    flat = write_tree(tmp_path / "flat", {"a.xyz": scan, "b.xyz": scan})
    assert [r.defect for r in import_scans(flat, tmp_path / "a.h5", unlabelled=True)] == [
        UNLABELLED
    ] * 2


def test_labels_contradict_that_nothing_is_known(tmp_path: Path) -> None:
    points, labels = ball(60, np.random.default_rng(0), bump=0.4)
    files = {
        "a.xyz": write_text(points, labels=labels, header=True),
        "b.xyz": write_text(points, labels=0 * labels, header=True),
    }
    scans = {s.id: s for s in find_scans("folder", write_tree(tmp_path, files), unlabelled=True)}
    with pytest.raises(InputError, match=r"a\.xyz: .* points are labelled anomalous\. Put it"):
        scans["a"].load()
    assert not scans["b"].load().labelled  # as a tool leaves a column that nobody filled


def test_labels_taken_away_are_no_labels(tmp_path: Path) -> None:
    sample = unlabelled_scans(tmp_path, labelled=True).filter(defect="dent")[0].load()
    bare = without_labels(sample, np.random.default_rng(0))
    assert sample.labelled and not bare.labelled
    assert bare.digest != sample.digest


def test_the_command_takes_it_all(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = {f"{n}.xyz": write_text(40 * ball(200, rng)[0]) for n in ("train/0", "test/a", "b")}
    root, out = write_tree(tmp_path / "scans", files), tmp_path / "a.h5"
    words = ["folder", str(root), "--out", str(out), "--unlabelled", "--voxel", "2"]
    words += ["--max-points", "150", "--scan-noise", "0.1", "--jobs", "1"]
    result = CliRunner().invoke(import_command, words, catch_exceptions=False)
    assert result.exit_code == 0
    assert "2 samples have no labels of their points" in result.output
    with open_dataset(out) as dataset:
        assert Counter(r.defect for r in dataset) == {"normal": 1, UNLABELLED: 2}
        assert {r.n_points for r in dataset} == {150}
        assert dataset.metadata["identity"]["imported"]["scan_noise"] == 0.1
    report = json.loads(
        CliRunner().invoke(import_command, [*words, "--force", "--json", "--quiet"]).stdout
    )
    assert report["unlabelled"] == 2
    refused = ["hf-parquet", str(root), "--out", str(tmp_path / "b.h5"), "--voxel", "2"]
    with pytest.raises(InputError, match="--voxel, --max-points: of no use with hf-parquet"):
        CliRunner().invoke(import_command, refused, catch_exceptions=False)
