# SPDX-License-Identifier: Apache-2.0
"""Opening HDF5 files, and making ours: the only module that does (see also `safety`)."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import h5py
from h5py import File  # noqa: TID251 - the one place

from intravariance.dataset.safety import attribute, reading
from intravariance.dataset.schema import DATASET_FORMAT, READ_VERSIONS
from intravariance.errors import InputError
from intravariance.files.urls import Url

__all__ = ["Content", "File", "new_file", "open_file", "open_foreign"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def new_file(target: Path | BinaryIO) -> File:
    """Make an HDF5 file, in place of one that is there."""
    return File(target, "w")


class Content:
    """The content of a file of ours, which goes with what is pickled: it stands for the file.

    path : of the file that it is from, for messages.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self.path = self.whole = path  # what a record calls its file, and its dataset
        self._content = content
        self._file: File | None = None

    def file(self) -> File:
        """Return it as an open file."""
        if self._file is None:
            self._file = File(BytesIO(self._content), "r")
        return self._file

    def __reduce__(self) -> tuple[type[Content], tuple[Path, bytes]]:
        return Content, (self.path, self._content)


def open_file(path: Path, expected: str) -> File:
    """Open a file of ours for reading.

    path : in a store, too (`files.urls`). expected : what its attribute "format" must say. Raises
    InputError where there is no such file or it is another one, IntegrityError where it is damaged.
    """
    kind = "dataset" if expected == DATASET_FORMAT else "sample file"
    if not path.is_file():
        what = "file or bucket" if isinstance(path, Url) else "file"
        raise InputError(f"{path}: no such {what}; make a dataset with `iv build` or `iv import`")
    stream = path.stream() if isinstance(path, Url) else None
    if not (h5py.is_hdf5(path) if stream is None else stream.read(len(_SIGNATURE)) == _SIGNATURE):
        raise InputError(f"{path}: not an HDF5 file; expected a {kind} made by `iv build`")
    with reading(str(path)):
        file = File(path, "r", locking="best-effort") if stream is None else File(stream, "r")
        names = set(file.attrs)
    try:
        if not {"format", "format_version"} <= names:
            raise InputError(f"{path}: an HDF5 file, but not a {kind} made by `iv build`")
        found, version = str(attribute(file, "format")), str(attribute(file, "format_version"))
        if found != expected:
            raise InputError(f"{path}: has format {found!r}, expected {expected!r}")
        if version not in map(str, READ_VERSIONS):
            raise InputError(
                f"{path}: has format version {version}, this iv reads {READ_VERSIONS[0]} to "
                f"{READ_VERSIONS[-1]}; "
                "install the iv that made it, or build the dataset again"
            )
    except BaseException:
        file.close()
        raise
    return file


def open_foreign(path: Path) -> File:
    """Open somebody else's HDF5 file for reading; what is in it is read by `safety`.

    Raises InputError where there is no such file or it is none, IntegrityError where it is damaged.
    """
    if not path.is_file() or not h5py.is_hdf5(path):
        raise InputError(f"{path}: expected an HDF5 file")
    with reading(str(path)):
        return File(path, "r", locking="best-effort")
