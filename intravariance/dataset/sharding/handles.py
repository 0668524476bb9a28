# SPDX-License-Identifier: Apache-2.0
"""Files that are open: each process opens its own, when it first reads, and a few at a time.

Whoever reads keeps the `File` until it is done, so that a file which is let go meanwhile is closed
after that: threads may share a handle.
"""

from __future__ import annotations

import atexit
import itertools
import os
import threading
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

from intravariance.dataset.opening import File, open_file
from intravariance.dataset.safety import attribute, reading
from intravariance.dataset.schema import DATASET_FORMAT, header, read_json, read_table
from intravariance.errors import IntegrityError

# So many files stay open in a process. Samples of shards come by turns, so that a whole of more
# shards opens a file for each sample.
MOST_OPEN = 64
# libhdf5 keeps some 100 kB for each sample that was read, 25 MB at most of a file, until that is
# closed. Files are opened anew so that those of many shards, read by turns, keep so many samples.
READS_AT_ONCE = 4096


Rows = list[tuple["FileHandle", dict[str, Any]]]


class FileHandle:
    """A file that each process opens for itself, when it first reads.

    It is pickled as its path and content digest. Those that a process unpickles of one file are one
    handle, so that it opens the file, and reads its table, once at most.

    Parameters
    ----------
    path
        The file.
    digest
        Content digest that it must have; None for whichever it has.
    whole
        How the user named the dataset that it is a shard of; None where it is all of it.

    Raises
    ------
    InputError
        There is no such file, or it is not ours.
    IntegrityError
        It is damaged, or was replaced by another one while in use.
    """

    def __init__(self, path: Path, digest: str | None = None, whole: Path | None = None) -> None:
        self.path = path
        self.whole = path if whole is None else whole
        self.last_use = 0
        self._reads = 0
        self._opened: tuple[int, File, tuple[int, ...]] | None = None  # process, file, its place
        self.digest = digest or str(attribute(self._open(""), "content_digest"))

    @property
    def files(self) -> list[FileHandle]:
        """Return this file alone."""
        return [self]

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """Return the file's record of how it was made."""
        file = self.file()
        metadata = read_json(file, "metadata")
        with reading(f"{self.path}: metadata"):
            expected = header(metadata, self.digest, self.version)["header_digest"]
        if str(attribute(file, "header_digest")) != expected:
            raise IntegrityError(
                f"{self.path}: the file's attributes do not have the digest recorded"
            )
        return metadata

    @cached_property
    def version(self) -> int:
        """The version of its format."""
        return int(attribute(self.file(), "format_version"))

    def rows(self) -> Rows:
        """Read the file of each sample, this one, and what the table says of it, in its order.

        They are not kept: of many samples they take much memory.
        """
        _ = self.metadata  # what is wrong with it is said first
        return [(self, row) for row in read_table(self.file(), self.version)]

    @cached_property
    def names(self) -> dict[str, set[str]]:
        """The categories, subcategories, splits and defects of all samples, by these words."""
        return names_in(self.rows())

    def file(self) -> File:
        """Return the file, open in this process for as long as the caller keeps it.

        One inherited over fork has its parent's state, and is left to the garbage collector, as is
        one of two that threads opened at the same time.
        """
        self.last_use = next(_uses)
        self._reads += 1
        if self._reads * len(_open_files) > READS_AT_ONCE:
            self.let_go()
        opened = self._opened
        if opened is None or opened[0] != os.getpid() or not opened[1]:
            return self._open(self.digest)
        return opened[1]

    def _open(self, expected: str) -> File:
        """Open the file, with this content digest where one is given."""
        place = _place(self.path)
        file = open_file(self.path, DATASET_FORMAT)
        if expected and str(attribute(file, "content_digest")) != expected:
            raise IntegrityError(f"{self.path}: was replaced by another file while in use")
        self._opened, self._reads = (os.getpid(), file, place), 0
        _open_files.add(self)
        return file

    @property
    def is_open(self) -> bool:
        """Whether it is open in this process."""
        return self._opened is not None and self._opened[0] == os.getpid()

    def let_go(self) -> None:
        """Close the file once nobody reads it any more."""
        self._opened = None

    def close(self) -> None:
        """Close the file in this process."""
        if self._opened is not None:
            self._opened[1].close()

    def close_if_replaced(self) -> None:
        """Close it where another file has taken its place, which is noticed when it is opened."""
        if self._opened is not None and self._opened[2] != _place(self.path):
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.path, self.digest, self.whole)


def names_in(rows: Rows) -> dict[str, set[str]]:
    """Collect the names that can be chosen by (`Dataset.filter`), by column."""
    columns = ("category", "subcategory", "split", "defect")
    return {column: {str(row[column]) for _, row in rows} for column in columns}


class _OpenFiles:
    """The handles of this process that are open; it lets those go that were used longest ago."""

    def __init__(self) -> None:
        self._handles: WeakSet[FileHandle] = WeakSet()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._handles)

    def add(self, handle: FileHandle) -> None:
        with self._lock:
            self._handles.add(handle)
            if len(self._handles) <= MOST_OPEN:
                return
            found = sorted((one for one in self._handles if one.is_open), key=_last_use)
            for one in found[:-MOST_OPEN]:
                one.let_go()
            self._handles = WeakSet(found[-MOST_OPEN:])

    def close(self) -> None:
        for one in list(self._handles):
            one.close()


def _last_use(handle: FileHandle) -> int:
    return handle.last_use


_uses = itertools.count(1)
_open_files = _OpenFiles()


def _forget() -> None:
    """Begin anew in a process that was forked: another thread may have held the lock."""
    global _open_files
    _open_files = _OpenFiles()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
# HDF5 closes what is left after Python has ended, and a file of a store is read by Python.
atexit.register(lambda: _open_files.close())


def _unpickled(path: Path, digest: str, whole: Path) -> FileHandle:
    handle = _shared_handle(path, digest, whole)
    handle.close_if_replaced()
    return handle


@lru_cache(maxsize=MOST_OPEN)
def _shared_handle(path: Path, digest: str, whole: Path) -> FileHandle:
    return FileHandle(path, digest, whole)


def _place(path: Path) -> tuple[int, ...]:
    """Return what changes when another file takes the place of one; empty where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
