# SPDX-License-Identifier: Apache-2.0
"""Files that become no sample: counted by kind, and an error where something would be empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from intravariance.cloud_files import write_pcd, write_ply, write_text
from intravariance.errors import InputError
from intravariance.exchange.layouts import find_scans
from intravariance.exchange.layouts.unread import is_prose, left_out
from intravariance.files.trees import open_tree
from tests.support.foreign_trees import cloud, labels_of, real3d_tree, shapenet_class, write_tree

LABELLED = write_ply(cloud(1), labels=labels_of())
SCANS = {
    "train/a.xyz": write_text(cloud(1)),
    "test/good/b.xyz": write_text(cloud(2)),
    "test/dent/c.ply": LABELLED,
}


def test_everything_without_a_sample_is_counted_by_kind(tmp_path: Path) -> None:
    others = {
        "README": b"", "notes.txt": b"", "test/dent/c.png": b"", "test/dent/d.BIN": b"",
        "test/dent/e.bin": b"", "test/dent/a.stl": b"",
    }  # fmt: skip
    root = write_tree(tmp_path / "tree", SCANS | {"test/dent/c_labels.txt": b""} | others)
    scans = find_scans("folder", root)
    found = left_out(scans[0].tree, scans)
    assert found.files == {
        ".bin": ("test/dent/d.BIN", "test/dent/e.bin"),
        ".png": ("test/dent/c.png",),
        ".stl": ("test/dent/a.stl",),
        ".txt": ("notes.txt",),
        "without an ending": ("README",),
    }
    assert found.count == len(others) and not found.links
    (line,) = found.lines("tree")
    assert line.startswith("not read: 2 .bin (test/dent/d.BIN, test/dent/e.bin); 1 .png (")
    assert found.to_dict()["kinds"][".bin"]["count"] == 2


def test_what_is_recorded_is_bounded(tmp_path: Path) -> None:
    others = {f"{'x' * 100}/{'y' * 120}.k{kind}": b"" for kind in range(100)}
    others |= {f"n{number}.bin": b"" for number in range(300)}
    root = write_tree(tmp_path / "tree", SCANS | others)
    found = left_out(open_tree(root), find_scans("folder", root))
    assert found.count == 400
    assert len(str(found.to_dict())) < 20_000


@pytest.mark.parametrize(
    ("layout", "files", "place"),
    [
        ("folder", SCANS | {"test/rust/d.bin": b"x", "test/rust/e.las2": b"x"}, "the defect rust"),
        ("folder", SCANS | {"test/rust/xyz/d.bin": b"x"}, "the defect rust"),
        (
            "folder",
            {f"cup/{name}": data for name, data in SCANS.items()} | {"jug/train/a.drc": b"x"},
            "the category jug",
        ),
        (
            "folder",
            {name: SCANS[name] for name in ("train/a.xyz", "test/dent/c.ply")}
            | {"test/good/b.bin": b"x"},
            "normal test clouds",
        ),
        (
            "folder",
            {"train/a.xyz": SCANS["train/a.xyz"], "test/dent/c.bin": b"x"},
            "the split test",
        ),
        (
            "real3d-ad",
            real3d_tree(40) | {"duck/test/10_hybrid.bin": b"x"},
            "the defect hybrid of duck",
        ),
        ("real3d-ad", real3d_tree(40) | {"fish/train/1_template.bin": b"x"}, "the category fish"),
        (
            "anomaly-shapenet",
            shapenet_class("cap0", {"bulge": 1}) | {"dataset/pcd/cap0/test/cap0_hole0.bin": b"x"},
            "the defect hole of cap",
        ),
    ],
)  # fmt: skip
def test_what_becomes_empty_is_an_error(
    layout: str, files: dict[str, bytes], place: str, tmp_path: Path
) -> None:
    root = write_tree(tmp_path / "tree", files)
    with pytest.raises(InputError, match=rf"{place} would be empty, as none of its files is read"):
        find_scans(layout, root)
    skipped: list[str] = []
    assert find_scans(layout, root, skipped)
    (problem,) = skipped
    unread = next(name for name in files if name.rpartition(".")[2] in ("bin", "drc"))
    assert problem.startswith(f"{root / unread}: {place}") and "or move them elsewhere" in problem


@pytest.mark.parametrize(
    "files",
    [
        {"test/dent/d.bin": b"x"},  # dent has another
        {"test/rust/photo.jpg": b"x", "test/rust/README": b"x", "test/rust/scan.json": b"x"},
        {"meshes/rust/a.stl": b"x"},  # no place of a cloud
    ],
)
def test_companions_and_other_places_make_nothing_empty(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    root = write_tree(tmp_path / "tree", SCANS | files)
    assert len(find_scans("folder", root)) == len(SCANS)


@pytest.mark.parametrize(
    ("link", "target", "place"),
    [
        ("test/rust", "rust", "the defect rust"),
        ("test/rust/r.ply", "rust/r.ply", "the defect rust"),
        ("test", "test", "the split test"),
        ("jug", "jug", "the category jug"),
    ],
)
def test_links_out_are_named_followed_on_demand_and_an_error_where_something_is_empty(
    link: str, target: str, place: str, tmp_path: Path
) -> None:
    write_tree(
        tmp_path / "outside",
        {"rust/r.ply": LABELLED, "test/good/b.ply": write_ply(cloud(2)),
         "jug/train/j.pcd": write_pcd(cloud(3))},
    )  # fmt: skip
    files = dict(SCANS) if link != "test" else {"train/a.xyz": SCANS["train/a.xyz"]}
    if link == "jug":
        files = {f"cup/{name}": data for name, data in files.items()}
    root = write_tree(tmp_path / "tree", files)
    (root / link).parent.mkdir(exist_ok=True, parents=True)
    (root / link).symlink_to(tmp_path / "outside" / target)
    (root / "loop").symlink_to(root)
    message = rf"{place} would be empty, .*{link} -> .*Links are followed with --follow-links"
    with pytest.raises(InputError, match=message):
        find_scans("folder", root)
    (root / "loop").unlink()
    assert len(find_scans("folder", root, follow_links=True)) == len(files) + 1


def test_loops_of_links_end(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", SCANS)
    (root / "train" / "again").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    tree = open_tree(root, follow_links=True)
    assert tree.files("") == sorted([*SCANS, "self"])


def test_prose_is_told_by_its_name() -> None:
    for name in ("README", "a/ReadMe.txt", "LICENSE-data.csv", "notes.txt", "CITATION", "todo"):
        assert is_prose(name)
    for name in ("readme.xyz", "scan.txt", "note_1.txt", "notes.ply", "a/labels.csv"):
        assert not is_prose(name)
