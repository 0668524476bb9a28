# SPDX-License-Identifier: Apache-2.0
"""The PLY format, read by hand: header and body, for meshes and clouds.

trimesh 5.2 does not take binary files whose faces differ in their number of corners, and that is
what Blender writes; Open3D 0.20 ends the process on damaged files. Meshes are read by
`intravariance.sources.formats.ply`, clouds by `intravariance.cloud_files.ply`.

plyfile 1.1.5 was tried in place of this module and failed our tests of hostile files: it allocates
what a header declares, 63 GiB for a mesh file of 543 bytes, before it reads a row. It passes over
a million faces behind a cloud in 4.5 s (this module: 0.03 s) and reads a million points of text in
7.8 s (1.1 s). Its licence is the GPL, and it needs NumPy 2, which Blender's wheel cannot take.
pyminiply 0.2.3 reads no labels, and coordinates in single precision alone.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError

# PLY's names of types, old and new, as NumPy and `struct` call them ("<", ">": standard sizes).
_TYPES = {
    **dict.fromkeys(("char", "int8"), ("i1", "b")),
    **dict.fromkeys(("uchar", "uint8"), ("u1", "B")),
    **dict.fromkeys(("short", "int16"), ("i2", "h")),
    **dict.fromkeys(("ushort", "uint16"), ("u2", "H")),
    **dict.fromkeys(("int", "int32"), ("i4", "i")),
    **dict.fromkeys(("uint", "uint32"), ("u4", "I")),
    **dict.fromkeys(("float", "float32"), ("f4", "f")),
    **dict.fromkeys(("double", "float64"), ("f8", "d")),
}
_LONGEST_HEADER = 2**20  # bytes
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}

# Errors that damaged files raise below.
PLY_ERRORS = (ValueError, KeyError, IndexError, StopIteration, OverflowError, struct.error)


@dataclass(frozen=True)
class PlyElement:
    """properties : types of each property, [value], or [length, value] for a list."""

    name: str
    count: int
    properties: dict[str, list[str]] = field(default_factory=dict)

    @property
    def lists(self) -> list[str]:
        """Return the names of the properties that are lists."""
        return [name for name, types in self.properties.items() if len(types) == 2]


@dataclass(frozen=True)
class PlyHeader:
    """order : of bytes, "<" or ">", "" is text. end : where the body begins in the file."""

    order: str
    elements: list[PlyElement]
    end: int


def read_header(data: bytes) -> PlyHeader:
    """Read the header of a file.

    Raises InputError where there is none, PLY_ERRORS where it is bad.
    """
    end = re.search(rb"\nend_header[ \t]*\r?\n", data[:_LONGEST_HEADER])
    if not data.startswith(b"ply") or end is None:
        raise InputError("it is not a valid PLY file (it does not begin with a PLY header)")
    order = None
    elements: list[PlyElement] = []
    for line in data[: end.start()].decode("ascii", errors="replace").splitlines():
        match line.split():
            case ["format", encoding, _]:
                order = _ORDERS[encoding]
            case ["element", name, count]:
                elements.append(PlyElement(name, int(count)))
            case ["property", "list", length, value, name]:
                elements[-1].properties[name] = [length, value]
            case ["property", value, name]:
                elements[-1].properties[name] = [value]
    if order is None or any(element.count < 0 for element in elements):
        raise ValueError("its header names no format, or a negative count")
    return PlyHeader(order, elements, end.end())


class PlyBody:
    """The content after the header, read from its beginning to its end."""

    def __init__(self, data: bytes, order: str) -> None:
        self.order = order
        self.data = data
        self.tokens = [] if order else data.split()
        self.position = 0  # in bytes, in tokens for text

    def table(self, count: int, properties: dict[str, list[str]]) -> dict[str, NDArray[Any]]:
        """Return (count,) float64 column of each property."""
        if not properties:
            return {}
        start = self.position
        if not self.order:
            self.position += count * len(properties)
            cells = np.array(self.tokens[start : self.position], dtype=np.float64)
            columns = cells.reshape(count, len(properties)).T
            return dict(zip(properties, columns, strict=True))
        kind = np.dtype([(key, self.order + _TYPES[t][0]) for key, (t,) in properties.items()])
        self.position += count * kind.itemsize
        rows = np.frombuffer(self.data, kind, count, start)
        with np.errstate(invalid="ignore"):  # a signalling NaN
            return {key: rows[key].astype(np.float64) for key in properties}

    def skip(self, element: PlyElement) -> None:
        """Go past an element, at once where the lists of all rows are as long as the first row's.

        Row by row a mesh of a million triangles takes seconds.
        """
        start = self.position
        if self.order and element.count:
            fields: list[tuple[Any, ...]] = []
            for name, types in element.properties.items():
                codes = [self.order + _TYPES[kind][0] for kind in types]
                length = len(self.values(*types))
                if len(types) == 2:
                    fields.append((f"length of {name}", codes[0]))
                fields.append((name, codes[-1], (length,)))
            kind = np.dtype(fields)
            end = start + element.count * kind.itemsize
            if end <= len(self.data):
                rows = np.frombuffer(self.data, kind, element.count, start)
                lengths = [rows[f"length of {name}"] for name in element.lists]
                if all((length == length[0]).all() for length in lengths):
                    self.position = end
                    return
            self.position = start
        for _ in range(element.count):
            for types in element.properties.values():
                self.values(*types)

    def left(self) -> int:
        """Count the bytes (text: words) after what was read; blank ones do not count."""
        if self.order:
            return len(self.data[self.position :].strip(b"\0\r\n "))
        return max(0, len(self.tokens) - self.position)

    def values(self, *types: str) -> tuple[Any, ...]:
        """Read the next number, or the numbers of the next list."""
        count = int(self._take(types[0], 1)[0]) if len(types) == 2 else 1
        return self._take(types[-1], count)

    def _take(self, kind: str, count: int) -> tuple[Any, ...]:
        start = self.position
        if self.order:
            layout = f"{self.order}{count}{_TYPES[kind][1]}"
            self.position += struct.calcsize(layout)
            return struct.unpack_from(layout, self.data, start)
        self.position += count
        if not start <= self.position <= len(self.tokens):
            raise ValueError("a list goes beyond the end")
        number = float if _TYPES[kind][1] in "fd" else int
        return tuple(number(token) for token in self.tokens[start : self.position])
