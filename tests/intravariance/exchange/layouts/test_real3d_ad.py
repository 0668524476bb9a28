# SPDX-License-Identifier: Apache-2.0
"""Real3D-AD's tree, made small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from intravariance.cloud_files import parse_cloud, write_pcd, write_ply, write_text
from intravariance.errors import InputError
from intravariance.exchange.layouts import detect_layout, find_scans
from tests.support.foreign_trees import cloud, labels_of, write_tree

LAYOUT = "real3d-ad"


def tree() -> dict[str, bytes]:
    files = {}
    for number in (105, 2):
        files[f"airplane/train/{number}_template.pcd"] = write_pcd(cloud(number))
    for number, name in enumerate(("101_good", "101_good_cut", "9_good_copy")):
        files[f"airplane/test/{name}.pcd"] = write_pcd(cloud(number))
    for number, name in enumerate(("3_bulge", "3_sink_cut", "12_hybrid", "4_bulges", "5_sinks")):
        points = cloud(10 + number)
        order = np.random.default_rng(number).permutation(len(points))
        files[f"airplane/test/{name}.pcd"] = write_pcd(points)
        truth = write_text(points[order], labels=labels_of()[order])
        files[f"airplane/gt/{name}.txt"] = truth
    return files


def test_listing(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "Real3D-AD-PCD", tree())
    assert detect_layout(root) == LAYOUT
    scans = find_scans(LAYOUT, root)
    assert [(scan.id, scan.split, scan.defect) for scan in scans] == [
        ("airplane/2_template", "train", "normal"),
        ("airplane/105_template", "train", "normal"),
        ("airplane/3_bulge", "test", "bulge"),
        ("airplane/3_sink_cut", "test", "sink"),
        ("airplane/4_bulges", "test", "bulges"),
        ("airplane/5_sinks", "test", "sinks"),
        ("airplane/9_good_copy", "test", "normal"),
        ("airplane/12_hybrid", "test", "hybrid"),
        ("airplane/101_good", "test", "normal"),
        ("airplane/101_good_cut", "test", "normal"),
    ]
    assert {(scan.category, scan.subcategory) for scan in scans} == {("airplane", "")}


def test_loading(tmp_path: Path) -> None:
    scans = {scan.id: scan for scan in find_scans(LAYOUT, write_tree(tmp_path, tree()))}
    bulge = scans["airplane/3_bulge"].load()
    assert bulge.labels is not None
    wanted = {tuple(point) for point in cloud(10)[:7].tolist()}
    assert {tuple(p) for p in bulge.points[bulge.labels == 1].astype("f4").tolist()} == wanted
    np.testing.assert_array_equal(bulge.points, cloud(10))
    good = scans["airplane/101_good_cut"].load()
    np.testing.assert_array_equal(good.points, cloud(1))
    assert good.labels is not None and not good.labels.any()


def test_templates_come_from_the_ply_tree_where_there_is_no_pcd(tmp_path: Path) -> None:
    files = {f"Real3D-AD-PCD/{name}": content for name, content in tree().items()}
    ply = write_ply(cloud(105), cloud(1))
    files["Real3D-AD-PLY/airplane/105_template.ply"] = ply  # there is a PCD
    files["Real3D-AD-PLY/duck/7_template.ply"] = ply
    scans = find_scans(LAYOUT, write_tree(tmp_path, files))
    assert len(scans) == 11
    duck = scans[-1]
    assert (duck.id, duck.split, duck.category) == ("duck/7_template", "train", "duck")
    loaded = duck.load()
    np.testing.assert_array_equal(loaded.points, cloud(105))
    assert loaded.normals is not None


def test_pcd_wins_over_the_same_scan_in_ply(tmp_path: Path) -> None:
    files = tree() | {
        "ply/airplane/test/101_good.ply": write_ply(cloud(0)),
        "a/airplane/train/2_template.ply": write_ply(cloud(0)),
    }
    scans = find_scans(LAYOUT, write_tree(tmp_path, files))
    assert len(scans) == 10 and all(scan.cloud.endswith(".pcd") for scan in scans)


def test_all_problems_are_named_together(tmp_path: Path) -> None:
    files = tree()
    del files["airplane/gt/12_hybrid.txt"]
    files["airplane/test/6_dent.pcd"] = write_pcd(cloud(1))
    files["airplane/test/noname.pcd"] = write_pcd(cloud(1))
    files["airplane/train/6_bulge.pcd"] = write_pcd(cloud(1))
    files["copy/airplane/test/101_good.pcd"] = write_pcd(cloud(1))
    with pytest.raises(InputError) as error:
        find_scans(LAYOUT, write_tree(tmp_path, files))
    for part in (
        "12_hybrid.pcd: its ground truth is missing, expected as 12_hybrid.txt",
        "6_dent.pcd: its name",
        "noname.pcd: its name",
        "train/6_bulge.pcd: its name",
        "copy/airplane/test/101_good.pcd: there is",
    ):
        assert part in str(error.value), str(error.value)


def as_text(files: dict[str, bytes], suffix: str) -> dict[str, bytes]:
    """Write the clouds of a tree as tables."""
    tables = {}
    for name, data in files.items():
        table = write_text(parse_cloud(data, name).points) if name.endswith(".pcd") else data
        tables[name.replace(".pcd", suffix)] = table
    return tables


@pytest.mark.parametrize("suffix", [".asc", ".txt"])
def test_clouds_as_tables_are_the_same_clouds(suffix: str, tmp_path: Path) -> None:
    files = as_text(tree(), suffix) | {"airplane/test/README.txt": b"x"}
    found = find_scans(LAYOUT, write_tree(tmp_path / "a", files))
    wanted = find_scans(LAYOUT, write_tree(tmp_path / "b", tree()))
    assert [(s.id, s.split, s.defect) for s in found] == [(s.id, s.split, s.defect) for s in wanted]
    assert detect_layout(tmp_path / "a") == LAYOUT
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.load().points, other.load().points, rtol=1e-8)
        np.testing.assert_array_equal(one.load().labels, other.load().labels)
    both = find_scans(LAYOUT, write_tree(tmp_path / "b", files))
    assert [scan.cloud for scan in both] == [scan.cloud for scan in wanted]  # PCD before tables


def test_train_cut_takes_the_place_of_train(tmp_path: Path) -> None:
    files = tree()
    files |= {f"airplane/train_cut/1_template_cut{n}.asc": write_text(cloud(n)) for n in (0, 1)}
    root = write_tree(tmp_path, files)
    plain = [scan.id for scan in find_scans(LAYOUT, root) if scan.split == "train"]
    assert plain == ["airplane/2_template", "airplane/105_template"]
    scans = find_scans(LAYOUT, root, train_cut=True)
    cut = [scan.id for scan in scans if scan.split == "train"]
    assert cut == ["airplane/1_template_cut0", "airplane/1_template_cut1"]
    np.testing.assert_array_equal(scans[1].load().points.astype("f4"), cloud(1))
    with pytest.raises(InputError, match="no clouds in folders <class>/train_cut"):
        find_scans(LAYOUT, write_tree(tmp_path / "without", tree()), train_cut=True)
    with pytest.raises(InputError, match="--train-cut is for the layout real3d-ad, not for folder"):
        find_scans("folder", root, train_cut=True)
