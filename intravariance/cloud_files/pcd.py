# SPDX-License-Identifier: Apache-2.0
"""The PCD format of the Point Cloud Library, version 0.7 (0.6 differs in nothing that matters).

A text header (FIELDS SIZE TYPE COUNT WIDTH HEIGHT POINTS DATA), then the points: `ascii`, `binary`
(packed records, little-endian) or `binary_compressed` (two uint32, the sizes with and without
compression, then LZF of the fields one after the other). Fields named `_` are padding.

pypcd4 1.5.1 was tried in place of this module and failed our tests of damaged files. It reads a
file whose POINTS are not WIDTH times HEIGHT, and one with bytes behind its points, as if nothing
were wrong: both are signs of a damaged copy. It unpacks whatever size a compressed file declares:
24 MB that declare four points took 4.3 GB. It also needs pydantic and a compiled LZF. pcd-py 0.2.0
needs NumPy 2, which Blender's wheel cannot take.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files.choices import AS_WRITTEN, ReadingChoices
from intravariance.cloud_files.cloud import PointCloud, check_count, cloud_from_columns
from intravariance.cloud_files.lzf import decompress
from intravariance.cloud_files.text import line_names, parse_rows
from intravariance.errors import InputError

_SIZES = {"F": (4, 8), "I": (1, 2, 4, 8), "U": (1, 2, 4, 8)}
_LARGEST_RECORD = 10_000  # numbers of a point; descriptors have some hundreds
_DATA_LINE = re.compile(rb"^DATA[ \t]+(\w+)[ \t]*\r?\n", re.MULTILINE)


@dataclass(frozen=True)
class _Header:
    """kinds : NumPy type and count of each field, in order. end : bytes before the data."""

    kinds: list[tuple[str, np.dtype[Any], int]]
    points: int
    encoding: str
    end: int


def parse_pcd(data: bytes, choices: ReadingChoices = AS_WRITTEN) -> PointCloud:
    """Read the cloud of a PCD file.

    Raises InputError when it is damaged, cut off or of other data.
    """
    header = _read_header(data)
    body = data[header.end :]
    if header.points == 0:
        raise InputError("it has no points (POINTS 0)")
    check_count(header.points)
    if header.encoding == "ascii":
        columns, where = _ascii(body, header, data[: header.end].count(b"\n"))
        return cloud_from_columns(columns, where, choices)
    unpack = _records if header.encoding == "binary" else _compressed
    return cloud_from_columns(unpack(body, header), choices=choices)


def _read_header(data: bytes) -> _Header:
    end = _DATA_LINE.search(data[:100_000])
    if end is None:
        raise InputError("it is not a PCD file, or its header is cut off (no line DATA)")
    encoding = end[1].decode("ascii", errors="replace").lower()
    if encoding not in ("ascii", "binary", "binary_compressed"):
        raise InputError(f"DATA {encoding}: expected ascii, binary or binary_compressed")
    entries: dict[str, list[str]] = {}
    for line in data[: end.start()].decode("ascii", errors="replace").splitlines():
        key, *values = line.split() or ["#"]
        if not key.startswith("#"):
            entries[key] = values
    try:
        fields, types = entries["FIELDS"], entries["TYPE"]
        sizes = [int(size) for size in entries["SIZE"]]
        counts = [int(count) for count in entries.get("COUNT", ["1"] * len(fields))]
        width, height = (int(entries.get(key, ["1"])[0]) for key in ("WIDTH", "HEIGHT"))
        points = int(entries.get("POINTS", [str(width * height)])[0])
        if "WIDTH" in entries and points != width * height:
            raise InputError(f"POINTS is {points}, WIDTH times HEIGHT {width} x {height}")
        rows = list(zip(fields, types, sizes, counts, strict=True))
        if any(size not in _SIZES[kind] or count < 1 for _, kind, size, count in rows):
            raise ValueError("a SIZE or COUNT that no field can have")
        if points < 0 or sum(counts) > _LARGEST_RECORD:
            raise ValueError("a negative or huge count")
    except (KeyError, ValueError, IndexError, OverflowError) as error:
        raise InputError(
            f"its PCD header is damaged ({type(error).__name__}: {error}); expected are FIELDS, "
            "SIZE, TYPE, COUNT with one entry for each field, and WIDTH, HEIGHT, POINTS"
        ) from error
    names = [field for field in fields if field != "_"]
    if len(set(names)) != len(names):
        raise InputError(f"its header names a field twice: {' '.join(names)}")
    kinds = [(name, np.dtype(f"<{kind.lower()}{size}"), count) for name, kind, size, count in rows]
    return _Header(kinds, points, encoding, end.end())


def _ascii(
    body: bytes, header: _Header, lines_before: int
) -> tuple[dict[str, NDArray[Any]], Callable[[int], str]]:
    body = body.replace(b"\r", b"")
    values = parse_rows(body, lines_before)
    width = sum(count for _, _, count in header.kinds)
    if values.shape != (header.points, width):
        raise InputError(
            f"{header.points:,} points of {width} numbers are declared, "
            f"{len(values):,} of {values.shape[1]} follow: is it cut off?"
        )
    columns, column = {}, 0
    for name, _, count in header.kinds:
        if count == 1 and name != "_":
            columns[name] = values[:, column]
        column += count
    return columns, line_names(body, lines_before)


def _records(body: bytes, header: _Header) -> dict[str, NDArray[Any]]:
    offsets, size = [], 0
    for _, kind, count in header.kinds:
        offsets.append(size)
        size += kind.itemsize * count
    needed = size * header.points
    _check_size(len(body), needed, body[needed:], header)
    rows = np.frombuffer(body, np.uint8, needed).reshape(header.points, size)
    return {
        name: np.ascontiguousarray(rows[:, offset : offset + kind.itemsize]).view(kind)[:, 0]
        for (name, kind, count), offset in zip(header.kinds, offsets, strict=True)
        if count == 1 and name != "_"
    }


def _compressed(body: bytes, header: _Header) -> dict[str, NDArray[Any]]:
    if len(body) < 8:
        raise InputError("it is cut off: the sizes of the compressed data are missing")
    packed, size = (int(number) for number in np.frombuffer(body, "<u4", 2))
    needed = header.points * sum(kind.itemsize * count for _, kind, count in header.kinds)
    if size != needed:
        raise InputError(
            f"{header.points:,} points take {needed:,} bytes, and {size:,} are declared"
        )
    _check_size(len(body) - 8, packed, body[8 + packed :], header)
    content = decompress(body[8 : 8 + packed], size)
    columns, offset = {}, 0
    for name, kind, count in header.kinds:
        if count == 1 and name != "_":
            columns[name] = np.frombuffer(content, kind, header.points, offset)
        offset += kind.itemsize * count * header.points
    return columns


def _check_size(present: int, needed: int, rest: bytes, header: _Header) -> None:
    if present < needed:
        raise InputError(
            f"it is cut off: {header.points:,} points take {needed:,} bytes, {present:,} follow"
        )
    if rest.strip(b"\0\n\r "):  # some writers fill up to a page
        raise InputError(f"{len(rest):,} bytes follow the {header.points:,} points declared")
