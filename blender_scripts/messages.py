# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later
"""What travels between `iv` and the Blender worker: a JSON header and named NumPy arrays.

One message is one NumPy `.npz` in memory. No pickles in either direction.
"""

import io
import json

import numpy as np


def pack(header, **arrays):
    """Bytes of a message: `header` (a JSON-able dict) and arrays."""
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(buffer, header=text, **arrays)
    return buffer.getvalue()


def unpack(message):
    """(header, {name: array}) of a message made by `pack`."""
    with np.load(io.BytesIO(message), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(arrays.pop("header").tobytes()), arrays
