# SPDX-License-Identifier: Apache-2.0
"""Scanner's files that optional libraries read: LAS and LAZ by laspy, E57 by pye57.

The claims of a header are compared with the file before a library is asked. The library works in a
child process of limited memory and time (`library_reading`). Coordinates stay float64: those of LAS
are whole numbers times a scale plus an offset, often hundreds of kilometres from 0.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files.choices import ANOMALOUS_LABELS, AS_WRITTEN, ReadingChoices
from intravariance.cloud_files.cloud import (
    LABEL_NAMES,
    PointCloud,
    as_point,
    check_count,
    cloud_from_columns,
)
from intravariance.cloud_files.lzf import LARGEST_CONTENT
from intravariance.errors import InputError
from intravariance.executors.limited import run_limited
from intravariance.extras import not_installed

_CHILD = "intravariance.cloud_files.library_reading"
_SHORTEST_HEADER, _LONG_HEADER = 227, 375  # bytes, of LAS 1.0 to 1.3 and of 1.4
_VLR, _EVLR = 54, 60  # bytes of the headers of its variable-length records
_COMPRESSED = 0x80  # in the format of the points: LAZ
_CLASSES = "classification"


def parse_las(data: bytes, choices: ReadingChoices = AS_WRITTEN) -> PointCloud:
    """Read the cloud of a LAS or LAZ file.

    Labels are a dimension of their own, as CloudCompare writes scalar fields, or, where `choices`
    tell what they mean, the class numbers. Raises InputError when laspy is not installed.
    """
    compressed = _check_las(data)
    _need("LAZ" if compressed else "LAS", ("laspy", "lazrs") if compressed else ("laspy",))
    columns = _columns("las", data)
    classes = columns.pop(_CLASSES, None)
    labelled = any(name.casefold() in LABEL_NAMES for name in columns)
    if classes is None or labelled or not classes.any():
        return cloud_from_columns(columns, as_point, choices)
    if choices.anomalous is not None:
        return cloud_from_columns(columns | {"label": classes}, as_point, choices)
    cloud = cloud_from_columns(columns, as_point, choices)
    note = f"classification not used: {ANOMALOUS_LABELS} tells which of its numbers are anomalous"
    return replace(cloud, notes=(*cloud.notes, note))


def parse_e57(data: bytes, choices: ReadingChoices = AS_WRITTEN) -> PointCloud:
    """Read the cloud of an E57 file, all of its scans together in the frame of the file.

    Points that the file marks as invalid are no points (see `ReadingChoices`). Raises InputError
    when pye57 is not installed.
    """
    if not data.startswith(b"ASTM-E57") or len(data) < 48:
        raise InputError("it is not an E57 file, or cut off")
    (length,) = struct.unpack_from("<Q", data, 16)
    if length != len(data):
        raise InputError(f"it declares {length:,} bytes and has {len(data):,}: is it cut off?")
    _need("E57", ("pye57",))
    with TemporaryDirectory(prefix="iv_e57_") as folder:
        path = Path(folder) / "scan.e57"
        path.write_bytes(data)
        columns = _columns("e57", bytes(path))
    scans = int(columns.pop("scans")[0])
    cloud = cloud_from_columns(columns, as_point, choices)
    notes = [f"{scans} scans joined by their poses"] if scans > 1 else []
    return replace(cloud, notes=(*cloud.notes, *notes))


def _check_las(data: bytes) -> bool:
    """Raise InputError when what a LAS header declares is not there; tell whether it is LAZ."""
    if not data.startswith(b"LASF") or len(data) < _SHORTEST_HEADER:
        raise InputError("it is not a LAS file, or cut off (its header is missing)")
    header, start, records, kind, size, count = struct.unpack_from("<HIIBHI", data, 94)
    extended = 0
    if data[24:26] == b"\x01\x04" and min(header, len(data)) >= _LONG_HEADER:
        extended, count = struct.unpack_from("<IQ", data, 243)
    check_count(count)
    if not count:
        raise InputError("it has no points")
    if not (
        _SHORTEST_HEADER <= header <= start <= len(data)
        and records * _VLR <= start - header
        and extended * _EVLR <= len(data)
        and size >= 20
    ):
        raise InputError("its header is damaged: what it declares lies outside of the file")
    if kind & _COMPRESSED:
        if count * size > LARGEST_CONTENT:
            raise InputError(
                f"{count:,} points of {size:,} bytes are declared; at most {LARGEST_CONTENT:,} "
                "bytes are unpacked"
            )
        return True
    if start + count * size > len(data):
        raise InputError(
            f"it is cut off: {count:,} points of {size} bytes are declared, "
            f"{(len(data) - start) // size:,} follow"
        )
    return False


def _need(kind: str, libraries: Sequence[str]) -> None:
    if missing := [library for library in libraries if find_spec(library) is None]:
        raise InputError(f"{kind} files: {not_installed(missing)}")


def _columns(file_format: str, data: bytes) -> dict[str, NDArray[Any]]:
    with np.load(io.BytesIO(run_limited(_CHILD, [file_format], data)), allow_pickle=False) as made:
        return {name: made[name] for name in made.files}
