# SPDX-License-Identifier: Apache-2.0
"""The PLY format, read by hand.

trimesh 5.2 does not take binary files whose faces differ in their number of corners, and that is
what Blender writes.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError
from intravariance.sources.off_format import fan

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
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_FACE_LISTS = ("vertex_indices", "vertex_index")


def read_ply(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(V, 3) vertices and (F, 3) faces; polygons are cut into fans, other properties ignored.

    Raises InputError when the file is not PLY, is cut off, or has no vertices or faces.
    """
    end = re.search(rb"\nend_header[ \t]*\r?\n", data)
    if not data.startswith(b"ply") or end is None:
        raise InputError("it is not a valid PLY file (it does not begin with a PLY header)")
    vertices = np.zeros((0, 3))
    faces: list[tuple[int, int, int]] = []
    try:
        order, elements = _header(data[: end.start()].decode("ascii", errors="replace"))
        body = _Body(data[end.end() :], order)
        for name, count, properties in elements:
            if all(len(types) == 1 for types in properties.values()):
                table = body.table(count, properties)
                if name == "vertex":
                    vertices = np.stack([table[axis] for axis in "xyz"], axis=1)
                continue
            for _ in range(count):
                row = {key: body.values(*types) for key, types in properties.items()}
                if name == "face":
                    faces += fan(next(row[key] for key in _FACE_LISTS if key in row))
    except (ValueError, KeyError, IndexError, StopIteration, OverflowError, struct.error) as error:
        raise InputError(
            f"it is not a valid PLY file, or cut off ({type(error).__name__}: {error})"
        ) from error
    return vertices, np.array(faces, dtype=np.int64).reshape(-1, 3)


def _header(text: str) -> tuple[str, list[tuple[str, int, dict[str, list[str]]]]]:
    """Byte order ("" is text), and name, count and properties of each element.

    The types of a property: [value], or [length, value] for a list.
    """
    order = None
    elements: list[tuple[str, int, dict[str, list[str]]]] = []
    for line in text.splitlines():
        match line.split():
            case ["format", encoding, _]:
                order = _ORDERS[encoding]
            case ["element", name, count]:
                elements.append((name, int(count), {}))
            case ["property", "list", length, value, name]:
                elements[-1][2][name] = [length, value]
            case ["property", value, name]:
                elements[-1][2][name] = [value]
    if order is None or any(count < 0 for _, count, _ in elements):
        raise ValueError("its header names no format, or a negative count")
    return order, elements


class _Body:
    """What follows the header, read from its beginning to its end."""

    def __init__(self, data: bytes, order: str) -> None:
        self.order = order
        self.data = data
        self.tokens = [] if order else data.split()
        self.position = 0  # in bytes, in tokens for text

    def table(self, count: int, properties: dict[str, list[str]]) -> dict[str, NDArray[Any]]:
        """(count,) float64 column of each property."""
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
        return {key: rows[key].astype(np.float64) for key in properties}

    def values(self, *types: str) -> tuple[Any, ...]:
        """The next number, or the numbers of the next list."""
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
