# SPDX-License-Identifier: Apache-2.0
"""One small cloud, in every kind of file that is read."""

from __future__ import annotations

import io
import struct

import numpy as np

from intravariance.cloud_files import (
    write_pcd,
    write_ply,
    write_text,
)

# Numbers that text and float32 hold exactly.

POINTS = np.array([(0, 0.5, -1), (2, 3.25, 4), (-8, 16, 0.125), (1, 1, 1)])
NORMALS = np.array([(1, 0, 0), (0, -1, 0), (0, 0, 1), (0.6, 0, 0.8)])
LABELS = np.array([0, 1, 0, 1], dtype=np.uint8)
ROWS = np.column_stack([POINTS, NORMALS, LABELS])
PCD_FIELDS = (
    "VERSION 0.7\nFIELDS x y z normal_x normal_y normal_z label\nSIZE 4 4 4 4 4 4 1\n"
    "TYPE F F F F F F U\nCOUNT 1 1 1 1 1 1 1\nWIDTH 2\nHEIGHT 2\nVIEWPOINT 0 0 0 1 0 0 0\n"
    "POINTS 4\nDATA "
)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def npz(compressed: bool = False, **arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def lines(rows: np.ndarray, mark: str = " ", end: str = "\n") -> str:
    return "".join(mark.join(f"{value:g}" for value in row) + end for row in rows)


def pcd_compressed(literal_runs: bytes | None = None) -> bytes:
    content = b"".join(column.astype("<f4").tobytes() for column in ROWS[:, :6].T)
    content += LABELS.tobytes()
    packed = literal_runs if literal_runs is not None else lzf_literals(content)
    sizes = struct.pack("<II", len(packed), len(content))
    return (PCD_FIELDS + "binary_compressed\n").encode() + sizes + packed


def lzf_literals(content: bytes) -> bytes:
    """Make the simplest LZF stream: no copies at all."""
    runs = [content[start : start + 32] for start in range(0, len(content), 32)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


def ply(order: str, kinds: str = "ffffffB") -> bytes:
    """Write PLY by hand, with a colour between and faces behind; order : "<", ">" or "" (text)."""
    encoding = {"<": "binary_little_endian", ">": "binary_big_endian", "": "ascii"}[order]
    types = {"f": "float", "d": "double", "B": "uchar", "i": "int"}
    names = ["x", "y", "z", "nx", "ny", "nz", "label"]
    properties = [f"property {types[kind]} {name}" for kind, name in zip(kinds, names, strict=True)]
    header = "\n".join(
        (
            *("ply", f"format {encoding} 1.0", "comment by hand", "element vertex 4"),
            *(*properties[:3], "property uchar red", *properties[3:]),
            *("element face 1", "property list uchar int vertex_indices", "end_header\n"),
        )
    )
    if not order:
        text = lines(np.insert(ROWS, 3, 7, axis=1))
        return (header + text + "3 0 1 2\n").encode()
    layout = f"{order}{kinds[:3]}B{kinds[3:]}"
    whole = {key for key, kind in enumerate(kinds) if kind in "Bi"}
    body = b"".join(
        struct.pack(layout, *cells[:3], 7, *cells[3:])
        for cells in (
            [int(v) if key in whole else v for key, v in enumerate(row)] for row in ROWS.tolist()
        )
    )
    return header.encode() + body + struct.pack(f"{order}B3i", 3, 0, 1, 2)


FULL = {
    "text": ("a.txt", lines(ROWS).encode()),
    "tabs and Windows line ends": ("a.xyz", lines(ROWS, "\t", "\r\n").encode()),
    "commas": ("a.csv", lines(ROWS, ",").encode()),
    "commas and spaces": ("a.csv", lines(ROWS, ", ").encode()),
    "semicolons": ("a.asc", lines(ROWS, ";").encode()),
    "blank lines, no last break": ("a.txt", b"\n" + lines(ROWS, " ", "\n\n").encode().rstrip()),
    "byte order mark": ("a.txt", b"\xef\xbb\xbf" + lines(ROWS).encode()),
    "names in another order": (
        "a.csv",
        ("label,Nx,Ny,Nz,Z,Y,X\n" + lines(ROWS[:, [6, 3, 4, 5, 2, 1, 0]], ",")).encode(),
    ),
    "CloudCompare's text": (
        "a.asc",
        (
            "//X Y Z R G B scalar_Label Nx Ny Nz\n4\n"
            + lines(np.column_stack([POINTS, np.full((4, 3), 255), LABELS, NORMALS]))
        ).encode(),
    ),
    "CloudCompare's unnamed scalar": (
        "a.txt",
        ("//X Y Z Scalar_field Nx Ny Nz\n" + lines(ROWS[:, [0, 1, 2, 6, 3, 4, 5]])).encode(),
    ),
    "comment": ("a.txt", b"# by hand\n# x y z nx ny nz gt\n" + lines(ROWS).encode()),
    "a comma at the end of each line": ("a.csv", lines(ROWS, ",", ",\n").encode()),
    "empty last fields, names": (
        "a.asc",
        ("x;y;z;nx;ny;nz;label;;\n" + lines(ROWS, ";", "; ;\r\n")).encode(),
    ),
    "PTS with a count": ("a.pts", ("4\n" + lines(ROWS)).encode()),
    "npz, an array": ("a.npz", npz(arr_0=ROWS)),
    "npz, compressed, arrays by name": (
        "a.npz",
        npz(True, normals=NORMALS.astype("f4"), label=LABELS.astype(bool), points=POINTS),
    ),
    "npy": ("a.npy", npy(ROWS)),
    "npy, Fortran order, big-endian": ("a.npy", npy(np.asfortranarray(ROWS).astype(">f4"))),
    "PLY text": ("a.ply", ply("")),
    "PLY little-endian": ("a.ply", ply("<")),
    "PLY big-endian": ("a.PLY", ply(">", "dddfffi")),
    "PLY, CloudCompare's label": (
        "a.ply",
        write_ply(POINTS, NORMALS, LABELS, "scalar_Label", "float"),
    ),
    "PCD text": ("a.pcd", (PCD_FIELDS + "ascii\n" + lines(ROWS)).encode()),
    "PCD binary": ("a.pcd", write_pcd(POINTS, NORMALS, LABELS)),
    "PCD binary, filled up": ("a.pcd", write_pcd(POINTS, NORMALS, LABELS) + bytes(64)),
    "PCD compressed": ("a.pcd", pcd_compressed()),
    "written text": ("a.txt", write_text(POINTS, NORMALS, LABELS, ",", header=True)),
}
