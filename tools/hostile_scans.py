# SPDX-License-Identifier: Apache-2.0
"""LAS, LAZ and E57 files for `hostile_campaign`, and how a process of it reads many of them.

`iv` reads each in a new process, which takes half a second of imports. In a campaign a fork of its
process does the same work; what a library does there ends no other process either.
"""

from __future__ import annotations

import io
import os
import struct
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from intravariance.cloud_files import library_reading, parse_cloud, scanner_files
from intravariance.errors import InputError
from intravariance.executors.limited import MEMORY_LIMIT, TIME_LIMIT

_PAGE = 1024  # bytes of an E57 file, the last four of which are a checksum
_CASTAGNOLI = 0x82F63B78


def las_files(packed: bool) -> list[bytes]:
    """Make files of LAS 1.2 and 1.4, or LAZ, with labels as a dimension of their own."""
    import laspy  # noqa: PLC0415 - an extra

    rng, made = np.random.default_rng(0), []
    for version, kind in (("1.2", 3), ("1.4", 6)):
        header = laspy.LasHeader(version=version, point_format=kind)
        header.add_extra_dim(laspy.ExtraBytesParams(name="label", type=np.uint8))
        content = laspy.LasData(header)
        content.x, content.y, content.z = rng.normal(size=(3, 40))
        content["label"] = rng.integers(0, 2, 40)
        buffer = io.BytesIO()
        content.write(buffer, do_compress=packed)
        made.append(buffer.getvalue())
    return made


def e57_files() -> list[bytes]:
    """Make files of one scan and of two."""
    import pye57  # noqa: PLC0415 - an extra

    rng, made = np.random.default_rng(0), []
    for scans in (1, 2):
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "small.e57"
            with pye57.E57(str(path), mode="w") as file:
                for _ in range(scans):
                    points = {f"cartesian{axis}": rng.normal(size=40) for axis in "XYZ"}
                    pose = {"rotation": np.array([1.0, 0, 0, 0]), "translation": np.ones(3)}
                    file.write_scan_raw(points, **pose)
            made.append(path.read_bytes())
    return made


def read_e57(data: bytes, _: Path) -> None:
    """Read a mutant whose pages have their checksums again."""
    pages = (data[start : start + _PAGE] for start in range(0, len(data), _PAGE))
    sealed = b"".join(
        page[:-4] + struct.pack(">I", _checksum(page[:-4])) if len(page) == _PAGE else page
        for page in pages
    )
    parse_cloud(sealed, "mutant.e57")


def fork_for_libraries() -> None:
    """Read with the libraries in forks of this process from now on."""
    import laspy  # noqa: F401, PLC0415 - each fork has it then
    import pye57  # noqa: F401, PLC0415

    scanner_files.run_limited = _run_forked


def _run_forked(
    module: str,
    arguments: Sequence[str],
    data: bytes,
    memory: int = MEMORY_LIMIT,
    seconds: int = TIME_LIMIT,
) -> bytes:
    """Do what `limited.run_limited` does, in a fork."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as made:
        given.write(data)
        given.seek(0)
        child = os.fork()
        if not child:
            try:
                os.dup2(given.fileno(), 0)
                os.dup2(made.fileno(), 1)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                sys.stdin = os.fdopen(0)
                os._exit(library_reading.main(arguments[0], memory, seconds))
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if status:
            raise InputError(f"its process ended with code {os.waitstatus_to_exitcode(status)}")
        made.seek(0)
        return made.read()


@cache
def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_CASTAGNOLI if value & 1 else 0)
        table.append(value)
    return table


def _checksum(data: bytes) -> int:
    """Return the CRC-32C of a page."""
    table, value = _table(), 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ table[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
