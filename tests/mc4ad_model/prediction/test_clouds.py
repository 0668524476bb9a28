# SPDX-License-Identifier: Apache-2.0
"""Which clouds a user's words mean."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from intravariance.cloud_files import ReadingChoices, write_ply
from intravariance.errors import InputError
from mc4ad_model.prediction.clouds import checked, find_clouds
from tests.support.foreign_trees import write_tree
from tests.support.samples import sphere_points

POINTS = sphere_points(40, np.random.default_rng(0))
SQUARE = b"element face 1\nproperty list uchar int vertex_indices\nend_header\n"


def test_one_is_read_at_a_time_and_when_its_turn_comes(tmp_path: Path) -> None:
    first = tmp_path / "first.ply"
    first.write_bytes(b"")
    found = find_clouds([str(first), POINTS], "ball")
    first.write_bytes(write_ply(POINTS))  # after it was named
    points, notes = found.clouds[0].load()
    np.testing.assert_allclose(points, POINTS, atol=1e-7)
    assert notes == () and found.clouds[1].load()[0] is POINTS


def test_folders_are_walked_and_what_is_no_cloud_is_named(tmp_path: Path) -> None:
    content = write_ply(POINTS)
    names = ("b/x.ply", "a/x.ply", "x.PLY")
    others = ("a/x_labels.txt", "LICENSE", "a/photo.jpg", "part.stl", "more.h5")
    write_tree(tmp_path / "scans", {name: content for name in (*names, *others)})
    (tmp_path / "far.ply").write_bytes(content)
    os.symlink(tmp_path / "far.ply", tmp_path / "scans" / "link.ply")
    found = find_clouds([tmp_path / "scans"], "ball")
    assert [cloud.name for cloud in found.clouds] == [
        str(tmp_path / "scans" / name) for name in sorted(names)
    ]
    left_out = [name.removeprefix(f"{tmp_path}/scans/") for name in found.left_out]
    assert sorted(left_out[:-1]) == sorted(others)
    assert left_out[-1].startswith("link.ply -> ") and "not followed" in left_out[-1]


def test_names_that_are_no_text_can_be_written(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    for name in (b"\xff.ply", b"\xfe.ply", b"a\nb.ply", b"\xfe.jpg"):
        try:
            with open(os.path.join(folder, name), "wb") as file:
                file.write(write_ply(POINTS))
        except OSError:
            pytest.skip("this file system takes text alone")
    found = find_clouds([tmp_path], "ball")
    names = [cloud.name.removeprefix(f"{tmp_path}/") for cloud in found.clouds]
    assert sorted(names) == ["<fe>.ply", "<ff>.ply", "a<0a>b.ply"]  # one line each, none lost
    assert all(len(cloud.load()[0]) == 40 for cloud in found.clouds)
    assert found.left_out == [f"{tmp_path}/<fe>.jpg"]


def test_a_file_that_is_named_twice_is_taken_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_tree(tmp_path, {"s/a.ply": b"", "s/b.ply": b""}))
    found = find_clouds(["s/b.ply", "s", "./s/../s/a.ply"], "ball")
    assert [cloud.name for cloud in found.clouds] == ["s/b.ply", "s/a.ply"]


def test_faces_of_a_meshed_scan_are_left_out_with_a_word(tmp_path: Path) -> None:
    head, _, body = write_ply(POINTS).partition(b"end_header\n")
    path = tmp_path / "meshed.ply"
    path.write_bytes(head + SQUARE + body + b"\x03" + np.arange(3, dtype="<i4").tobytes())
    points, notes = find_clouds([path], "ball").clouds[0].load()
    assert len(points) == 40 and "faces are left out" in notes[0]


def test_places_without_a_return_are_left_out_where_they_are_asked_to_be(tmp_path: Path) -> None:
    path = tmp_path / "organised.ply"
    path.write_bytes(write_ply(np.concatenate([POINTS, [[0, 0, 0], [np.nan] * 3]])))
    (plain,) = find_clouds([path], "ball").clouds
    with pytest.raises(InputError, match="`iv predict` leave out such points with --drop-no"):
        plain.load()
    (dropping,) = find_clouds([tmp_path], "ball", ReadingChoices(drop_no_return=True)).clouds
    points, notes = dropping.load()
    np.testing.assert_array_equal(points, POINTS.astype(np.float32))
    assert notes == ("2 of its rows are no points and are left out",)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.zeros((20, 3)), "coincide"),
        (POINTS[:15], "15 points; expected 16"),
        (np.where(np.arange(120).reshape(40, 3) == 7, np.inf, POINTS), "NaN or infinite"),
        (POINTS.T, r"\(3, 40\)"),
        (np.ones((40, 3), dtype=int), "int64"),
    ],
)
def test_points_that_nothing_can_be_said_of_are_refused(points: np.ndarray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        checked(points)
    assert checked(POINTS) is POINTS


def test_nothing_is_an_error() -> None:
    with pytest.raises(InputError, match="nothing to score"):
        find_clouds([], "ball")
