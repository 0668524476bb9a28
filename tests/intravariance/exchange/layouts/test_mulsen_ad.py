# SPDX-License-Identifier: Apache-2.0
"""MulSen-AD's tree, made small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from intravariance.errors import InputError
from intravariance.exchange.layouts import detect_layout, find_scans
from intravariance.exchange.layouts.unread import left_out
from tests.support.foreign_trees import write_tree

LAYOUT = "mulsen-ad"
SIDE = 6
CSV = "capsule/RGB/GT/hole/data.csv"


def surface(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make the vertices (V, 3) float32 of a bumpy sheet, in mm, and its triangles (F, 3)."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    vertices = np.column_stack([x.ravel(), y.ravel(), rng.normal(size=SIDE**2)]) * 3.1
    corners = np.arange(SIDE**2).reshape(SIDE, SIDE)
    squares = [corners[:-1, :-1], corners[:-1, 1:], corners[1:, 1:], corners[1:, :-1]]
    a, b, c, d = (square.ravel() for square in squares)
    faces = np.concatenate([np.column_stack([a, b, c]), np.column_stack([a, c, d])])
    return vertices.astype(np.float32), faces


def stl(seed: int) -> bytes:
    vertices, faces = surface(seed)
    kind = [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")]
    rows = np.zeros(len(faces), dtype=kind)
    rows["corners"] = vertices[faces]
    return b"Scanner export".ljust(80) + np.uint32(len(faces)).tobytes() + rows.tobytes()


def truth(seed: int, chosen: list[int]) -> bytes:
    rows = surface(seed)[0][chosen]
    return "".join(f"{x:.6f},{y:.6f},{z:.6f},0.5,0.5,0.5\n" for x, y, z in rows).encode()


def tree() -> dict[str, bytes]:
    """One class; of three objects with a hole the second shows none in its cloud."""
    cloud = "capsule/Pointcloud"
    return {
        f"{cloud}/train/0.stl": stl(0),
        f"{cloud}/train/10.stl": stl(1),
        f"{cloud}/test/good/0.stl": stl(2),
        f"{cloud}/test/hole/0.stl": stl(3),
        f"{cloud}/test/hole/1.stl": stl(4),
        f"{cloud}/test/hole/10.stl": stl(5),
        f"{cloud}/GT/hole/0.txt": truth(3, [7, 8, 9]),
        f"{cloud}/GT/hole/10.txt": truth(5, [0]),
        CSV: b"object,RGB,IR,PC\n0,1,0,1\n1,1,1,0\n10,0,0,1\n",
        "capsule/RGB/train/0.png": b"x",
        "capsule/RGB/GT/good/data.csv": b"object,RGB,IR,PC\n0,0,0,0\n",
    }


def test_listing(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "MulSen_AD", tree())
    assert detect_layout(root) == LAYOUT
    scans = find_scans(LAYOUT, root)
    assert [(scan.id, scan.split, scan.defect) for scan in scans] == [
        ("capsule/train/0", "train", "normal"),
        ("capsule/train/10", "train", "normal"),
        ("capsule/good/0", "test", "normal"),
        ("capsule/hole/0", "test", "hole"),
        ("capsule/hole/1", "test", "normal"),
        ("capsule/hole/10", "test", "hole"),
    ]
    assert {scan.category for scan in scans} == {"capsule"}
    unread = left_out(scans[0].tree, scans).files
    assert unread == {
        ".csv": ("capsule/RGB/GT/good/data.csv",),
        ".png": ("capsule/RGB/train/0.png",),
    }


def test_points_are_the_distinct_vertices_and_ground_truth_marks_the_nearest(
    tmp_path: Path,
) -> None:
    scans = {scan.id: scan for scan in find_scans(LAYOUT, write_tree(tmp_path, tree()))}
    cloud = scans["capsule/hole/0"].load()
    vertices, faces = surface(3)
    corners = faces.ravel()
    order = corners[np.sort(np.unique(corners, return_index=True)[1])]  # as they come in the file
    np.testing.assert_array_equal(cloud.points, vertices[order].astype(np.float64))
    np.testing.assert_array_equal(cloud.labels, np.isin(order, [7, 8, 9]))
    assert not scans["capsule/hole/1"].load().labels.any()
    assert scans["capsule/hole/10"].load().labels.sum() == 1


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("capsule/Pointcloud/GT/hole/0.txt", None, "its ground truth is missing, expected as"),
        ("capsule/Pointcloud/GT/hole/7.txt", b"1,2,3\n", "there is no cloud 7.stl in"),
        (CSV, b"object,RGB,IR,PC\n0,1,0,2\n", "expected are lines object,RGB,IR,PC"),
        (CSV, b"object,RGB,IR,PC\n0,1,0\n", "expected are lines object,RGB,IR,PC"),
        (CSV, b"object,RGB,IR,PC\n5,1,0,1\n", "it has 1 objects, and .*hole has 3 scans"),
        ("capsule/Pointcloud/test/cut/0.pcd", b"x", "the defect cut of capsule would be empty"),
    ],
)
def test_what_does_not_fit_is_named(
    name: str, content: bytes | None, reason: str, tmp_path: Path
) -> None:
    files = tree() | {name: content or b""}
    if content is None:
        del files[name]
    with pytest.raises(InputError, match=reason):
        find_scans(LAYOUT, write_tree(tmp_path, files))


def test_without_the_list_all_in_a_defect_are_anomalous_and_its_order_may_count(
    tmp_path: Path,
) -> None:
    files = tree()
    files[CSV] = b"object,RGB,IR,PC\n1,1,0,1\n2,1,1,0\n3,0,0,1\n"  # numbers of other things
    scans = find_scans(LAYOUT, write_tree(tmp_path / "a", files))
    assert [scan.defect for scan in scans[3:]] == ["hole", "normal", "hole"]
    del files[CSV]
    with pytest.raises(InputError, match=r"hole/1.stl: its ground truth is missing"):
        find_scans(LAYOUT, write_tree(tmp_path / "b", files))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("test/hole/0.stl", stl(3)[:-7], "hole/0.stl: it is cut off: declares 50 triangles"),
        ("GT/hole/0.txt", truth(3, [7, 8])[:-20], r"hole/0.txt: line 2: expected are 6 numbers"),
        ("GT/hole/0.txt", b"900,900,900,0,0,0\n", "1 of its 1 rows are no vertices of the scan"),
        ("GT/hole/0.txt", b"1,2\n", "it has 2 columns, expected x,y,z"),
    ],
)
def test_damaged_files(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    files = tree() | {f"capsule/Pointcloud/{name}": content}
    scan = find_scans(LAYOUT, write_tree(tmp_path, files))[3]
    with pytest.raises(InputError, match=reason):
        scan.load()
