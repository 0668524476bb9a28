# SPDX-License-Identifier: Apache-2.0
"""The child process that parses and repairs one foreign mesh file.

    python -m intravariance.sources.reading FORMAT MEMORY SECONDS  < file  > arrays.npz

It is given the bytes of the file and no path, so it opens nothing that the file refers to (material
libraries, textures, buffers). A damaged or hostile file can at most end this process: MEMORY bytes
of address space and SECONDS of processor time are its limits where the operating system has them.
Exit code 0: the arrays are on stdout; 2: the reason is the last line of stderr.
"""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError
from intravariance.sources.off_format import read_off
from intravariance.sources.ply_meshes import read_ply
from intravariance.sources.repair import make_base_mesh

try:
    import resource
except ImportError:  # Windows: only the parent's wall clock limits the child there
    resource = None  # type: ignore[assignment]


def read_triangles(data: bytes, file_format: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (V, 3) float64 vertices and (F, 3) int64 faces of all objects of a file together.

    file_format : "off", "obj", "ply", "stl" or "glb". Raises InputError, whatever is wrong.
    """
    if file_format == "off":
        return read_off(data)
    if file_format == "ply":
        return read_ply(data)
    if file_format == "obj":
        data = re.sub(rb"#[^\r\n]*", b"", data)  # trimesh takes no comments behind faces
    import trimesh  # noqa: PLC0415 - weight

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged files; what is read is checked afterwards
            scene = trimesh.load_scene(
                io.BytesIO(data), file_type=file_format, process=False, skip_materials=True
            )
            parts = [
                part
                for part in scene.dump()
                if isinstance(part, trimesh.Trimesh) and len(part.faces)
            ]
    except MemoryError:
        raise
    except Exception as error:  # seven exception types were met on damaged files
        raise InputError(
            f"it is not a valid {file_format.upper()} file ({type(error).__name__}: {error})"
        ) from error
    if not parts:
        raise InputError("it has no faces (point clouds and lines cannot be base meshes)")
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    vertices = np.concatenate([np.asarray(part.vertices, dtype=np.float64) for part in parts])
    faces = [
        np.asarray(part.faces, dtype=np.int64) + offset
        for part, offset in zip(parts, offsets, strict=True)
    ]
    return vertices, np.concatenate(faces)


def main(file_format: str, memory: int, seconds: int) -> int:
    """Read stdin, write the prepared mesh to stdout; returns the exit code."""
    _limit(memory, seconds)
    result = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native libraries print must not mix with the arrays
    try:
        mesh, error = make_base_mesh(*read_triangles(sys.stdin.buffer.read(), file_format))
    except InputError as problem:
        print(" ".join(str(problem).split()), file=sys.stderr)
        return 2
    except MemoryError:
        print(f"it needs more than {memory / 2**30:.0f} GiB of memory", file=sys.stderr)
        return 2
    with result:
        np.savez(result, vertices=mesh.vertices, faces=mesh.faces, surface_error=np.float64(error))
    return 0


def _limit(memory: int, seconds: int) -> None:
    if resource is None:
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
