# SPDX-License-Identifier: Apache-2.0
"""The round trip through CloudCompare: files that it wrote, and the program itself if installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from annotations.matching import match
from intravariance.cloud_files import parse_cloud, read_cloud, write_ply
from intravariance.dataset.store import open_dataset
from intravariance.labelling.giving_out import give_out
from intravariance.labelling.relabelling import relabel
from tests import ROOT
from tests.support.samples import UNEVEN, make_dataset

FILES = ROOT / "tests" / "data" / "cloudcompare"
GIVEN = read_cloud(FILES / "given.ply")


@pytest.mark.parametrize(
    "name", ["binary.ply", "ascii.ply", "header.asc", "plain.asc", "commas.csv", "translated.ply"]
)
def test_points_and_labels_come_back_from_every_kind_of_file(name: str) -> None:
    cloud = read_cloud(FILES / name)
    assert cloud.labels is not None and cloud.normals is not None and GIVEN.normals is not None
    found = match(GIVEN.points, cloud.points)
    assert (found.point == np.arange(240)).all() and found.ambiguous == 0
    assert (found.carry(cloud.labels) == (GIVEN.points[:, 0] > 0.8)).all()
    # CloudCompare keeps normals in steps of a thousandth
    assert np.abs(cloud.normals - GIVEN.normals).max() < 0.003
    moved = (20, -35, 7.5) if name.startswith("translated") else (0, 0, 0)
    assert found.shift == pytest.approx(moved, abs=1e-5)


@pytest.mark.parametrize(("name", "missing"), [("relabelled.ply", 0), ("thinned.asc", 40)])
def test_edited_labels_are_found_in_another_order(name: str, missing: int) -> None:
    cloud = read_cloud(FILES / name)
    assert cloud.labels is not None
    found = match(GIVEN.points, cloud.points)
    assert (found.missing, found.extra, found.repeated) == (missing, 0, 0)
    assert (found.point != np.arange(len(found.point))).any()
    expected = (GIVEN.points[:, 2] > 0.8) & found.known
    assert expected.any() and (found.carry(cloud.labels) == expected).all()


def test_names_that_cloudcompare_gives_scalar_fields_without_one() -> None:
    rows = "0,0,1,1.00000000,0,0,1\n0,1,0,0.00000000,0,1,0\n"
    for head in ("//X,Y,Z,Scalar field,Nx,Ny,Nz", "//X,Y,Z,Scalar_field,Nx,Ny,Nz"):
        cloud = parse_cloud(f"{head}\n{rows}".encode(), "ball.csv")
        assert cloud.labels is not None and cloud.labels.tolist() == [1, 0]
        assert "taken as the label" in cloud.notes[0]


# --- the program itself


def cloudcompare(folder: Path, *arguments: str) -> None:
    # It is large, so CI does not have it: apt-get install cloudcompare
    program = shutil.which("CloudCompare")
    if program is None:
        pytest.skip("CloudCompare is not installed: apt-get install cloudcompare")
    result = subprocess.run(
        [program, "-SILENT", "-NO_TIMESTAMP", *arguments],
        cwd=folder,
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},  # no display
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_hand_with_cloudcompare(tmp_path: Path) -> None:
    """Segment a box, label it 1 and the rest 0, merge, save: then take it back."""
    data = make_dataset(tmp_path / "data.h5", UNEVEN, sigma=0.002)
    with open_dataset(data) as dataset:
        record = next(r for r in dataset if r.defect == "bulge")
        give_out([record], dataset.digest, tmp_path / "out", quiet=True)
    name = f"{record.id}.ply"
    box, ply = "-3:-3:0.3:3:3:3", ("-C_EXPORT_FMT", "PLY")
    (tmp_path / "work").mkdir()
    work = tmp_path / "work"
    shutil.copy(tmp_path / "out" / name, work / "given.ply")
    zero, one = ("-SF_OP", "0", "MULT", "0"), ("-SF_OP", "0", "ADD", "1")
    save = "-SAVE_CLOUDS", "FILE"
    cloudcompare(work, "-O", "given.ply", *ply, "-CROP", box, *zero, *one, *save, "in.ply")
    cloudcompare(work, "-O", "given.ply", *ply, "-CROP", box, "-OUTSIDE", *zero, *save, "out.ply")
    cloudcompare(work, "-O", "in.ply", "-O", "out.ply", *ply, "-MERGE_CLOUDS", *save, "merged.ply")
    inside = read_cloud(work / "given.ply").points[:, 2] > 0.3
    shutil.copy(work / "merged.ply", tmp_path / "out" / name)

    result = relabel(tmp_path / "out", data, tmp_path / "new.h5", quiet=True)
    assert result.outcomes[0].labels["matched"] == record.n_points
    with open_dataset(tmp_path / "new.h5") as dataset:
        assert (dataset[record.id].labels == inside).all()


def test_what_we_give_out_is_a_scalar_field_to_cloudcompare(tmp_path: Path) -> None:
    labels = (GIVEN.points[:, 0] > 0.8).astype(np.uint8)
    data = write_ply(GIVEN.points, GIVEN.normals, labels, "scalar_label", "float")
    (tmp_path / "given.ply").write_bytes(data)
    save = ("-SAVE_CLOUDS", "FILE", "kept.asc")
    header = ("-C_EXPORT_FMT", "ASC", "-ADD_HEADER")
    cloudcompare(tmp_path, "-O", "given.ply", "-FILTER_SF", "0.5", "1.5", *header, *save)
    kept = read_cloud(tmp_path / "kept.asc")
    assert kept.labels is not None and kept.labels.all()
    assert len(kept.labels) == labels.sum() and (kept.points[:, 0] > 0.8).all()
