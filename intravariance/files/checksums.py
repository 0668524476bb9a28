# SPDX-License-Identifier: Apache-2.0
"""SHA256SUMS: the checksums of a folder's files, as `sha256sum --check` of coreutils reads them.

A line is the digest in hex, two spaces, and the name from the folder with `/`; lines are sorted by
name. The list does not hold itself, nor hidden files and folders.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from intravariance.errors import InputError
from intravariance.files.atomic import write_file

NAME = "SHA256SUMS"
_BLOCK = 2**20
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 hex digest of a file's bytes, read a block at a time."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_checksums(folder: Path) -> dict[str, str]:
    """Write SHA256SUMS for all files in a folder and its subfolders; return name -> digest.

    Raises InputError for a name that a line cannot hold as it is.
    """
    digests = digests_of(folder)
    write_list(folder, digests)
    return digests


def digests_of(folder: Path) -> dict[str, str]:
    """Compute name -> digest of all files in a folder and its subfolders. Raises as the above."""
    names = files_in(folder)
    for name in names:
        if re.search(r"[\\\r\n]", name):
            raise InputError(f"{folder}: {name!r}: a checksum list cannot hold this file name")
    return {name: sha256_of(folder / name) for name in names}


def write_list(folder: Path, digests: Mapping[str, str]) -> None:
    """Write SHA256SUMS of a folder: these digests by name."""
    content = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    write_file(folder / NAME, content.encode(), force=True)


def read_checksums(folder: Path) -> dict[str, str]:
    """Read name -> digest, as SHA256SUMS of the folder has them.

    Raises InputError when there is no list, or a line of it is none of ours.
    """
    path = folder / NAME
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected the checksums of the folder ({error})") from error
    listed: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None or ".." in Path(match[2]).parts or Path(match[2]).is_absolute():
            raise InputError(f"{path}: line {number} is no digest and name in this folder: {line}")
        listed[match[2]] = match[1]
    return listed


def files_in(folder: Path) -> list[str]:
    """List the files in a folder and its subfolders: sorted names, from the folder.

    SHA256SUMS and what is hidden are left out.
    """
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    shown = (p.as_posix() for p in paths if not any(part.startswith(".") for part in p.parts))
    return sorted(name for name in shown if name != NAME)
