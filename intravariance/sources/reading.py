# SPDX-License-Identifier: Apache-2.0
"""The child process that parses and repairs one foreign mesh file.

    python -m intravariance.sources.reading FORMAT MEMORY SECONDS  < file  > arrays.npz

It is given the bytes of the file and no path, so it opens nothing that the file refers to (material
libraries, textures, buffers). A damaged or hostile file can at most end this process: MEMORY bytes
of address space and SECONDS of processor time are its limits where the operating system has them.
Exit code 0: the arrays are on stdout; 2: the reason is the last line of stderr.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError
from intravariance.sources.glb_format import read_glb
from intravariance.sources.obj_format import read_obj
from intravariance.sources.off_format import read_off
from intravariance.sources.ply_meshes import read_ply
from intravariance.sources.repair import make_base_mesh
from intravariance.sources.stl_format import read_stl

try:
    import resource
except ImportError:  # Windows: only the parent's patience limits the child there
    resource = None  # type: ignore[assignment]


READERS = {"glb": read_glb, "obj": read_obj, "off": read_off, "ply": read_ply, "stl": read_stl}


def read_triangles(data: bytes, file_format: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (V, 3) float64 vertices and (F, 3) int64 faces of all objects of a file together.

    file_format : a key of READERS. Raises InputError, whatever is wrong.
    """
    return READERS[file_format](data)


def main(file_format: str, memory: int, seconds: int) -> int:
    """Read stdin, write the prepared mesh to stdout; returns the exit code."""
    _limit(memory, seconds)
    result = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native libraries print must not mix with the arrays
    try:
        made = make_base_mesh(*read_triangles(sys.stdin.buffer.read(), file_format))
    except InputError as problem:
        print(" ".join(str(problem).split()), file=sys.stderr)
        return 2
    except MemoryError:
        print(f"it needs more than {memory / 2**30:.0f} GiB of memory", file=sys.stderr)
        return 2
    with result:
        np.savez(
            result,
            vertices=made.mesh.vertices,
            faces=made.mesh.faces,
            surface_error=np.float64(made.surface_error),
            unit_radius=np.float64(made.unit_radius),
            repair=np.array(made.repair),
            centre=np.array(made.centre),
        )
    return 0


def _limit(memory: int, seconds: int) -> None:
    if resource is None:
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
