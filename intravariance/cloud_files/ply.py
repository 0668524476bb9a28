# SPDX-License-Identifier: Apache-2.0
"""The vertices of PLY files, text and binary of both byte orders; faces are left out."""

from __future__ import annotations

import io
from typing import Any

from numpy.typing import NDArray

from intravariance.cloud_files.choices import AS_WRITTEN, ReadingChoices
from intravariance.cloud_files.cloud import PointCloud, check_count, cloud_from_columns
from intravariance.cloud_files.ply_format import PLY_ERRORS, PlyBody, PlyHeader, read_header
from intravariance.cloud_files.text import line_names, parse_rows
from intravariance.errors import InputError


def parse_ply(data: bytes, choices: ReadingChoices = AS_WRITTEN) -> PointCloud:
    """Read the cloud of the element `vertex`. Raises InputError when it is damaged or cut off.

    Properties are x y z, nx ny nz, and a label in any of the names that `cloud_from_columns` knows.
    """
    try:
        header = read_header(data)
        names = [element.name for element in header.elements]
        if names.count("vertex") != 1:
            raise InputError("its header declares no element vertex, or several")
        vertex = header.elements[names.index("vertex")]
        check_count(vertex.count)
        if not vertex.count:
            raise InputError("it has no points")
        if vertex.lists:
            raise InputError(f"its vertices have lists ({', '.join(vertex.lists)})")
        if not header.order:
            return _text_vertices(data, header, names.index("vertex"), choices)
        body = PlyBody(data[header.end :], header.order)
        columns: dict[str, NDArray[Any]] = {}
        for element in header.elements:
            if not element.lists:
                table = body.table(element.count, element.properties)
                columns = table if element.name == "vertex" else columns
            else:
                body.skip(element)
        left = body.left()
    except PLY_ERRORS as error:
        raise InputError(
            f"it is not a valid PLY file, or cut off ({type(error).__name__}: {error})"
        ) from error
    if left:
        raise InputError(f"{left:,} bytes follow what its header declares")
    return cloud_from_columns(columns, choices=choices)


def _text_vertices(
    data: bytes, header: PlyHeader, place: int, choices: ReadingChoices
) -> PointCloud:
    """Read a text file, of which each row of an element is a line. place : of the vertices."""
    element = header.elements[place]
    body = data[header.end :].replace(b"\r", b"")
    lines_before = data[: header.end].count(b"\n")
    # Counted before anything is allocated for as many rows as the header claims.
    filled = sum(1 for line in io.BytesIO(body) if line.strip())
    declared = sum(other.count for other in header.elements)
    if filled != declared:
        raise InputError(f"{declared:,} lines are declared, {filled:,} follow: is it cut off?")
    lines = io.BytesIO(body)
    others = sum(other.count for other in header.elements[:place])
    while others:
        others -= bool(lines.readline().strip())
        lines_before += 1
    body = body[lines.tell() :]
    values = parse_rows(body, lines_before, rows=element.count)
    if values.shape[1] != len(element.properties):
        raise InputError(
            f"line {lines_before + 1}: {values.shape[1]} numbers, and the header declares "
            f"{len(element.properties)} properties ({' '.join(element.properties)})"
        )
    columns = dict(zip(element.properties, values.T, strict=True))
    return cloud_from_columns(columns, line_names(body, lines_before), choices)
