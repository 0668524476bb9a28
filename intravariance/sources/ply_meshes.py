# SPDX-License-Identifier: Apache-2.0
"""Meshes in PLY files."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files.ply_format import PLY_ERRORS, PlyBody, read_header
from intravariance.errors import InputError
from intravariance.sources.off_format import fan

_FACE_LISTS = ("vertex_indices", "vertex_index")


def read_ply(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (V, 3) vertices and (F, 3) faces; polygons are cut into fans, all else is ignored.

    Raises InputError when the file is not PLY, is cut off, or has no vertices or faces.
    """
    vertices = np.zeros((0, 3))
    faces: list[tuple[int, int, int]] = []
    try:
        header = read_header(data)
        body = PlyBody(data[header.end :], header.order)
        for element in header.elements:
            if not element.lists:
                table = body.table(element.count, element.properties)
                if element.name == "vertex":
                    vertices = np.stack([table[axis] for axis in "xyz"], axis=1)
                continue
            for _ in range(element.count):
                row = {key: body.values(*types) for key, types in element.properties.items()}
                if element.name == "face":
                    faces += fan(next(row[key] for key in _FACE_LISTS if key in row))
    except PLY_ERRORS as error:
        raise InputError(
            f"it is not a valid PLY file, or cut off ({type(error).__name__}: {error})"
        ) from error
    return vertices, np.array(faces, dtype=np.int64).reshape(-1, 3)
