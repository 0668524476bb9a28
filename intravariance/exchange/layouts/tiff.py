# SPDX-License-Identifier: Apache-2.0
"""Images of three float channels in TIFF, as MVTec 3D-AD stores organised clouds.

Pillow does not read such images. tifffile reads the directory of the first image; the strips are
unpacked here, because tifffile 2026.3.3 unpacks a strip to whatever size it has: a file of 1 MB
took 2 GB. An image that is not in strips, chunky, float32 or float64, without compression or with
deflate ends in an InputError before anything is unpacked. So do an image of more than
LARGEST_IMAGE pixels and strips that share bytes.
"""

from __future__ import annotations

import io
import logging
import zlib
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from intravariance.errors import InputError

LARGEST_SIDE, LARGEST_IMAGE = 20_000, 20_000_000  # pixels
_DEFLATE = (8, 32946)

# Every oddity that matters ends in an InputError, and workers of an import print nothing.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_tiff(data: bytes) -> NDArray[np.float64]:
    """Return the first image, (height, width, 3) float64.

    Raises InputError for other images and for damaged files.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            return _pixels(data, tiff.pages.first, tiff.byteorder)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # many types were met on damaged files
        raise InputError(
            f"it is not a TIFF file, or its directory is damaged ({type(error).__name__}: {error})"
        ) from error


def check_size(width: int, height: int) -> None:
    """Check the size of an image, in pixels.

    Raises InputError for an image without pixels or with too many.
    """
    if not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE):
        raise InputError(f"its size is {width} x {height}")
    if width * height > LARGEST_IMAGE:
        raise InputError(f"its size is {width} x {height}; at most are {LARGEST_IMAGE:,} pixels")


def _pixels(data: bytes, page: Any, order: Literal["<", ">"]) -> NDArray[np.float64]:
    """Return (height, width, 3) float64. order : of the bytes of a number, "<" or ">"."""
    height, width, rows = page.imagelength, page.imagewidth, page.rowsperstrip
    compression = int(page.compression)
    plain = (
        page.samplesperpixel == 3
        and page.dtype in (np.float32, np.float64)
        and not page.is_tiled
        and (page.planarconfig, page.predictor) == (1, 1)
        and compression in (1, *_DEFLATE)
    )
    if not plain:
        raise InputError(
            "expected are three float channels side by side, in strips, uncompressed or deflated "
            f"without predictor; found {page.samplesperpixel} channels, compression {compression}"
        )
    check_size(width, height)
    places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if not rows or len(places) != -(-height // min(rows, height)):
        raise InputError("its strips do not make up its height")
    if any(a + size > b for (a, size), (b, _) in pairwise(sorted(places))):
        raise InputError("its strips overlap")
    kind = np.dtype(page.dtype).newbyteorder(order)
    image = np.zeros((height, width, 3))
    for number, (start, size) in enumerate(places):
        part = image[rows * number : rows * (number + 1)]
        content = _strip(data[start : start + size], compression, part.size * kind.itemsize)
        with np.errstate(all="ignore"):  # a damaged file may hold signalling NaNs
            part[:] = np.frombuffer(content, kind).reshape(part.shape)
    return image


def _strip(packed: bytes, compression: int, needed: int) -> bytes:
    """Return the `needed` bytes of a strip. Raises InputError when it has fewer."""
    content = packed
    if compression in _DEFLATE:
        try:
            content = zlib.decompressobj().decompress(packed, needed)  # and no more
        except zlib.error as error:
            raise InputError(f"its compressed data is damaged ({error})") from error
    if len(content) < needed:
        raise InputError(f"it is cut off: a strip has {len(content):,} of {needed:,} bytes")
    return content[:needed]
