# SPDX-License-Identifier: Apache-2.0
"""The OFF format, ModelNet40's, read by hand.

trimesh 5.2 does not take polygons of more than four corners beside other faces, and does not
notice a file that was cut off. Many ModelNet40 files begin `OFF14963 19985 0`, without a line
break after the keyword.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError
from intravariance.sources.formats.polygons import triangulate


def read_off(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (V, 3) vertices and (F, 3) faces; colours are ignored.

    Raises InputError when the file is not OFF, is cut off or has an index out of range.
    """
    text = data.decode("utf-8-sig", errors="replace")
    lines = [line for line in (row.partition("#")[0].strip() for row in text.splitlines()) if line]
    keyword = re.match(r"(?:ST|C|N)*OFF\b|OFF(?=\d)", lines[0]) if lines else None
    if keyword is None:
        raise InputError(f"it does not begin with OFF but with {lines[:1]}")
    lines[0] = lines[0][keyword.end() :].strip()
    if not lines[0]:
        lines.pop(0)
    try:
        n_vertices, n_faces = (int(number) for number in lines[0].split()[:2])
        if min(n_vertices, n_faces) < 0 or len(lines) < 1 + n_vertices + n_faces:
            raise InputError(
                f"it is cut off: {n_vertices} vertices and {n_faces} faces are declared, "
                f"{len(lines) - 1} lines follow"
            )
        rows = [line.split()[:3] for line in lines[1 : 1 + n_vertices]]
        vertices = np.array(rows, dtype=np.float64).reshape(n_vertices, 3)
        polygons = [_corners(row) for row in lines[1 + n_vertices : 1 + n_vertices + n_faces]]
        return vertices, triangulate(vertices, polygons)
    except (ValueError, IndexError, OverflowError) as error:
        raise InputError(f"it is not a valid OFF file ({error})") from error


def _corners(line: str) -> list[int]:
    """Return the corners in one face line `n i_1 ... i_n [colour]`."""
    numbers = line.split()
    count = int(numbers[0])
    corners = [int(number) for number in numbers[1 : 1 + count]]
    if len(corners) != count:
        raise ValueError(f"a face of {count} corners lists {len(corners)}")
    return corners
