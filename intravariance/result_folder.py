# SPDX-License-Identifier: Apache-2.0
"""A folder of results that appears whole or not at all.

Each kind of folder has a record, a JSON file of its own name that is written first: a folder with
one comes from us and may be replaced, a folder without one is somebody's and is not.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from intravariance.errors import InputError


def check_folder(out: Path, record: str, force: bool) -> None:
    """InputError when `out` cannot be written, or holds what may not be replaced."""
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: the folder {out.parent} does not exist")
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"--out {out}: the folder {out.parent} is not writable")
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


@contextmanager
def new_folder(out: Path, record: str, force: bool) -> Iterator[Path]:
    """A folder `<out>.partial` to write in, the file named `record` first.

    It becomes `out` when the block ends without an error, and is removed otherwise. Raises
    InputError for what `check_folder` refuses, when another process writes there, and when the disk
    refuses to take more.
    """
    from filelock import FileLock, Timeout

    check_folder(out, record, force)
    partial = out.with_name(f"{out.name}.partial")
    lock_file = out.with_name(f"{out.name}.partial.lock")
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another process is writing {out} ({lock_file} is held)") from None
    try:
        _begin(partial, record)
        try:
            yield partial
            _replace(partial, out, record, force)
        except OSError as error:
            raise InputError(f"--out {out} cannot be written ({error.strerror})") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    finally:
        lock_file.unlink(missing_ok=True)
        lock.release()


def write_member(folder: Path, name: str, content: bytes) -> None:
    """Write a file in a folder that is still being written, through to the disk."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _begin(partial: Path, record: str) -> None:
    """An empty folder. One that a killed process left is removed."""
    if partial.exists():
        if not (partial / record).is_file() and any(partial.iterdir()):
            raise InputError(f"{partial} is in the way, and is not ours; move it away")
        shutil.rmtree(partial)
    partial.mkdir()


def _replace(partial: Path, out: Path, record: str, force: bool) -> None:
    check_folder(out, record, force)  # again: it may have appeared meanwhile
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
