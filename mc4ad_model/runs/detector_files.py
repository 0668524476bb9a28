# SPDX-License-Identifier: Apache-2.0
"""The files of a detector folder (`iv export-detector`) are as they were exported.

Such a folder has SHA256SUMS at its top, which the folder of a training never has. Each file is
checked before it is read.
"""

from __future__ import annotations

from pathlib import Path

from intravariance.errors import InputError
from intravariance.files.checksums import NAME, read_checksums, sha256_of

DETECTOR = "detector.json"


def check_as_exported(folder: Path, only: str = "") -> None:
    """Check the files of a category's folder where it is in a detector folder.

    only : one of its files; all of them without it.

    Raises
    ------
    InputError
        One is missing or damaged, or was added to; it is named. SHA256SUMS is missing or damaged.
    """
    top = folder.absolute().parent
    if not any((top / name).is_file() for name in (NAME, DETECTOR)):
        return
    listed = read_checksums(top)
    prefix = f"{folder.name}/"
    own = {name: digest for name, digest in listed.items() if name.startswith(prefix)}
    if not own:
        raise InputError(f"{top / NAME}: lists no file of {folder.name}; {_again(top)}")
    for name, digest in own.items():
        if only and name != prefix + only:
            continue
        path = top / name
        if not path.is_file():
            raise InputError(f"{path}: is missing, and {NAME} lists it; {_again(top)}")
        if sha256_of(path) != digest:
            raise InputError(f"{path}: is not as {NAME} has it, so it was damaged; {_again(top)}")


def _again(top: Path) -> str:
    return f"`iv verify {top}` tells more. Get the detector again, or export it again"
