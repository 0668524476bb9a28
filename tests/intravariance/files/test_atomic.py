# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from intravariance.errors import InputError
from intravariance.files.atomic import move_into_place, replacing, write_file, write_whole


def fail(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_content_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (steps.append("fsync"), sync(number)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("replace"), replace(a, b)))
    write_whole(tmp_path / "a", memoryview(b"content"))
    assert (tmp_path / "a").read_bytes() == b"content"
    assert steps == ["fsync", "replace"]
    write_whole(tmp_path / "a", b"made again if it is lost", flush=False)
    assert (tmp_path / "a").read_bytes() == b"made again if it is lost"
    assert steps == ["fsync", "replace", "replace"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_file_before_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("before")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space"):
        write_file(tmp_path / "a", b"after", force=True)
    assert (tmp_path / "a").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_error_while_it_is_written_leaves_the_file_before(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a") as temporary:
        temporary.write_text("half of")
        assert temporary.parent == tmp_path and temporary.suffix == ".partial"
        raise KeyboardInterrupt
    assert (tmp_path / "a").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_fails_its_check_gets_no_name(tmp_path: Path) -> None:
    written, path = tmp_path / "written", tmp_path / "a"
    written.write_text("wrong")
    path.write_text("before")

    def check(found: Path) -> None:
        assert found == written
        raise ValueError(found.read_text())

    with pytest.raises(ValueError, match="wrong"):
        move_into_place(written, path, check)
    assert (written.read_text(), path.read_text()) == ("wrong", "before")
    move_into_place(written, path)
    assert path.read_text() == "wrong" and not written.exists()


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a").read_text() == "first"


def _existing(folder: Path) -> Path:
    (folder / "a").write_text("before")
    return folder / "a"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (_existing, "replace it with --force"),
        (lambda folder: folder, "expected a file name in an existing folder"),
        (lambda folder: folder / "no" / "a", "expected a file name in an existing folder"),
    ],
)
def test_targets_that_are_refused(
    target: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    out = target(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=message):
        write_file(out, b"after")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_target_is_written(exists: bool, tmp_path: Path) -> None:
    disk, link = tmp_path / "disk", tmp_path / "link"
    disk.mkdir()
    link.symlink_to(disk / "a")
    if exists:
        (disk / "a").write_text("before")
        with pytest.raises(InputError, match="exists"):
            write_file(link, b"after")
    write_file(link, b"after", force=exists)
    assert link.is_symlink() and (disk / "a").read_text() == "after"
    assert [path.name for path in disk.iterdir()] == ["a"]


def test_a_link_into_a_folder_that_is_gone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "a")
    with pytest.raises(InputError, match="expected a file name in an existing folder"):
        write_file(tmp_path / "link", b"after")
