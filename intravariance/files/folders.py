# SPDX-License-Identifier: Apache-2.0
"""A folder of results that appears whole or not at all.

Each kind of folder has a record, a JSON file of its own name that is written first: a folder with
one comes from us, a folder without one is somebody's and is never replaced. SHA256SUMS is written
last: a folder of ours is replaced only when nothing in it was added or changed since. While that
happens the earlier one is `<out>.<number>.old`; where a killed process left it, it is put back.

A kind of folder that earlier versions wrote without SHA256SUMS has a function (`Unlisted`) that
tells names and digests of such a folder's files by other means.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from intravariance.errors import InputError, first_of
from intravariance.files.atomic import real, write_file
from intravariance.files.checksums import NAME, read_checksums, sha256_of, write_checksums
from intravariance.files.locks import held
from intravariance.progress import say

_SHOWN = 5
_TEMPORARY = re.compile(r".+(\.partial|\.\d+\.old)")

# Name -> SHA-256 of the files of a folder without SHA256SUMS; empty where nothing tells them.
Unlisted = Callable[[Path], Mapping[str, str]]


def _nothing_tells(folder: Path) -> Mapping[str, str]:
    return {}


def is_temporary(folder: Path) -> bool:
    """Return whether a folder's name is that of one being written, or being replaced."""
    return _TEMPORARY.fullmatch(folder.name) is not None


def check_folder(out: Path, record: str, force: bool, unlisted: Unlisted = _nothing_tells) -> None:
    """Raise InputError when `out` cannot be written, or holds what may not be replaced.

    With `force` the files of an earlier folder are read, to tell whether they are as written.
    """
    parent = real(out).parent
    if not parent.is_dir():
        raise InputError(f"--out {out}: the folder {parent} does not exist")
    if not os.access(parent, os.W_OK):
        raise InputError(f"--out {out}: the folder {parent} is not writable")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: expected a folder, there is a file of this name")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / record).is_file():
        raise InputError(
            f"--out {out}: the folder holds other files ({record} is missing), so it is not "
            "replaced, also not with --force. Choose another name."
        )
    if not force:
        raise InputError(f"--out {out} exists. Choose another name, or replace it with --force.")
    if found := _not_as_written(out, unlisted):
        raise InputError(
            f"--out {out}: not replaced, also not with --force, since files in it were added or "
            f"changed: {first_of(found, _SHOWN)}. Choose another name, or move them away."
        )


@contextmanager
def new_folder(
    out: Path, record: str, force: bool, unlisted: Unlisted = _nothing_tells
) -> Iterator[Path]:
    """Give a folder `<out>.partial` to write in, the file named `record` first.

    It gets SHA256SUMS, unless the block wrote it, and becomes `out` when the block ends without an
    error; it is removed otherwise. The target is written where `out` is a link. Raises InputError
    for what `check_folder` refuses, when another process writes there, and when the disk refuses to
    take more.
    """
    check_folder(out, record, force, unlisted)
    out = real(out)
    partial = out.with_name(f"{out.name}.partial")
    with held(out.with_name(f"{out.name}.partial.lock"), f"another process is writing {out}"):
        if _put_back(out, record, unlisted):
            check_folder(out, record, force, unlisted)
        _begin(partial, record)
        begun = partial.stat().st_ino
        try:
            yield partial
            # members make their folders, also one that somebody removed with what was in it
            if not (partial / record).is_file() or partial.stat().st_ino != begun:
                raise InputError(f"{partial} was removed while it was written in; begin again")
            if not (partial / NAME).exists():
                write_checksums(partial)
            check_folder(out, record, force, unlisted)  # again: it may have appeared meanwhile
            _replace(partial, out)
        except OSError as error:
            raise InputError(f"--out {out} cannot be written ({error.strerror})") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def write_member(folder: Path, name: str, content: bytes) -> None:
    """Write a file in a folder that is still being written; InputError when it is there already."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, content)


def _not_as_written(folder: Path, unlisted: Unlisted) -> list[str]:
    """Name the files that SHA256SUMS does not have, or has with another digest.

    One that was removed does not count.
    """
    ours = read_checksums(folder) if (folder / NAME).is_file() else unlisted(folder)
    if not ours:
        return [f"{NAME} (missing, so nothing tells which files are yours)"]
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name == NAME or (path.is_dir() and not path.is_symlink()):
            continue
        plain = path.is_file() and not path.is_symlink()
        if name not in ours or not plain or sha256_of(path) != ours[name]:
            found.append(name)
    return found


def _put_back(out: Path, record: str, unlisted: Unlisted) -> bool:
    """Put back what a process killed while it replaced `out` had moved away, and return True.

    It is removed where the new one is in its place already.
    """
    put_back = False
    name = re.compile(re.escape(out.name) + r"\.\d+\.old")
    for old in sorted(path for path in out.parent.iterdir() if name.fullmatch(path.name)):
        if not (old / record).is_file() or _not_as_written(old, unlisted):
            continue
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.rename(old, out)
            say(f"{out}: put back, an interrupted command had moved it to {old.name}")
            put_back = True
    return put_back


def _begin(partial: Path, record: str) -> None:
    """Make an empty folder in the place of one that a killed process left."""
    if partial.exists():
        # killed while it wrote the record, which is first, it left the record's temporary file
        ours = (partial / record).is_file() or all(
            path.match(f"{record}.*.partial") for path in partial.iterdir()
        )
        if not ours:
            raise InputError(f"{partial} is in the way, and is not ours; move it away")
        shutil.rmtree(partial)
    partial.mkdir()


def _replace(partial: Path, out: Path) -> None:
    old = out.with_name(f"{out.name}.{os.getpid()}.old")
    if out.exists():
        os.rename(out, old)
    try:
        os.rename(partial, out)
    except OSError:
        if old.exists():
            os.rename(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)
