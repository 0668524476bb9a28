# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from intravariance.errors import InputError
from intravariance.files.checksums import read_checksums
from intravariance.files.folders import is_temporary, new_folder, write_member
from intravariance.verification.folder import folder_problems

RECORD = "record.json"


def make(out: Path, text: str = "first", force: bool = False) -> None:
    with new_folder(out, RECORD, force) as folder:
        write_member(folder, RECORD, b"{}")
        write_member(folder, "pages/page.html", text.encode())


def page(out: Path) -> str:
    return (out / "pages" / "page.html").read_text()


def test_a_folder_as_written_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out)
    assert folder_problems(out) == []
    with pytest.raises(InputError, match="replace it with --force"):
        make(out, "second")
    (out / RECORD).touch()  # a new time is no change
    make(out, "second", force=True)
    assert page(out) == "second" and [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    "name", ["notes.txt", "pages/notes.txt", "pages/page.html", ".hidden", "mine/.git/config"]
)
def test_files_of_the_user_are_named_and_kept(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out)
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text("my work")
    with pytest.raises(InputError, match=rf"added or changed: {name}\."):
        make(out, "second", force=True)
    assert (out / name).read_text() == "my work"
    (out / name).unlink()
    make(out, "second", force=True)
    assert page(out) == "second"


def test_a_file_that_comes_while_it_is_written_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out)
    with (
        pytest.raises(InputError, match=r"notes\.txt"),
        new_folder(out, RECORD, force=True) as folder,
    ):
        write_member(folder, RECORD, b"{}")
        (out / "notes.txt").write_text("my work")
    assert (out / "notes.txt").exists() and page(out) == "first"


def test_links_in_the_folder_and_folders_without_a_list_are_kept(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    make(out)
    (out / "link").symlink_to(elsewhere)
    with pytest.raises(InputError, match="changed: link"):
        make(out, force=True)
    (out / "link").unlink()
    (out / "SHA256SUMS").unlink()
    with pytest.raises(InputError, match="nothing tells which files are yours"):
        make(out, force=True)


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_target_is_written(exists: bool, tmp_path: Path) -> None:
    disk, link = tmp_path / "disk", tmp_path / "link"
    disk.mkdir()
    link.symlink_to(disk / "out")
    if exists:
        make(disk / "out")
    make(link, "second", force=exists)
    assert link.is_symlink() and page(disk / "out") == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]
    assert [path.name for path in disk.iterdir()] == ["out"]


def test_other_means_tell_the_files_of_a_folder_without_a_list(tmp_path: Path) -> None:
    def replace_it() -> None:
        with new_folder(out, RECORD, True, lambda folder: digests) as folder:
            write_member(folder, RECORD, b"{}")

    out = tmp_path / "out"
    make(out)
    digests = read_checksums(out)
    (out / "SHA256SUMS").unlink()
    (out / "notes.txt").write_text("my work")
    with pytest.raises(InputError, match=r"added or changed: notes\.txt\."):
        replace_it()
    (out / "notes.txt").unlink()
    replace_it()
    assert sorted(path.name for path in out.iterdir()) == ["SHA256SUMS", RECORD]


@pytest.mark.parametrize(
    ("name", "temporary"),
    [("a.partial", True), ("a.12.old", True), ("a", False), ("a.old", False), (".partial", False)],
)
def test_folders_being_written_are_told_by_their_name(
    name: str, temporary: bool, tmp_path: Path
) -> None:
    assert is_temporary(tmp_path / name) == temporary


def test_a_member_is_not_written_twice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists"), new_folder(tmp_path / "a", RECORD, False) as at:
        write_member(at, RECORD, b"{}")
        write_member(at, RECORD, b"{}")
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
from intravariance.files.folders import new_folder, write_member
rename = os.rename
def killed(a, b):
    if {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(a, b)
os.rename = killed
with new_folder(Path(sys.argv[1]), "record.json", True) as folder:
    write_member(folder, "record.json", b"{{}}")
    write_member(folder, "pages/page.html", b"second")
"""


def test_a_folder_moved_away_by_a_killed_process_is_put_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    make(out)
    script = KILLED.format(before="str(a).endswith('.partial')")  # between the two renames
    done = subprocess.run([sys.executable, "-c", script, str(out)], check=False)
    assert done.returncode < 0 and not out.exists()
    assert len(list(tmp_path.glob("out.*.old"))) == 1
    with pytest.raises(InputError, match="replace it with --force"):
        make(out, "third")
    assert page(out) == "first" and not list(tmp_path.glob("*.old"))
    assert "put back" in capsys.readouterr().err


def test_what_a_killed_process_did_not_remove_is_removed_unless_it_is_somebodys(
    tmp_path: Path,
) -> None:
    out, old, mine = tmp_path / "out", tmp_path / "out.12.old", tmp_path / "out.2024.old"
    for folder in (out, old, mine):
        make(folder)
    (mine / "thesis.txt").write_text("my work")
    make(out, "second", force=True)
    assert page(out) == "second" and not old.exists()
    assert (mine / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("left", "ours"),
    [
        ([], True),
        ([f"{RECORD}.17.0a1b2c3d.partial"], True),  # killed while the record was written
        ([RECORD, "page.html"], True),
        (["precious.txt"], False),
        ([f"{RECORD}.17.0a1b2c3d.partial", "precious.txt"], False),
    ],
)
def test_what_a_killed_process_left_is_told_from_what_is_somebodys(
    left: list[str], ours: bool, tmp_path: Path
) -> None:
    (tmp_path / "out.partial").mkdir()
    for name in left:
        (tmp_path / "out.partial" / name).write_text("left")
    if ours:
        make(tmp_path / "out")
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
    else:
        with pytest.raises(InputError, match=r"out\.partial is in the way, and is not ours"):
            make(tmp_path / "out")
        assert sorted(path.name for path in (tmp_path / "out.partial").iterdir()) == sorted(left)


def test_a_folder_removed_while_it_is_written_is_not_taken_for_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        pytest.raises(InputError, match=r"out\.partial was removed while it was written in"),
        new_folder(out, RECORD, force=False) as folder,
    ):
        write_member(folder, RECORD, b"{}")
        shutil.rmtree(folder)
        write_member(folder, "pages/page.html", b"the rest")
    assert not list(tmp_path.iterdir())
