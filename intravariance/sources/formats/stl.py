# SPDX-License-Identifier: Apache-2.0
"""The STL format, binary and text, read by hand.

trimesh 5.2 says of a file that was cut off that it has no faces. The first word tells nothing:
binary files begin with "solid" too; what tells is the size that a binary file declares.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError

_HEADER = 84  # bytes: a title of 80, and the number of triangles
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read_stl(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (3 F, 3) vertices, three for each face, and (F, 3) faces.

    Raises InputError when the file is not STL, was cut off, or has bytes behind its triangles.
    """
    declared = int.from_bytes(data[80:_HEADER], "little") if len(data) >= _HEADER else -1
    if len(data) != _HEADER + declared * _TRIANGLE.itemsize and _is_text(data):
        corners = _read_text(data)
    elif declared < 0:
        raise InputError("it is not a valid STL file (shorter than its header)")
    else:
        corners = _read_binary(data, declared)
    return corners.reshape(-1, 3), np.arange(corners.size // 3, dtype=np.int64).reshape(-1, 3)


def _is_text(data: bytes) -> bool:
    return data.lstrip()[:5].lower() == b"solid" and b"\0" not in data[:1024]


def _read_binary(data: bytes, declared: int) -> NDArray[np.float64]:
    whole, rest = divmod(len(data) - _HEADER, _TRIANGLE.itemsize)
    if (whole, rest) != (declared, 0):
        state = "cut off" if whole < declared else "longer than it says"
        more = f" and {rest} bytes more" if rest else ""
        raise InputError(f"it is {state}: declares {declared} triangles, holds {whole}{more}")
    rows = np.frombuffer(data, _TRIANGLE, declared, _HEADER)
    return rows["corners"].astype(np.float64)


def _read_text(data: bytes) -> NDArray[np.float64]:
    """Read the corners of `facet ... outer loop, vertex x y z thrice, endloop, endfacet`."""
    text = data.decode("utf-8", errors="replace").lower()
    begun = len(re.findall(r"^\s*facet\b", text, re.MULTILINE))
    ended = len(re.findall(r"^\s*endfacet\b", text, re.MULTILINE))
    rows = re.findall(r"^\s*vertex\s+(\S+)\s+(\S+)\s+(\S+)\s*$", text, re.MULTILINE)
    end = "" if re.search(r"^\s*endsolid\b", text, re.MULTILINE) else ", and no endsolid"
    if begun != ended or end:
        raise InputError(f"it is cut off: declares {begun} triangles, holds {ended}{end}")
    if len(rows) != 3 * begun:
        raise InputError(
            f"it is not a valid STL file: {begun} triangles have {len(rows)} vertices that can be "
            f"read, expected {3 * begun}"
        )
    try:
        return np.array(rows, dtype=np.float64).reshape(-1, 3, 3)
    except ValueError as error:
        raise InputError(f"it is not a valid STL file ({error})") from error
