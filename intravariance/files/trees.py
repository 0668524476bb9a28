# SPDX-License-Identifier: Apache-2.0
"""Folders and .zip archives of foreign files, read in place and not trusted.

A folder is never left, through `..` or symbolic links. An archive's members are never unpacked to
disk, and no more is read of one than `LARGEST_FILE` bytes, whatever size it declares.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Protocol

from intravariance.errors import InputError

LARGEST_FILE = 512 * 2**20
MOST_MEMBERS = 1_000_000
# A member that is both this large and this much compressed is no mesh but a trap.
BOMB_SIZE, BOMB_RATIO = 50 * 2**20, 200


class Tree(Protocol):
    """Files under relative names with `/`; what begins with "." and `__MACOSX` is left out."""

    @property
    def path(self) -> Path: ...

    def folders(self, under: str) -> list[str]:
        """List the folders directly in the folder `under` ("" is the root): sorted names."""

    def files(self, under: str) -> list[str]:
        """List the files in `under` and its subfolders: sorted names, from the root."""

    def read(self, name: str) -> bytes:
        """Read the bytes of a file. Raises InputError when it cannot or may not be read."""


def open_tree(path: Path) -> Tree:
    """Give the tree of an existing folder or .zip file."""
    return ZipTree(path) if path.is_file() else FolderTree(path)


@dataclass(frozen=True)
class FolderTree:
    path: Path

    def folders(self, under: str) -> list[str]:
        folder = self.path / under
        if not folder.is_dir():
            return []
        try:
            with os.scandir(folder) as entries:
                return sorted(
                    e.name for e in entries if e.is_dir(follow_symlinks=False) and _shown(e.name)
                )
        except OSError as error:
            raise InputError(f"{folder} cannot be read ({error.strerror})") from error

    def files(self, under: str) -> list[str]:
        names = []
        for folder, subfolders, files in os.walk(self.path / under):  # links are not followed
            subfolders[:] = [name for name in subfolders if _shown(name)]
            names += [
                Path(folder, name)
                for name in files
                if _shown(name) and self.contains(Path(folder, name))
            ]
        return sorted(name.relative_to(self.path).as_posix() for name in names)

    def read(self, name: str) -> bytes:
        path = self.path / name
        if not self.contains(path):
            raise InputError(f"{path} lies outside of {self.path} (a link, or a name with ..)")
        try:
            with open(path, "rb") as file:
                data = file.read(LARGEST_FILE + 1)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror})") from error
        return _checked(data, str(path))

    def contains(self, path: Path) -> bool:
        """Tell whether it is a plain file in here: opening a pipe would wait for ever."""
        resolved = Path(os.path.realpath(path))  # Path.resolve raises on a link to itself
        return resolved.is_relative_to(self.path.resolve()) and (
            resolved.is_file() or not resolved.exists()
        )


@dataclass(frozen=True)
class ZipTree:
    path: Path

    def folders(self, under: str) -> list[str]:
        prefix = f"{under}/" if under else ""
        inside = (n[len(prefix) :] for n in _zip_members(self.path) if n.startswith(prefix))
        return sorted({name.partition("/")[0] for name in inside if "/" in name})

    def files(self, under: str) -> list[str]:
        prefix = f"{under}/" if under else ""
        return [name for name in _zip_members(self.path) if name.startswith(prefix)]

    def read(self, name: str) -> bytes:
        where = f"{self.path}: {name}"
        try:
            archive = _opened(self.path)
            member = archive.getinfo(name)
            _check_member(member, where)
            with archive.open(member) as file:
                return _checked(file.read(LARGEST_FILE + 1), where)
        except KeyError:
            raise InputError(f"{where}: there is no such file in the archive") from None
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            raise InputError(f"{where} cannot be read ({error})") from error


def _opened(path: Path) -> zipfile.ZipFile:
    """Open an archive, and keep it open: its directory is read once, not for each member."""
    state = path.stat()
    changes = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
    return _opened_by(os.getpid(), path, changes)


@lru_cache(maxsize=4)
def _opened_by(process: int, path: Path, changes: tuple[int, ...]) -> zipfile.ZipFile:
    """Open an archive for a process: a fork shares the place in the file with its parent."""
    return zipfile.ZipFile(path)


def _shown(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _checked(data: bytes, where: str) -> bytes:
    if len(data) > LARGEST_FILE:
        raise InputError(f"{where} is larger than {LARGEST_FILE // 2**20} MiB")
    return data


@lru_cache(maxsize=256)
def _zip_members(path: Path) -> tuple[str, ...]:
    """List an archive's files, sorted. Raises InputError when it is not to be trusted."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"{path} is not a readable .zip archive ({error})") from error
    if len(members) > MOST_MEMBERS:
        raise InputError(f"{path} has more than {MOST_MEMBERS:,} members")
    for name in (member.filename for member in members):
        if name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
            raise InputError(
                f"{path} has the member {name!r}, which points out of the archive; such an "
                "archive is not used. Unpack it yourself and give the folder."
            )
    return tuple(
        sorted(
            {  # an archive may hold a name twice; the last counts
                member.filename
                for member in members
                if not member.is_dir() and all(map(_shown, PurePosixPath(member.filename).parts))
            }
        )
    )


def _check_member(member: zipfile.ZipInfo, where: str) -> None:
    if member.flag_bits & 0x1:
        raise InputError(f"{where} is encrypted; unpack the archive and give the folder")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # Python's readers of the other methods cannot stop in the middle of a bomb.
        raise InputError(f"{where} is compressed in another way than deflate")
    if member.file_size > LARGEST_FILE:
        raise InputError(f"{where} is larger than {LARGEST_FILE // 2**20} MiB")
    ratio = member.file_size / max(member.compress_size, 1)
    if member.file_size > BOMB_SIZE and ratio > BOMB_RATIO:
        raise InputError(f"{where} expands {ratio:.0f} times, as a zip bomb does")
