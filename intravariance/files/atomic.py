# SPDX-License-Identifier: Apache-2.0
"""Writing files: whole or not at all, and never over another file unasked.

A file is written under a temporary name in the folder of its own, flushed to the disk, checked
where there is something to check, and only then given its name. A file that is made again where it
is damaged need not be flushed (`replacing`). Nothing else in the project renames or synchronises
files. Where the name is a link, the file that it means is written, and the link stays; that holds
for folders too (`files.folders`).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from intravariance.errors import InputError


def real(out: Path) -> Path:
    """Follow a link, also one that leads to nothing yet: what it means is written, not the link."""
    return Path(os.path.realpath(out)) if out.is_symlink() else out


def check_target(out: Path, force: bool) -> None:
    """Raise InputError when `out` cannot be written, or exists and `force` is not given."""
    parent = real(out).parent
    if out.is_dir() or not parent.is_dir():
        raise InputError(f"--out {out}: expected a file name in an existing folder")
    if out.exists() and not force:
        raise InputError(f"--out {out} exists. Choose another name, or replace it with --force.")
    if not os.access(parent, os.W_OK):
        raise InputError(f"--out {out}: the folder {parent} is not writable")


def write_file(out: Path, content: bytes | memoryview, force: bool = False) -> None:
    """Write a file that a user asked for. Raises as `check_target`, and OSError of the disk."""
    check_target(out, force)
    write_whole(out, content)


def write_whole(path: Path, content: bytes | memoryview, flush: bool = True) -> None:
    """Write a file, in place of one that is there. Raises OSError when the disk refuses.

    flush : as of `replacing`.
    """
    with replacing(path, flush) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replacing(path: Path, flush: bool = True) -> Iterator[Path]:
    """Give a temporary name to write to, which becomes `path` when the block ends without error.

    The name ends with ".partial". The temporary file is removed where the block raises. flush :
    False for a file that is checked whenever it is read, and made again where it is not whole, as
    after a loss of power it may be: to wait for the disk takes longer than to write it.
    """
    path = real(path)
    # Neither another process, nor one of another machine on a shared disk, has the same name.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    try:
        yield temporary
        move_into_place(temporary, path, flush=flush)
    finally:
        temporary.unlink(missing_ok=True)


def move_into_place(
    written: Path,
    path: Path,
    check: Callable[[Path], None] = lambda written: None,
    flush: bool = True,
) -> None:
    """Flush a file that is complete to the disk, check it, and give it its name.

    path : in the file system of `written`; the file that a link means. check : raises where
    `written` is not what `path` should hold; both are then as they were. flush : as of `replacing`.
    """
    if flush:
        with open(written, "rb") as file:
            os.fsync(file.fileno())
    check(written)
    os.replace(written, path)
