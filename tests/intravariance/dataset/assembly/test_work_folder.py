# SPDX-License-Identifier: Apache-2.0
"""The folder beside a file that is being made: whose it is, and what is removed of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from intravariance.dataset.assembly.work_folder import (
    claim,
    clear_samples,
    discard,
    kept,
    locked_folder,
)
from intravariance.errors import InputError


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def _notes(partial: Path) -> None:
    partial.mkdir()
    (partial / "precious.txt").write_text("precious")


def _samples(partial: Path) -> None:
    (partial / "samples").mkdir(parents=True)
    (partial / "samples/mine.h5").write_text("precious")


def _file(partial: Path) -> None:
    partial.write_text("precious")


def _link(partial: Path) -> None:
    _notes(partial.with_name("elsewhere"))
    (partial.with_name("elsewhere") / "lock").touch()
    partial.symlink_to(partial.with_name("elsewhere"))


@pytest.mark.parametrize("make", [_notes, _samples, _file, _link])
@pytest.mark.parametrize("force", [False, True])
def test_what_is_not_ours_is_not_touched(
    make: Callable[[Path], None], force: bool, tmp_path: Path
) -> None:
    make(tmp_path / "f.h5.partial")
    before = names_in(tmp_path)
    with (
        pytest.raises(InputError, match=r"f\.h5\.partial is in the way, and is not ours"),
        locked_folder(tmp_path / "f.h5") as partial,
    ):
        claim(partial, {}, tmp_path / "f.h5", force)
    assert names_in(tmp_path) == before


@pytest.mark.parametrize("found", [[], ["samples"], ["samples", "lock"]])
def test_what_a_killed_process_left_is_ours(found: list[str], tmp_path: Path) -> None:
    (tmp_path / "f.h5.partial").mkdir()
    for name in found:
        path = tmp_path / "f.h5.partial" / name
        path.touch() if name == "lock" else path.mkdir()
    with locked_folder(tmp_path / "f.h5") as partial:
        claim(partial, {}, tmp_path / "f.h5", False)
        assert not kept(partial)
        # a sample that was being written is no finished one
        (partial / "samples/a.h5.17.partial").touch()
    assert not list(tmp_path.iterdir())


def test_what_somebody_adds_stays(tmp_path: Path) -> None:
    out = tmp_path / "f.h5"
    with locked_folder(out) as partial:
        claim(partial, {"a": 1}, out, False, "import")
        for name in ("samples/a.h5", "samples/notes.txt", "assembled.h5", "notes.txt"):
            (partial / name).write_text("x")
        assert kept(partial).endswith(str(partial))
    with locked_folder(out) as partial:
        with pytest.raises(InputError, match=r"unfinished import of f\.h5 with other settings"):
            claim(partial, {"a": 2}, out, False)
        claim(partial, {"a": 1}, out, False, "import")
        clear_samples(partial)
        assert names_in(partial / "samples") == ["notes.txt"]
        discard(partial)
    assert names_in(partial) == ["notes.txt", "samples", "samples/notes.txt"]


def test_a_damaged_record_is_a_build_of_other_settings(tmp_path: Path) -> None:
    for content in ("", "[]", "{}", "[" * 100_000):
        with locked_folder(tmp_path / "f.h5") as partial:
            (partial / "samples/a.h5").touch()
            (partial / "build.json").write_text(content)
            with pytest.raises(InputError, match="unfinished build of"):
                claim(partial, {}, tmp_path / "f.h5", False)
            claim(partial, {}, tmp_path / "f.h5", True)


def test_the_folder_of_a_link_is_beside_what_the_link_means(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "f.h5").symlink_to(tmp_path / "disk/f.h5")
    with locked_folder(tmp_path / "f.h5") as partial:
        assert partial == tmp_path / "disk/f.h5.partial"
