# SPDX-License-Identifier: Apache-2.0
"""Clouds as the bytes of .pcd, .ply and text files.

Coordinates are float32 in binary files, and have nine significant digits in text, so that float32
comes back as it was. Labels are 0 or 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError

Array = NDArray[Any]
_AXES = ("x", "y", "z")


def write_pcd(points: Array, normals: Array | None = None, labels: Array | None = None) -> bytes:
    """Write PCD 0.7, binary: x y z, normal_x normal_y normal_z, label (an unsigned byte)."""
    names = ("normal_x", "normal_y", "normal_z")
    rows = _records(points, normals, labels, names, np.dtype("u1"))
    kinds = [rows.dtype[name] for name in rows.dtype.names or ()]
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n"
        f"FIELDS {' '.join(rows.dtype.names or ())}\n"
        f"SIZE {' '.join(str(kind.itemsize) for kind in kinds)}\n"
        f"TYPE {' '.join('F' if kind.kind == 'f' else 'U' for kind in kinds)}\n"
        f"COUNT {' '.join('1' for _ in kinds)}\n"
        f"WIDTH {len(rows)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(rows)}\nDATA binary\n"
    )
    return header.encode() + rows.tobytes()


def write_ply(
    points: Array,
    normals: Array | None = None,
    labels: Array | None = None,
    label: str = "label",
    label_type: Literal["uchar", "float"] = "uchar",
) -> bytes:
    """Write PLY, binary little-endian: x y z, nx ny nz, and the label.

    label, label_type : CloudCompare takes a float property `scalar_<name>` for a scalar field
    without asking.
    """
    kind = np.dtype("u1" if label_type == "uchar" else "<f4")
    rows = _records(points, normals, labels, ("nx", "ny", "nz"), kind, label)
    return _ply_header(rows) + rows.tobytes()


def write_ply_fields(points: Array, fields: Mapping[str, Array]) -> bytes:
    """Write PLY, binary little-endian: x y z, and a float property for each field (N,).

    Coordinates are float where that keeps each of them as it is, else double.
    """
    plain = np.asarray(points, dtype=np.float32)
    kind = "<f4" if np.array_equal(plain, points) else "<f8"
    columns = {**dict(zip(_AXES, np.asarray(points).T, strict=True)), **fields}
    names = [(name, kind if name in _AXES else "<f4") for name in columns]
    rows = np.zeros(len(points), dtype=names)
    for name, values in columns.items():
        rows[name] = values
    return _ply_header(rows) + rows.tobytes()


def write_text(
    points: Array,
    normals: Array | None = None,
    labels: Array | None = None,
    delimiter: str = " ",
    header: bool = False,
) -> bytes:
    """Write one line for each point: x y z, nx ny nz, label, with nine significant digits.

    header : a first line `//X Y Z Nx Ny Nz label`, which CloudCompare and `read_cloud` understand.
    """
    columns = [points] if normals is None else [points, normals]
    values = _checked(np.concatenate(columns, axis=1, dtype=np.float64), labels)
    names = ["X", "Y", "Z", "Nx", "Ny", "Nz"][: values.shape[1]]
    line = delimiter.join(["%.9g"] * values.shape[1])
    cells = values
    if labels is not None:
        line, names = f"{line}{delimiter}%d", [*names, "label"]
        cells = np.column_stack([values, labels])
    text = f"{line}\n" * len(cells) % tuple(cells.ravel().tolist())
    return (f"//{delimiter.join(names)}\n{text}" if header else text).encode()


def _ply_header(rows: Array) -> bytes:
    """Return the header of vertices that are packed records."""
    words = {"u1": "uchar", "f4": "float", "f8": "double"}
    properties = "".join(
        f"property {words[rows.dtype[name].str[1:]]} {name}\n" for name in rows.dtype.names or ()
    )
    return (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n"
        f"{properties}end_header\n"
    ).encode()


def _records(
    points: Array,
    normals: Array | None,
    labels: Array | None,
    normal_names: tuple[str, str, str],
    label_kind: np.dtype[Any],
    label: str = "label",
) -> Array:
    """Return (N,) packed records, little-endian."""
    values = _checked(points, labels)
    fields: list[tuple[str, Any]] = [(name, "<f4") for name in _AXES]
    fields += [(name, "<f4") for name in normal_names] if normals is not None else []
    fields += [(label, label_kind)] if labels is not None else []
    rows = np.zeros(len(values), dtype=fields)
    for column, name in enumerate(_AXES):
        rows[name] = values[:, column]
    if normals is not None:
        for column, name in enumerate(normal_names):
            rows[name] = normals[:, column]
    if labels is not None:
        rows[label] = labels
    return rows


def _checked(points: Array, labels: Array | None) -> Array:
    if labels is not None and (len(labels) != len(points) or not np.isin(labels, (0, 1)).all()):
        raise InputError(f"expected {len(points)} labels, each 0 or 1")
    return points
