# SPDX-License-Identifier: Apache-2.0
"""The user's own folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from intravariance.cloud_files import write_pcd, write_ply, write_text
from intravariance.errors import InputError
from intravariance.exchange.layouts import detect_layout, find_scans
from tests.support.foreign_trees import cloud, labels_of, write_tree

LAYOUT = "folder"
PLAIN = write_pcd(cloud(1))
LABELLED = write_ply(cloud(1), labels=labels_of())


def listed(root: Path) -> list[tuple[str, str, str, str]]:
    return [(s.id, s.category, s.split, s.defect) for s in find_scans(LAYOUT, root)]


def test_one_category(tmp_path: Path) -> None:
    files = {
        "train/a.pcd": PLAIN,
        "test/good/b.txt": write_text(cloud(2)),
        "test/Crak/c.ply": LABELLED,
        "test/d.ply": LABELLED,
        "notes.md": b"x",
    }
    root = write_tree(tmp_path, files)
    assert detect_layout(root) == LAYOUT
    assert listed(root) == [
        ("train/a", "", "train", "normal"),
        ("test/Crak/c", "", "test", "crack"),
        ("test/d", "", "test", "anomaly"),
        ("test/good/b", "", "test", "normal"),
    ]


def test_categories(tmp_path: Path) -> None:
    files = {
        "Night-Stand/train/a.pcd": PLAIN,
        "Night-Stand/test/bulge/b.ply": LABELLED,
        "cup/test/ok/c.xyz": write_text(cloud(2)),
    }
    assert listed(write_tree(tmp_path, files)) == [
        ("Night-Stand/train/a", "Night-Stand", "train", "normal"),
        ("Night-Stand/test/bulge/b", "Night-Stand", "test", "bulge"),
        ("cup/test/ok/c", "cup", "test", "normal"),
    ]


def test_it_is_said_which_scans_no_folder_calls_defective(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("train/a.ply", "test/good/b.ply", "test/anomaly/c.ply")
    root = write_tree(tmp_path / "told", dict.fromkeys(names, PLAIN))
    assert len(find_scans(LAYOUT, root)) == 3
    assert "no folder" not in capsys.readouterr().err
    for place in ("", "test/", "part/test/"):
        root = write_tree(tmp_path / f"loose{len(place)}", {f"{place}scan.ply": PLAIN})
        assert find_scans(LAYOUT, root)[0].defect == "anomaly"
        said = capsys.readouterr().err
        assert "1 scans lie in no folder that says what they are" in said
        assert f"({place}scan.ply)" in said and "--unlabelled" in said
        assert find_scans(LAYOUT, root, unlabelled=True)[0].defect == "unlabelled"
        assert "no folder" not in capsys.readouterr().err


def test_a_plain_folder_of_labelled_clouds(tmp_path: Path) -> None:
    files = {"scan9.ply": LABELLED, "scan10.ply": LABELLED, "dent/b.ply": LABELLED}
    root = write_tree(tmp_path, files)
    assert sorted(listed(root)) == [
        ("dent/b", "", "test", "dent"),
        ("scan10", "", "test", "anomaly"),
        ("scan9", "", "test", "anomaly"),
    ]
    np.testing.assert_array_equal(find_scans(LAYOUT, root)[0].load().labels, labels_of())


def test_labels_beside_the_cloud_count_more_than_those_in_it(tmp_path: Path) -> None:
    rows = write_text(cloud(1)[::-1], labels=1 - labels_of()[::-1])
    text = "".join(f"{label}\n" for label in labels_of()).encode()
    files = {"a.ply": LABELLED, "a_labels.txt": rows, "b.pcd": PLAIN, "b_labels.txt": text}
    a, b = find_scans(LAYOUT, write_tree(tmp_path, files))
    np.testing.assert_array_equal(a.load().labels, 1 - labels_of())
    np.testing.assert_array_equal(b.load().labels, labels_of())
    assert [path.name for path in b.paths] == ["b.pcd", "b_labels.txt"]


def test_what_contradicts_itself_is_refused_when_loaded(tmp_path: Path) -> None:
    files = {
        "test/good/b.ply": LABELLED,
        "test/dent/c.pcd": PLAIN,
        "test/dent/c_labels.txt": b"0\n1\n",
    }
    scans = {s.id: s for s in find_scans(LAYOUT, write_tree(tmp_path, files))}
    with pytest.raises(InputError, match=r"b\.ply: it is a normal scan .* 7 of its points"):
        scans["test/good/b"].load()
    with pytest.raises(InputError, match=r"c_labels\.txt: it has 2 labels for 60 points"):
        scans["test/dent/c"].load()


@pytest.mark.parametrize("kind", ["txt", "npy"])
def test_of_two_files_for_a_cloud_one_stays(tmp_path: Path, kind: str) -> None:
    """The one that cannot be labels, and only the other is listed."""
    files = {"dent/0.ply": LABELLED, f"dent/0.{kind}": b"0\n", "dent/1.ply": LABELLED}
    root = write_tree(tmp_path, files)
    skipped: list[str] = []
    scans = find_scans(LAYOUT, root, skipped)
    assert [scan.cloud for scan in scans] == ["dent/0.ply", "dent/1.ply"]
    (problem,) = skipped
    assert problem.startswith(f"{root / 'dent/0'}.{kind}: there is {root / 'dent/0.ply'} as well")
    assert "0_labels.txt" in problem


def test_text_that_is_no_cloud_is_left_out(tmp_path: Path) -> None:
    files = {
        "README.txt": b"All about it.",
        "read_me.txt": b"x",
        "LICENSE-CC-BY.txt": b"x",
        "train/a.pcd": PLAIN,
        "train/notes.csv": b"who,when\n",
        "train/note1.txt": write_text(cloud(2)),
        "test/README_2/b.ply": LABELLED,
    }
    root = write_tree(tmp_path, files)
    assert [scan.cloud for scan in find_scans(LAYOUT, root)] == [
        "train/a.pcd",
        "train/note1.txt",
        "test/README_2/b.ply",
    ]
    (root / "measured.txt").write_bytes(b"on Monday\n")
    with pytest.raises(InputError, match=r"measured\.txt: .* counts as a cloud, but for README"):
        find_scans(LAYOUT, root)


def test_other_places_are_named_together(tmp_path: Path) -> None:
    files = {
        "train/a.pcd": PLAIN,
        "train/a.ply": LABELLED,
        "b.ply": LABELLED,
        "x/y/test/bulge/c.ply": LABELLED,
    }
    with pytest.raises(InputError) as error:
        find_scans(LAYOUT, write_tree(tmp_path, files))
    assert "a.ply: there is" in str(error.value)
    assert "b.ply: expected as [<category>/]train/<file>" in str(error.value)
    assert "c.ply: expected as" in str(error.value)
    with pytest.raises(InputError, match="no clouds"):
        find_scans(LAYOUT, write_tree(tmp_path / "empty", {"notes.md": b"x"}))
