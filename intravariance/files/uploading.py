# SPDX-License-Identifier: Apache-2.0
"""Finished files, sent to an object store: each appears under its name when it is all there.

Files for a store are made on this machine first, in the folder `NAME.upload` of the current
folder: a command that was killed, or could not send, carries on from there.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from intravariance.errors import InputError
from intravariance.files.atomic import write_file
from intravariance.files.checksums import NAME, files_in
from intravariance.files.urls import Url, asking, size_of
from intravariance.progress import say

# An object in these stores appears when all of it has arrived, so it need not be renamed after.
_WHOLE_OR_NOT = {"abfs", "az", "gcs", "gs", "hf", "memory", "oss", "s3", "s3a"}


@contextmanager
def made_here(out: Path) -> Iterator[Path]:
    """Give the path to write for `out`: itself, or one on this machine where it is in a store.

    The folder that this one lies in is removed once it is empty.
    """
    if not isinstance(out, Url):
        yield out
        return
    folder = Path(f"{out.name}.upload")
    folder.mkdir(exist_ok=True)
    try:
        yield folder / out.name
    finally:
        with suppress(OSError):  # there is what a killed command carries on from
            folder.rmdir()


def check_destination(out: Path, force: bool) -> None:
    """Raise InputError, before any work, where a place in a store cannot be written, or is taken.

    An empty object is written beside it for that, and removed, but on the Hugging Face Hub. A path
    on this machine is checked by whoever writes it.
    """
    if not isinstance(out, Url):
        return
    protocol = str(out).partition(":")[0]
    if protocol not in _WHOLE_OR_NOT:
        raise InputError(
            f"--out {out}: files may be half-written there; expected one of "
            f"{', '.join(sorted(_WHOLE_OR_NOT))}. Write to this machine, and copy it"
        )
    if not force and out.exists():
        raise InputError(f"--out {out} exists. Choose another name, or replace it with --force.")
    if protocol == "hf":  # whose every write is a commit that stays in the history
        return
    with asking(out, "written"):
        store, name = out.store()
        probe = f"{name}.{secrets.token_hex(4)}.partial"
        store.pipe_file(probe, b"")
        store.rm_file(probe)


def upload(files: Sequence[Path], out: Path, quiet: bool = False) -> None:
    """Send files beside `out` in a store, in their order, and remove them here. Nothing otherwise.

    Raises InputError where the store does not take them; they are kept here.
    """
    if not isinstance(out, Url):
        return
    for file in files:
        send(file, out.with_name(file.name), quiet)
    for file in files:
        file.unlink()


def send(file: Path, place: Url, quiet: bool = False) -> None:
    """Send a file to a place in a store, in place of what is there."""
    say(f"{file} -> {place}", quiet)
    with asking(place, f"written, so that {file} is kept here; give the same command again"):
        store, name = place.store()
        store.put_file(str(file), name)
    if (arrived := size_of(place)) != (sent := size_of(file)):
        raise InputError(
            f"{place}: {sent} bytes were sent, and {arrived} are there; {file} is kept"
        )


def upload_folder(folder: Path, out: Path, quiet: bool = False) -> None:
    """Send a folder to a place in a store, its SHA256SUMS last, and remove it here; else nothing.

    Raises InputError where the store does not take a file; the folder is kept here.
    """
    if not isinstance(out, Url):
        return
    names = [*sorted(files_in(folder)), NAME]
    say(f"{folder} -> {out}: {len(names)} files", quiet)
    for name in names:
        send(folder / name, out / name, quiet=True)
    shutil.rmtree(folder)


def write_place(out: Path, content: bytes, force: bool = False) -> None:
    """Write a small file, on this machine or in a store. Raises as `write_file`, and InputError."""
    if not isinstance(out, Url):
        write_file(out, content, force)
        return
    check_destination(out, force)
    with asking(out, "written"):
        store, name = out.store()
        store.pipe_file(name, content)
