# SPDX-License-Identifier: Apache-2.0
"""Arrays in .npz files, as `numpy.savez` writes them: a zip archive of .npy files.

`numpy.load` would unpack whatever size a member declares. Here a member is unpacked up to
LARGEST_CONTENT and no further, arrays of Python objects (pickles) are no arrays of numbers and are
refused, and a list of members that is far longer than that of any cloud is not read.
"""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files.choices import AS_WRITTEN, ReadingChoices
from intravariance.cloud_files.cloud import (
    AXES,
    LABEL_NAMES,
    PointCloud,
    as_point,
    check_count,
    cloud_from_columns,
)
from intravariance.cloud_files.lzf import LARGEST_CONTENT
from intravariance.cloud_files.npy import parse_array
from intravariance.cloud_files.text import cloud_from_rows
from intravariance.errors import InputError
from intravariance.files.trees import ZIP_FAULTS, check_member

POINTS = ("points", "xyz", "vertices", "coordinates", "pos")
NORMALS = ("normals", "normal")
_END = b"PK\x05\x06"  # of the list of members, and of the archive but for a comment
_LONG_LIST = b"PK\x06\x07"  # says that the list is longer than 4 GiB, or that it lies beyond
_END_SIZE, _LONGEST_COMMENT = 22, 65_535
_LONGEST_LIST = 2**20  # bytes; a member takes about 60


def parse_npz(data: bytes, choices: ReadingChoices = AS_WRITTEN) -> PointCloud:
    """Read the cloud in an array of points, (N, C), and in arrays of labels and normals beside it.

    The points are the array of a name in POINTS, or the only array of at least three columns; of
    that the columns mean what those of a .npy file mean. Labels (N,) have a name in LABEL_NAMES.
    Raises InputError when there is none or several, or what is used is no array of numbers.
    """
    _check_list(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {
                PurePosixPath(member.filename).name.casefold().removesuffix(".npy"): member
                for member in archive.infolist()
                if member.filename.lower().endswith(".npy")
            }
            labels = [name for name in members if name in LABEL_NAMES]
            if len(labels) > 1:
                raise InputError(f"its arrays {' and '.join(labels)} may all be labels; keep one")
            chosen = _points_among(archive, members)
            normals = [name for name in members if name in NORMALS][:1]
            arrays = {name: _array(archive, members[name]) for name in (chosen, *labels, *normals)}
    except ZIP_FAULTS as error:
        raise InputError(f"it is not a readable .npz file ({error})") from error
    return _cloud(arrays, chosen, labels, normals, choices)


def _cloud(
    arrays: dict[str, NDArray[Any]],
    chosen: str,
    labels: list[str],
    normals: list[str],
    choices: ReadingChoices,
) -> PointCloud:
    points = arrays[chosen]
    if points.ndim != 2 or points.shape[1] < 3:
        raise InputError(f"its array {chosen} is {points.shape}; expected is (N, 3) or wider")
    check_count(len(points))
    with np.errstate(all="ignore"):  # a damaged file may hold signalling NaNs
        rows = points.astype(np.float64)
    if not labels and not normals:
        return cloud_from_rows(rows, as_point, choices=choices)
    if points.shape[1] != 3:
        raise InputError(
            f"its array {chosen} is {points.shape}, and there is an array "
            f"{' and one '.join((*labels, *normals))} beside it; expected is (N, 3) then"
        )
    columns: dict[str, NDArray[Any]] = dict(zip(AXES, rows.T, strict=True))
    for name in labels:
        columns[name] = _beside(arrays[name], name, (len(rows),))
    for name in normals:
        directions = _beside(arrays[name], name, (len(rows), 3))
        columns |= dict(zip(("nx", "ny", "nz"), directions.T, strict=True))
    return cloud_from_columns(columns, as_point, choices)


def _beside(array: NDArray[Any], name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    if array.size != np.prod(shape):
        raise InputError(f"its array {name} is {array.shape}; expected is {shape}, as its points")
    return array.reshape(shape)


def _points_among(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> str:
    """Return the name of the array of points."""
    named = [name for name in POINTS if name in members]
    others = [name for name in members if name not in (*LABEL_NAMES, *NORMALS)]
    if len(named) == 1 or len(others) == 1:
        return named[0] if len(named) == 1 else others[0]
    wide = [name for name in others if _is_wide(archive, members[name])]
    if len(wide) == 1 and not named:
        return wide[0]
    raise InputError(
        f"it has no array of points, or several: its arrays are {', '.join(members) or 'none'}. "
        "Expected is one array (N, 3) or wider, or one called points"
    )


def _is_wide(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """Tell whether it is an array of numbers, (N, C) with C at least 3."""
    try:
        array = _array(archive, member)
    except InputError:
        return False
    return array.ndim == 2 and array.shape[1] >= 3


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    check_member(member, f"its array {member.filename}")
    if member.file_size > LARGEST_CONTENT:
        raise InputError(
            f"its array {member.filename} takes {member.file_size:,} bytes; at most "
            f"{LARGEST_CONTENT:,} are unpacked"
        )
    with archive.open(member) as file:
        content = file.read(LARGEST_CONTENT + 1)
    try:
        return parse_array(content)
    except InputError as error:
        raise InputError(f"its array {member.filename}: {error}") from error


def _check_list(data: bytes) -> None:
    """Raise InputError when the list of members is missing or longer than that of any cloud."""
    end = data.rfind(_END, max(0, len(data) - _END_SIZE - _LONGEST_COMMENT))
    if end < 0 or end + _END_SIZE > len(data):
        raise InputError("it is not a .npz file, or cut off (the list of its arrays is missing)")
    (size,) = struct.unpack_from("<I", data, end + 12)
    if size > _LONGEST_LIST or _LONG_LIST in data[max(0, end - 20) : end]:
        raise InputError(f"the list of its arrays is longer than {_LONGEST_LIST:,} bytes")
