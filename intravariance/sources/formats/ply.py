# SPDX-License-Identifier: Apache-2.0
"""Meshes in PLY files: faces, and triangle strips as Stanford's models have them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files.ply_format import PLY_ERRORS, PlyBody, PlyElement, read_header
from intravariance.errors import InputError
from intravariance.sources.formats.polygons import triangulate

_CORNERS = ("vertex_indices", "vertex_index")


def read_ply(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (V, 3) vertices and (F, 3) faces; what else the file has is ignored.

    Raises InputError when the file is not PLY, is cut off, or has no vertices or faces.
    """
    vertices = np.zeros((0, 3))
    polygons: list[Sequence[int]] = []
    try:
        header = read_header(data)
        body = PlyBody(data[header.end :], header.order)
        for element in header.elements:
            if element.name == "vertex":
                vertices = _vertices(body, element)
            elif element.name == "face":
                polygons += _lists(body, element)
            elif element.name == "tristrips":
                polygons += [t for strip in _lists(body, element) for t in strip_triangles(strip)]
            elif element.lists:
                body.skip(element)
            else:
                body.table(element.count, element.properties)
    except PLY_ERRORS as error:
        raise InputError(
            f"it is not a valid PLY file, or cut off ({type(error).__name__}: {error})"
        ) from error
    if not polygons:
        found = ", ".join(f"{element.count} {element.name}" for element in header.elements)
        raise InputError(
            f"it has no faces but {found or 'nothing'} (point clouds and lines cannot be base "
            "meshes)"
        )
    return vertices, triangulate(vertices, polygons)


def strip_triangles(strip: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return the triangles of a strip; a negative number begins a new one.

    Every other triangle is turned round, so that all face one side. Those with a corner twice
    only lead to another place, and are left out.
    """
    triangles = []
    start = 0
    for index in range(len(strip)):
        if strip[index] < 0:
            start = index + 1
        elif index - start >= 2:
            a, b, c = strip[index - 2 : index + 1]
            if a != b and b != c and c != a:
                triangles.append((a, b, c) if (index - start) % 2 == 0 else (b, a, c))
    return triangles


def _vertices(body: PlyBody, element: PlyElement) -> NDArray[np.float64]:
    if not element.lists:
        table = body.table(element.count, element.properties)
        return np.stack([table[axis] for axis in "xyz"], axis=1)
    rows = []
    for _ in range(element.count):
        row = {key: body.values(*types) for key, types in element.properties.items()}
        rows.append([row[axis][0] for axis in "xyz"])
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _lists(body: PlyBody, element: PlyElement) -> list[tuple[int, ...]]:
    """Return the list of corners in each row."""
    key = next(key for key in _CORNERS if key in element.lists)
    found = []
    for _ in range(element.count):
        row = {name: body.values(*types) for name, types in element.properties.items()}
        found.append(row[key])
    return found
