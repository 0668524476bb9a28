# SPDX-License-Identifier: Apache-2.0
"""Anomaly-ShapeNet's tree with all its quirks, made small."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from intravariance.cloud_files import write_pcd, write_text
from intravariance.errors import InputError
from intravariance.exchange.layouts import detect_layout, find_scans
from tests.support.foreign_trees import cloud, labels_of, write_tree

LAYOUT = "anomaly-shapenet"


def truth_of(points: np.ndarray, labels: np.ndarray, seed: int = 0, extra: int = 0) -> bytes:
    """Write rows in another order, with commas, labels as 0.0 and 1.0, and `extra` rows more."""
    rows = np.column_stack([points, labels])[np.random.default_rng(seed).permutation(len(points))]
    rows = np.vstack([rows, rows[:extra]])
    return "".join(f"{x:.9g},{y:.9g},{z:.9g},{label:.1f}\n" for x, y, z, label in rows).encode()


@pytest.fixture
def files() -> dict[str, bytes]:
    """Return name -> content, from the folder above `dataset` on."""
    found: dict[str, bytes] = {"dataset/readme.docx": b"x"}
    classes = {
        "pcd/cap0": ("cap0", ["bulge0", "bulge2", "bulge10", "crak0"]),
        "pcd/helmet1": ("helmet1", ["bending0"]),
        "pcd/desk0": ("desk", ["hole0"]),  # no number in its files
        "new_pcd/cap1": ("cap1", ["broken0"]),
    }
    for number, (folder, (prefix, defects)) in enumerate(classes.items()):
        for index in range(2):
            points = write_pcd(cloud(100 * number + index))
            found[f"dataset/{folder}/train/{prefix}_template{index}.pcd"] = points
            found[f"dataset/{folder}/test/{prefix}_positive{index}.pcd"] = points
        for index, defect in enumerate(defects):
            points = cloud(100 * number + 50 + index)
            extra = int(folder == "pcd/helmet1")
            found[f"dataset/{folder}/test/{prefix}_{defect}.pcd"] = write_pcd(points)
            truth = truth_of(points, labels_of(), extra=extra)
            found[f"dataset/{folder}/GT/{prefix}_{defect}.txt"] = truth
    found["dataset/obj/cap0/cap0_template0.obj"] = b"v 0 0 0\n"
    found["dataset/obj/vase3/vase3_template0.obj"] = b"v 0 0 1\nv 1 0 0\nf 1 2 1\n"
    found["dataset/pcd/vase3/test/vase3_positive0.pcd"] = write_pcd(cloud(7))
    return found


def test_listing(tmp_path: Path, files: dict[str, bytes]) -> None:
    scans = find_scans(LAYOUT, write_tree(tmp_path, files))
    assert [scan.id for scan in scans if scan.category == "cap"] == [
        "cap0/cap0_template0",
        "cap0/cap0_template1",
        "cap0/cap0_bulge0",
        "cap0/cap0_bulge2",
        "cap0/cap0_bulge10",
        "cap0/cap0_crak0",
        "cap0/cap0_positive0",
        "cap0/cap0_positive1",
        "cap1/cap1_template0",
        "cap1/cap1_template1",
        "cap1/cap1_broken0",
        "cap1/cap1_positive0",
        "cap1/cap1_positive1",
    ]
    crack = next(scan for scan in scans if scan.id == "cap0/cap0_crak0")
    assert (crack.category, crack.subcategory, crack.split, crack.defect) == (
        *("cap", "cap0", "test", "crack"),
    )
    assert crack.paths == (
        tmp_path / "dataset/pcd/cap0/test/cap0_crak0.pcd",
        tmp_path / "dataset/pcd/cap0/GT/cap0_crak0.txt",
    )
    hole = next(scan for scan in scans if scan.id == "desk0/desk_hole0")
    assert (hole.subcategory, hole.defect) == ("desk0", "hole")
    assert {scan.defect for scan in scans if "positive" in scan.id or scan.split == "train"} == {
        "normal"
    }


def test_points_and_labels_come_together(tmp_path: Path, files: dict[str, bytes]) -> None:
    """Whatever the order in GT, and with the row that helmet1 has too many."""
    scans = {scan.id: scan for scan in find_scans(LAYOUT, write_tree(tmp_path, files))}
    bulge = scans["cap0/cap0_bulge0"].load()
    wanted = {tuple(point) for point in cloud(50)[:7].tolist()}
    assert bulge.labels is not None and bulge.labels.sum() == 7
    assert {tuple(p) for p in bulge.points[bulge.labels == 1].astype("f4").tolist()} == wanted
    np.testing.assert_array_equal(bulge.points, cloud(50))  # its digits and its order, not GT's
    bending = scans["helmet1/helmet1_bending0"].load()
    np.testing.assert_array_equal(bending.points, cloud(150))
    np.testing.assert_array_equal(bending.labels, labels_of())
    positive = scans["cap0/cap0_positive1"].load()
    np.testing.assert_array_equal(positive.points, cloud(1))
    assert positive.labels is not None and not positive.labels.any()


def test_templates_come_from_obj_where_there_is_no_cloud(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    scans = find_scans(LAYOUT, write_tree(tmp_path, files))
    template = next(scan for scan in scans if scan.id == "vase3/vase3_template0")
    np.testing.assert_array_equal(template.load().points, [(0, 0, 1), (1, 0, 0)])
    assert next(scan for scan in scans if scan.id == "cap0/cap0_template0").cloud.endswith(".pcd")


@pytest.mark.parametrize("below, classes", [("dataset", 5), ("dataset/pcd", 4)])
def test_the_root_may_be_any_folder_above_the_classes(
    tmp_path: Path, files: dict[str, bytes], below: str, classes: int
) -> None:
    root = write_tree(tmp_path, files) / below
    assert detect_layout(root) == LAYOUT
    assert len({scan.subcategory for scan in find_scans(LAYOUT, root)}) == classes


def test_a_zip_file_is_read_in_place(tmp_path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    folder = find_scans(LAYOUT, write_tree(tmp_path / "set", files))
    packed = find_scans(LAYOUT, tmp_path / "set.zip")
    assert [scan.id for scan in packed] == [scan.id for scan in folder]
    for one, other in zip(packed, folder, strict=True):
        np.testing.assert_array_equal(one.load().points, other.load().points)
    assert detect_layout(tmp_path / "set.zip") == LAYOUT


def test_all_problems_are_named_together(tmp_path: Path, files: dict[str, bytes]) -> None:
    del files["dataset/pcd/cap0/GT/cap0_bulge2.txt"]
    files["dataset/pcd/cap0/test/cap0_dent0.pcd"] = write_pcd(cloud(1))
    files["dataset/pcd/cap0/train/cap0_positive9.pcd"] = write_pcd(cloud(1))
    files["dataset/pcd/cap0/GT/cap0_bulge77.txt"] = b"0,0,0,1\n"
    files["dataset/16384/cap0/test/cap0_positive0.pcd"] = write_pcd(cloud(1))
    with pytest.raises(InputError) as error:
        find_scans(LAYOUT, write_tree(tmp_path, files))
    text = str(error.value)
    for part in (
        "cap0_bulge2.pcd: its ground truth is missing",
        "cap0_dent0.pcd: its name is none of this layout",
        "train/cap0_positive9.pcd: its name is none of this layout",
        "cap0_bulge77.txt: there is no cloud cap0_bulge77",
        "dataset/16384/cap0: the class lies in dataset/pcd/cap0 as well",
    ):
        assert part in text, text


def test_many_problems_are_cut_short(tmp_path: Path) -> None:
    files = {f"cap0/test/cap0_bulge{i}.pcd": write_pcd(cloud(1)) for i in range(30)}
    with pytest.raises(InputError, match="and 10 more"):
        find_scans(LAYOUT, write_tree(tmp_path, files))


def test_files_that_7z_left_empty_are_named(tmp_path: Path, files: dict[str, bytes]) -> None:
    files["dataset/pcd/cap0/test/cap0_positive0.pcd"] = b""
    scans = {scan.id: scan for scan in find_scans(LAYOUT, write_tree(tmp_path, files))}
    with pytest.raises(InputError, match=r"cap0_positive0\.pcd: it is empty.*unpacked"):
        scans["cap0/cap0_positive0"].load()


@pytest.mark.parametrize(
    "damage, reason",
    [
        ("half", r"cap0_bulge0\.pcd: it is cut off"),
        ("empty", r"cap0_bulge0\.pcd: it is empty"),
        (
            "other",
            r"GT/cap0_bulge0\.txt: it is not the ground truth of .*: 60 of 60 points have no",
        ),
        ("fewer", r"GT/cap0_bulge0\.txt: .*: 2 of 60 points have no row"),
        ("more", r"GT/cap0_bulge0\.txt: .*: 2 of its 62 rows belong to none"),
    ],
)
def test_a_damaged_cloud_and_the_ground_truth_of_another_are_refused(
    tmp_path: Path, files: dict[str, bytes], damage: str, reason: str
) -> None:
    folder, points = "dataset/pcd/cap0", cloud(50)
    whole = files[f"{folder}/test/cap0_bulge0.pcd"]
    if damage in ("half", "empty"):
        cut = whole[: len(whole) // 2] if damage == "half" else b""
        files[f"{folder}/test/cap0_bulge0.pcd"] = cut
    else:
        other = {"other": cloud(3), "fewer": points[:-2], "more": np.vstack([points, cloud(3, 2)])}
        rows = other[damage]
        files[f"{folder}/GT/cap0_bulge0.txt"] = truth_of(rows, labels_of(len(rows)))
    scans = {scan.id: scan for scan in find_scans(LAYOUT, write_tree(tmp_path, files))}
    with pytest.raises(InputError, match=reason):
        scans["cap0/cap0_bulge0"].load()


def test_archives_are_refused_with_the_tool(tmp_path: Path) -> None:
    (tmp_path / "Anomaly-ShapeNet-v2.rar").write_bytes(b"Rar!")
    for root in (tmp_path, tmp_path / "Anomaly-ShapeNet-v2.rar"):
        with pytest.raises(InputError, match=r"v2\.rar: unpack it first, with unar"):
            find_scans(LAYOUT, root)


def test_wrong_roots_and_layouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found nothing"):
        find_scans(LAYOUT, tmp_path / "nowhere")
    with pytest.raises(
        InputError, match="expected one of auto, mvtec-3d-ad, mulsen-ad, anomaly-shapenet"
    ):
        find_scans("shapenet", tmp_path)
    with pytest.raises(InputError, match="there are no clouds in folders"):
        find_scans(LAYOUT, tmp_path)
    assert detect_layout(tmp_path) is None


def test_a_truth_file_without_labels_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    files["dataset/pcd/cap0/GT/cap0_bulge0.txt"] = write_text(cloud(1))
    scans = {scan.id: scan for scan in find_scans(LAYOUT, write_tree(tmp_path, files))}
    with pytest.raises(InputError, match=r"\(bulge\) and has no labels"):
        scans["cap0/cap0_bulge0"].load()
