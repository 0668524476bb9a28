# SPDX-License-Identifier: Apache-2.0
"""Folders and .zip archives of foreign files, read in place and not trusted.

A folder is never left, through `..` or symbolic links, unless links are to be followed: then its
links alone may lead out. An archive's members are never unpacked to
disk, and no more is read of one than `LARGEST_FILE` bytes, whatever size it declares.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Protocol

from intravariance.errors import InputError

LARGEST_FILE = 512 * 2**20
MOST_MEMBERS = 1_000_000
# Errors that the standard library raises about archives, also where names are empty or not text.
ZIP_FAULTS = (
    OSError, EOFError, IndexError, RuntimeError, ValueError, struct.error, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip
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

    def links_left_out(self, under: str, below: bool = True) -> list[str]:
        """List the links in `under` (and below) that are not followed, and where each leads."""


def open_tree(path: Path, follow_links: bool = False) -> Tree:
    """Give the tree of an existing folder or .zip file."""
    return ZipTree(path) if path.is_file() else FolderTree(path, follow_links)


@dataclass(frozen=True)
class FolderTree:
    """follow_links : whether links may lead out of the folder, and links to folders count."""

    path: Path
    follow_links: bool = False

    def folders(self, under: str) -> list[str]:
        folder = self.path / under
        if not folder.is_dir():
            return []
        try:
            with os.scandir(folder) as entries:
                return sorted(
                    entry.name
                    for entry in entries
                    if entry.is_dir(follow_symlinks=self.follow_links) and _shown(entry.name)
                )
        except OSError as error:
            raise InputError(f"{folder} cannot be read ({error.strerror})") from error

    def files(self, under: str) -> list[str]:
        names = (path for path in self._walk(self.path / under) if self.contains(path))
        return sorted(name.relative_to(self.path).as_posix() for name in names)

    def links_left_out(self, under: str, below: bool = True) -> list[str]:
        paths = self._walk(self.path / under) if below else (self.path / under).iterdir()
        return sorted(
            f"{path.relative_to(self.path).as_posix()} -> {os.readlink(path)}"
            for path in paths
            if path.is_symlink() and not self.contains(path) and not self._enters(path)
        )

    def _enters(self, path: Path) -> bool:
        """Tell whether it is a folder to look into."""
        return path.is_dir() and (self.follow_links or not path.is_symlink())

    def _walk(self, folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
        """Yield what is shown in a folder and below, but for the folders that are entered.

        above : real paths of the folders on the way here; none is entered again through a link.
        """
        real = os.path.realpath(folder)
        if real in above or not folder.is_dir():
            return
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if _shown(entry.name))
        except OSError as error:
            raise InputError(f"{folder} cannot be read ({error.strerror})") from error
        for name in names:
            path = folder / name
            if self._enters(path):
                yield from self._walk(path, (*above, real))
            else:
                yield path

    def read(self, name: str) -> bytes:
        path = self.path / name
        if not self.contains(path):
            raise InputError(f"{path} lies outside of {self.path} (a link, or a name with ..)")
        try:
            with open(path, "rb") as file:
                # as many bytes as are asked for get memory, whether there are so many or not
                data = file.read(min(os.fstat(file.fileno()).st_size, LARGEST_FILE) + 1)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror})") from error
        return _checked(data, str(path))

    def contains(self, path: Path) -> bool:
        """Tell whether it is a plain file in here: opening a pipe would wait for ever."""
        resolved = Path(os.path.realpath(path))  # Path.resolve raises on a link to itself
        named = Path(os.path.normpath(path)) if self.follow_links else resolved
        root = Path(os.path.normpath(self.path)) if self.follow_links else self.path.resolve()
        return named.is_relative_to(root) and (resolved.is_file() or not resolved.exists())


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

    def links_left_out(self, under: str, below: bool = True) -> list[str]:
        return []  # an archive's links are files that hold a name, and no meshes

    def read(self, name: str) -> bytes:
        where = f"{self.path}: {name}"
        try:
            archive = _opened(self.path)
            member = archive.getinfo(name)
            check_member(member, where)
            with archive.open(member) as file:
                return _checked(file.read(LARGEST_FILE + 1), where)
        except KeyError:
            raise InputError(f"{where}: there is no such file in the archive") from None
        except ZIP_FAULTS as error:
            raise InputError(f"{where} cannot be read ({error})") from error


@dataclass(frozen=True)
class CarriedTree:
    """Some files of another tree, with their content, for a machine that does not have them.

    content : by name, the bytes or why they cannot be read.
    """

    path: Path
    content: Mapping[str, bytes | InputError]

    @classmethod
    def of(cls, tree: Tree, names: Iterable[str]) -> CarriedTree:
        """Read files of a tree, to take them along."""
        content: dict[str, bytes | InputError] = {}
        for name in names:
            try:
                content[name] = tree.read(name)
            except InputError as error:
                content[name] = error
        return cls(tree.path, content)

    def folders(self, under: str) -> list[str]:
        return []

    def files(self, under: str) -> list[str]:
        return sorted(name for name in self.content if not under or name.startswith(f"{under}/"))

    def links_left_out(self, under: str, below: bool = True) -> list[str]:
        return []

    def read(self, name: str) -> bytes:
        if name not in self.content:
            raise InputError(
                f"{self.path}: {name} was not sent with the task, as no scan says that it is its "
                "file; read the tree with processes of this machine"
            )
        found = self.content[name]
        if isinstance(found, InputError):
            raise found
        return found


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
    except ZIP_FAULTS as error:
        raise InputError(f"{path} is not a readable .zip archive ({error})") from error
    if len(members) > MOST_MEMBERS:
        raise InputError(f"{path} has more than {MOST_MEMBERS:,} members")
    for name in (member.filename for member in members):
        if not name:
            raise InputError(f"{path} has a member without a name; it is damaged, or made to harm")
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


def check_member(member: zipfile.ZipInfo, where: str) -> None:
    """Raise InputError naming `where` for a member that cannot be read, or is made to harm."""
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
