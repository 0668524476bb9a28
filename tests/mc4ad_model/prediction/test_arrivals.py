# SPDX-License-Identifier: Apache-2.0
"""When a file that arrives is complete."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mc4ad_model.prediction.arrivals import SETTLED, Arrivals
from tests.support.foreign_trees import write_tree


def names(found: list[str], folder: Path) -> list[str]:
    return [Path(name).relative_to(folder).as_posix() for name in found]


def test_a_file_is_given_out_once_when_it_has_stayed_as_it_is(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "in", {"a.ply": b"1", "b/c.xyz": b"1", "photo.jpg": b"1"})
    os.utime(folder / "a.ply", ns=(5, 5))
    arrivals = Arrivals([folder])
    assert arrivals.ready(10.0) == []
    assert arrivals.ready(10.0 + SETTLED / 2) == []
    (folder / "b/c.xyz").write_bytes(b"12")  # still being written
    assert names(arrivals.ready(10.0 + SETTLED), folder) == ["a.ply"]
    assert names(arrivals.left_out, folder) == ["photo.jpg"]
    assert arrivals.ready(10.5 + SETTLED) == []
    assert names(arrivals.ready(10.0 + 2 * SETTLED), folder) == ["b/c.xyz"]
    assert arrivals.ready(100.0) == []
    (folder / "a.ply").write_bytes(b"another")
    assert arrivals.ready(101.0) == []
    assert names(arrivals.ready(101.0 + SETTLED), folder) == ["a.ply"]


def test_the_oldest_come_first(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "in", {f"{name}.ply": b"" for name in "abc"})
    for age, name in enumerate("bca"):
        os.utime(folder / f"{name}.ply", ns=(age, age))
    arrivals = Arrivals([folder])
    arrivals.ready(0.0)
    assert names(arrivals.ready(SETTLED), folder) == ["b.ply", "c.ply", "a.ply"]


def test_what_was_scored_before_is_given_out_only_if_it_changed_since(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "in", {"old.ply": b"", "changed.ply": b"", "new.ply": b""})
    for name, age in (("old", 100), ("changed", 300), ("new", 100)):
        os.utime(folder / f"{name}.ply", ns=(age, age))
    known = frozenset(str(folder / name) for name in ("old.ply", "changed.ply"))
    arrivals = Arrivals([folder], known, since=200)
    arrivals.ready(0.0)
    assert names(arrivals.ready(SETTLED), folder) == ["new.ply", "changed.ply"]
    (folder / "old.ply").write_bytes(b"x")
    arrivals.ready(50.0)
    assert names(arrivals.ready(50.0 + SETTLED), folder) == ["old.ply"]


def test_a_folder_may_be_away_for_a_while(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "share"
    arrivals = Arrivals([folder, tmp_path / "other"])
    write_tree(tmp_path / "other", {"a.ply": b""})
    for now in (0.0, 1.0, SETTLED):
        found = arrivals.ready(now)
    assert names(found, tmp_path) == ["other/a.ply"]
    assert capsys.readouterr().err.count("not there") == 1
    write_tree(folder, {"b.ply": b""})
    arrivals.ready(10.0)
    assert names(arrivals.ready(10.0 + SETTLED), tmp_path) == ["share/b.ply"]
