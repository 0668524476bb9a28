# SPDX-License-Identifier: Apache-2.0
"""The child process that reads one LAS, LAZ or E57 file with a library.

    python -m intravariance.cloud_files.library_reading FORMAT MEMORY SECONDS  < file  > arrays.npz

The libraries are compiled code and trust what a file declares, so their limits and exit codes are
those of `executors.limited`. Stdin is the file itself for las; it is the path of a copy for e57,
whose library opens files by name.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files.cloud import AXES, check_count
from intravariance.errors import InputError
from intravariance.executors.limited import in_child

Columns = dict[str, NDArray[Any]]
# Dimensions of a LAS file that can say nothing of points, normals or labels.
_NOT_READ = ("X", "Y", "Z", "intensity", "red", "green", "blue", "nir", "gps_time")
_SPHERICAL = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")


def read_las(data: bytes) -> Columns:
    """Return x, y, z, float64 with scale and offset, and the other dimensions, each (N,)."""
    import laspy  # noqa: PLC0415 - weight

    content = laspy.read(io.BytesIO(data))
    points = np.asarray(content.xyz, dtype=np.float64)
    columns: Columns = dict(zip(AXES, points.T, strict=True))
    for name in content.point_format.dimension_names:
        values = np.asarray(content[name]) if name not in _NOT_READ else np.zeros(0)
        if values.shape == (len(points),):
            columns.setdefault(name, values)
    return columns


def read_e57(path: bytes) -> Columns:
    """Return x, y, z, float64 (N,), of all scans of a file, each in the file's frame by its pose.

    Points that the file marks as invalid are NaN. "scans" : (1,) how many there are.
    """
    import pye57  # noqa: PLC0415 - weight

    with pye57.E57(os.fsdecode(path)) as file:
        headers = [file.get_header(index) for index in range(file.scan_count)]
        check_count(sum(header.point_count for header in headers))
        scans = [_scan_points(file, header) for header in headers if header.point_count]
    if not scans:
        raise InputError("it has no points")
    columns: Columns = dict(zip(AXES, np.concatenate(scans).T, strict=True))
    return columns | {"scans": np.array([len(scans)])}


def _scan_points(file: Any, header: Any) -> NDArray[np.float64]:
    fields = [f"cartesian{axis}" for axis in "XYZ"]
    spherical = not set(fields) <= set(header.point_fields)
    fields = list(_SPHERICAL) if spherical else fields
    if not set(fields) <= set(header.point_fields):
        raise InputError(f"a scan of it has no coordinates, but {', '.join(header.point_fields)}")
    state = f"{'spherical' if spherical else 'cartesian'}InvalidState"
    asked = [*fields, state] if state in header.point_fields else fields
    data, buffers = file.make_buffers(asked, header.point_count)
    header.points.reader(buffers).read()
    points = np.stack([data[name] for name in fields], axis=1)
    if spherical:
        distance, azimuth, elevation = points.T
        flat = distance * np.cos(elevation)
        points = np.stack(
            [flat * np.cos(azimuth), flat * np.sin(azimuth), distance * np.sin(elevation)], axis=1
        )
    if header.has_pose():
        turned = np.einsum("ij,nj->ni", header.rotation_matrix, points)
        points = turned + np.asarray(header.translation)
    if state in data:
        points[data[state].astype(bool)] = np.nan
    return np.asarray(points, dtype=np.float64)


_READERS: dict[str, Callable[[bytes], Columns]] = {"las": read_las, "e57": read_e57}


def main(file_format: str, memory: int, seconds: int) -> int:
    """Read stdin, write the columns to stdout; returns the exit code."""

    def work(data: bytes) -> Callable[[BinaryIO], None]:
        try:
            columns: dict[str, Any] = _READERS[file_format](data)
            return partial(np.savez, **columns)
        except (InputError, MemoryError):
            raise
        except BaseException as error:  # a panic of lazrs is no Exception
            raise InputError(f"it cannot be read ({type(error).__name__}: {error})") from error

    return in_child(memory, seconds, work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
