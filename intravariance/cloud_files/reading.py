# SPDX-License-Identifier: Apache-2.0
"""One cloud file of any kind, by its suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from intravariance.cloud_files.choices import AS_WRITTEN, ReadingChoices
from intravariance.cloud_files.cloud import PointCloud
from intravariance.cloud_files.npy import parse_npy
from intravariance.cloud_files.npz import parse_npz
from intravariance.cloud_files.pcd import parse_pcd
from intravariance.cloud_files.ply import parse_ply
from intravariance.cloud_files.scanner_files import parse_e57, parse_las
from intravariance.cloud_files.text import parse_obj, parse_pts, parse_text
from intravariance.errors import InputError
from intravariance.executors.limited import limited_memory

LARGEST_FILE = 2**30  # bytes; 20 million points in text

_PARSERS: dict[str, Callable[[bytes, ReadingChoices], PointCloud]] = {
    ".ply": parse_ply,
    ".pcd": parse_pcd,
    ".txt": parse_text,
    ".xyz": parse_text,
    ".asc": parse_text,
    ".csv": parse_text,
    ".pts": parse_pts,
    ".npy": parse_npy,
    ".npz": parse_npz,
    ".obj": parse_obj,
    ".las": parse_las,
    ".laz": parse_las,
    ".e57": parse_e57,
}
SUFFIXES = tuple(_PARSERS)


def read_cloud(path: Path, choices: ReadingChoices = AS_WRITTEN) -> PointCloud:
    """Read the cloud in a file of one of SUFFIXES; of .obj its vertices.

    choices : which of its rows are points, and what labels mean. Raises InputError naming the file
    and the place: missing, damaged, cut off, without points, with coordinates that are not finite
    or labels other than 0 and 1, or in need of more memory than `executors.limited` allows.
    """
    return parse_cloud(read_bytes(path), str(path), choices)


def parse_cloud(data: bytes, name: str, choices: ReadingChoices = AS_WRITTEN) -> PointCloud:
    """Read the cloud in the bytes of the file `name`, which may be a member of an archive.

    choices : which of its rows are points, and what labels mean.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in _PARSERS:
        raise InputError(f"{name}: expected a point cloud, one of {' '.join(SUFFIXES)}")
    if not data:
        raise InputError(f"{name}: it is empty (0 bytes); was it unpacked or copied in full?")
    try:
        with limited_memory():
            return _PARSERS[suffix](data, choices)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def read_bytes(path: Path) -> bytes:
    """Read the bytes of a plain file of at most LARGEST_FILE bytes. Raises InputError otherwise."""
    if not path.is_file():  # also a pipe, which would be waited for
        found = "a folder" if path.is_dir() else "something else" if path.exists() else "nothing"
        raise InputError(f"{path}: expected a file, found {found}")
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    if len(data) > LARGEST_FILE:
        raise InputError(f"{path} is larger than {LARGEST_FILE // 2**20} MiB; thin it out first")
    return data
