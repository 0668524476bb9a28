# SPDX-License-Identifier: Apache-2.0
"""The child process that parses and repairs one foreign mesh file.

    python -m intravariance.sources.reading FORMAT MEMORY SECONDS  < file  > arrays.npz

It is given the bytes of the file and no path, so it opens nothing that the file refers to (material
libraries, textures, buffers). Its limits and its exit codes are those of `executors.limited`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from intravariance.executors.limited import in_child
from intravariance.sources.formats.glb import read_glb
from intravariance.sources.formats.obj import read_obj
from intravariance.sources.formats.off import read_off
from intravariance.sources.formats.ply import read_ply
from intravariance.sources.formats.stl import read_stl
from intravariance.sources.repair import make_base_mesh

READERS = {"glb": read_glb, "obj": read_obj, "off": read_off, "ply": read_ply, "stl": read_stl}


def read_triangles(data: bytes, file_format: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (V, 3) float64 vertices and (F, 3) int64 faces of all objects of a file together.

    file_format : a key of READERS. Raises InputError, whatever is wrong.
    """
    return READERS[file_format](data)


def main(file_format: str, memory: int, seconds: int) -> int:
    """Read stdin, write the prepared mesh to stdout; returns the exit code."""

    def work(data: bytes) -> Callable[[BinaryIO], None]:
        made = make_base_mesh(*read_triangles(data, file_format))
        return partial(
            np.savez,
            vertices=made.mesh.vertices,
            faces=made.mesh.faces,
            surface_error=np.float64(made.surface_error),
            unit_radius=np.float64(made.unit_radius),
            repair=np.array(made.repair),
            centre=np.array(made.centre),
        )

    return in_child(memory, seconds, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
