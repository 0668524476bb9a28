# SPDX-License-Identifier: Apache-2.0
"""Images of three float channels in TIFF, as MVTec 3D-AD stores organised clouds.

Pillow does not read such images. Read are the first image, in strips, chunky, float32 or float64,
without compression or with deflate, both byte orders; anything else ends in an InputError, before
anything is decoded: also more than LARGEST_IMAGE pixels, and strips that share bytes.
"""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError

LARGEST_SIDE, LARGEST_IMAGE = 20_000, 20_000_000  # pixels
_WIDTH, _HEIGHT, _BITS, _COMPRESSION = 256, 257, 258, 259
_OFFSETS, _SAMPLES, _ROWS, _SIZES, _PLANES, _PREDICTOR, _FORMAT = 273, 277, 278, 279, 284, 317, 339
_READ = {_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _OFFSETS, _SAMPLES, _ROWS, _SIZES, _PLANES,
         _PREDICTOR, _FORMAT}  # fmt: skip
# Types of entries that are read: bytes of one value and its `struct` code.
_TYPES = {1: (1, "B"), 3: (2, "H"), 4: (4, "I")}
_DEFLATE = (8, 32946)


def read_tiff(data: bytes) -> NDArray[np.float64]:
    """(height, width, 3) float64. Raises InputError for other images and damaged files."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        raise InputError("it is not a TIFF file")
    try:
        tags = _tags(data, order)
        height, width = tags[_HEIGHT][0], tags[_WIDTH][0]
        compression = tags.get(_COMPRESSION, (1,))[0]
        rows = min(tags.get(_ROWS, (height,))[0], height)
        offsets, sizes = tags[_OFFSETS], tags[_SIZES]
        bits = set(tags[_BITS])
    except (struct.error, KeyError, IndexError) as error:
        raise InputError(f"its directory is damaged, or it is in tiles ({error})") from error
    kinds = {32: f"{order}f4", 64: f"{order}f8"}
    plain = (
        tags.get(_SAMPLES, (1,))[0] == 3
        and set(tags.get(_FORMAT, (1,))) == {3}
        and len(bits) == 1
        and bits <= set(kinds)
        and tags.get(_PLANES, (1,))[0] == 1
        and tags.get(_PREDICTOR, (1,))[0] == 1
        and compression in (1, *_DEFLATE)
    )
    if not plain:
        raise InputError(
            "expected are three float channels side by side, uncompressed or deflated without "
            f"predictor; found {tags.get(_SAMPLES, (1,))[0]} channels, compression {compression}"
        )
    check_size(width, height)
    if not rows:
        raise InputError("its strips have no rows")
    kind = np.dtype(kinds[bits.pop()])
    line = width * 3 * kind.itemsize
    if len(offsets) != len(sizes) or len(offsets) != -(-height // rows):
        raise InputError("its strips do not make up its height")
    places = sorted(zip(offsets, sizes, strict=True))
    if any(a + size > b for (a, size), (b, _) in pairwise(places)):
        raise InputError("its strips overlap")
    image = np.zeros((height, width, 3))
    for number, (start, size) in enumerate(zip(offsets, sizes, strict=True)):
        part = image[rows * number : rows * (number + 1)]
        content = _strip(data[start : start + size], compression, line * len(part))
        with np.errstate(all="ignore"):  # a damaged file may hold signalling NaNs
            part[:] = np.frombuffer(content, kind).reshape(part.shape)
    return image


def check_size(width: int, height: int) -> None:
    """Raises InputError for an image without pixels or with too many."""
    if not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE):
        raise InputError(f"its size is {width} x {height}")
    if width * height > LARGEST_IMAGE:
        raise InputError(f"its size is {width} x {height}; at most are {LARGEST_IMAGE:,} pixels")


def _strip(packed: bytes, compression: int, needed: int) -> bytes:
    content = packed
    if compression in _DEFLATE:
        try:
            content = zlib.decompressobj().decompress(packed, needed)  # and no more
        except zlib.error as error:
            raise InputError(f"its compressed data is damaged ({error})") from error
    if len(content) < needed:
        raise InputError(f"it is cut off: a strip has {len(content):,} of {needed:,} bytes")
    return content[:needed]


def _tags(data: bytes, order: str) -> dict[int, tuple[Any, ...]]:
    """The integer entries in _READ of the first directory, each once: all may be many and long."""
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    tags = {}
    for number in range(count):
        place = start + 2 + 12 * number
        tag, kind, length = struct.unpack_from(f"{order}HHI", data, place)
        if kind not in _TYPES or tag not in _READ or tag in tags:
            continue
        size, code = _TYPES[kind]
        if not 0 < length * size <= len(data):
            raise IndexError(f"entry {tag} is empty or longer than the file")
        place += 8
        if length * size > 4:
            (place,) = struct.unpack_from(f"{order}I", data, place)
        tags[tag] = struct.unpack_from(f"{order}{length}{code}", data, place)
    return tags
