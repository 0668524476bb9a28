# SPDX-License-Identifier: Apache-2.0
"""Plain arrays in .npy files.

The header is matched, not evaluated, so that only arrays of numbers whose size is the file's pass:
`numpy.load` would allocate whatever shape a header declares.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files.choices import AS_WRITTEN, ReadingChoices
from intravariance.cloud_files.cloud import PointCloud, as_point, check_count
from intravariance.cloud_files.text import cloud_from_rows
from intravariance.errors import InputError

_HEADER = re.compile(
    rb"\{'descr': *'(?P<kind>[<>|=]?(?:[iu][1248]|f[248]|b1))', *"
    rb"'fortran_order': *(?P<fortran>True|False), *"
    rb"'shape': *\((?P<shape>\d{1,12}(?:, *\d{1,12})*),? *\),? *\} *\n?"
)


def parse_npy(data: bytes, choices: ReadingChoices = AS_WRITTEN) -> PointCloud:
    """Read the cloud in an array of 3, 4, 6 or 7 columns, as in a table without names."""
    values = parse_array(data)
    if values.ndim != 2:
        raise InputError(f"its shape is {values.shape}; expected is (N, 3), (N, 4), (N, 6), (N, 7)")
    check_count(len(values))
    with np.errstate(all="ignore"):  # a damaged file may hold signalling NaNs
        return cloud_from_rows(values.astype(np.float64), as_point, choices=choices)


def parse_array(data: bytes) -> NDArray[Any]:
    """Read an array of numbers. Raises InputError for all else, and when its size is wrong."""
    if not data.startswith(b"\x93NUMPY") or len(data) < 12 or data[6] not in (1, 2, 3):
        raise InputError("it is not a .npy file")
    width = 2 if data[6] == 1 else 4
    start = 8 + width
    end = start + int.from_bytes(data[8:start], "little")
    header = _HEADER.fullmatch(data[start:end]) if end <= len(data) else None
    if header is None or header["shape"].count(b",") > 2:
        raise InputError("its header is damaged, or it holds no plain array of numbers")
    kind = np.dtype(header["kind"].decode().replace("b1", "u1"))  # any byte is a valid number
    shape = tuple(int(number) for number in header["shape"].split(b","))
    needed = kind.itemsize
    for length in shape:
        needed *= length
    if needed != len(data) - end:
        raise InputError(f"an array {shape} takes {needed:,} bytes, {len(data) - end:,} follow")
    order: Any = "F" if header["fortran"] == b"True" else "C"
    return np.frombuffer(data, kind, offset=end).reshape(shape, order=order)
