# SPDX-License-Identifier: Apache-2.0
"""LZF decompression, for PCD's `DATA binary_compressed`, as Marc Lehmann's liblzf defines it.

A stream of runs. A byte c < 32 is followed by c + 1 bytes to copy. Any other byte begins a copy of
(c >> 5) + 2 bytes of what was already written (a length field of 7 adds the next byte), from
((c & 31) << 8 | next byte) + 1 bytes back; the copy may overlap itself.

python-neo-lzf 0.3.5 was tried in place of this module. It gives the same bytes and refuses the same
streams, and it unpacks a million points of 25 bytes in 41 ms (this module: 1.8 s). It is compiled
C, whose mistakes would end the process instead of raising, for files that none of the public data
sets has; so the core does without it.
"""

from __future__ import annotations

from intravariance.errors import InputError

# Three bytes give at most 264.
_LARGEST_RATIO = 88
# As large as a file may be that is not compressed: MAX_ROWS points of 53 bytes.
LARGEST_CONTENT = 512 * 2**20


def decompress(data: bytes, size: int) -> bytes:
    """Unpack the `size` bytes in `data`. Raises InputError when it holds other than these."""
    if size > _LARGEST_RATIO * len(data):
        raise InputError(f"{len(data):,} compressed bytes cannot hold the declared {size:,}")
    if size > LARGEST_CONTENT:
        raise InputError(f"{size:,} bytes are declared; at most {LARGEST_CONTENT:,} are unpacked")
    result = bytearray()
    position, length_of_data = 0, len(data)
    written = 0  # of `result`; counted here, as this loop is what reading such a file takes
    try:
        while position < length_of_data and written <= size:
            control = data[position]
            position += 1
            if control < 32:
                end = position + control + 1
                if end > length_of_data:
                    raise IndexError
                result += data[position:end]
                written += control + 1
                position = end
                continue
            length = (control >> 5) + 2
            if length == 9:
                length += data[position]
                position += 1
            start = written - ((control & 31) << 8 | data[position]) - 1
            position += 1
            if start < 0:
                raise InputError(f"compressed byte {position}: a copy from before the beginning")
            source = result[start : start + length]
            while len(source) < length:  # the copy repeats what it writes
                source += source[: length - len(source)]
            result += source
            written += length
    except IndexError:
        raise InputError("the compressed data is cut off") from None
    if len(result) != size:
        raise InputError(f"{size:,} bytes are declared, the compressed data holds others")
    return bytes(result)
