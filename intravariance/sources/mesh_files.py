# SPDX-License-Identifier: Apache-2.0
"""Which files are meshes: by suffix, and of those that may be clouds by whether they have faces."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from intravariance.sources.finding import FORMATS

MESH_SUFFIXES = tuple(f".{name}" for name in FORMATS)
# Marks of a mesh in a file that may also be a cloud: a count of faces, a line of a face.
_FACES = {
    ".ply": re.compile(rb"\Aply[\s\S]{0,20000}?\nelement\s+(face|tristrips)\s+0*[1-9]"),
    ".obj": re.compile(rb"^\s*f\s", re.MULTILINE),
}
_PLY_VERTICES = re.compile(rb"\Aply[\s\S]{0,20000}?\nelement\s+vertex\s+(\d+)")
_OBJ_VERTEX = re.compile(rb"^\s*v\s", re.MULTILINE)


def may_be_mesh(name: str) -> bool:
    """Tell by its name whether a file is a mesh, or a cloud that may have faces."""
    return name.lower().endswith(MESH_SUFFIXES)


def may_be_cloud(name: str) -> bool:
    """Tell by its name whether a file that may be a mesh may be a cloud, too."""
    return PurePosixPath(name).suffix.lower() in _FACES


def has_faces(data: bytes, name: str) -> bool:
    """Tell whether the bytes of the file `name` are a mesh."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in MESH_SUFFIXES:
        return False
    return suffix not in _FACES or bool(_FACES[suffix].search(data))


def vertex_count(data: bytes, name: str) -> int | None:
    """Count the vertices of a mesh that may be a cloud, too; None for other formats."""
    match PurePosixPath(name).suffix.lower():
        case ".ply":
            found = _PLY_VERTICES.search(data)
            return int(found[1]) if found else 0
        case ".obj":
            return len(_OBJ_VERTEX.findall(data))
    return None
