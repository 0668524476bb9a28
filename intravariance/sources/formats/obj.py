# SPDX-License-Identifier: Apache-2.0
"""The OBJ format, read by hand: vertices and faces of all objects; materials are not opened.

trimesh 5.2 takes no comments behind faces, counts relative indices from the end of the file
instead of from where the face stands, and cuts polygons into fans.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError
from intravariance.sources.formats.polygons import triangulate


def read_obj(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (V, 3) vertices and (F, 3) faces; all but `v` and `f` lines is ignored.

    Raises InputError when a line cannot be read, or a face refers to a vertex that is not there.
    """
    text = data.decode("utf-8-sig", errors="replace")
    text = re.sub(r"\\[ \t]*\r?\n", " ", text)  # a line carried on
    vertices: list[list[float]] = []
    polygons: list[list[int]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            if words[0] == "v":
                x, y, z = words[1:4]
                vertices.append([float(x), float(y), float(z)])
            elif words[0] in ("f", "fo"):  # `fo` in old files
                polygons.append(_corners(words[1:], len(vertices)))
        except ValueError as error:
            raise InputError(
                f"it is not a valid OBJ file (line {number}, {line.strip()[:60]!r}: {error})"
            ) from error
    points = np.array(vertices, dtype=np.float64).reshape(-1, 3)
    return points, triangulate(points, polygons)


def _corners(words: list[str], count: int) -> list[int]:
    """Return the corners of a face after `count` vertices, counted from 0.

    A word is vertex[/texture[/normal]]; -1 is the last vertex before the face.
    """
    corners = [int(word.partition("/")[0]) for word in words]
    if 0 in corners:
        raise ValueError("vertices are counted from 1")
    if corners and min(corners) < -count:
        raise ValueError(f"{count} vertices stand before it")
    return [corner - 1 if corner > 0 else count + corner for corner in corners]
