# SPDX-License-Identifier: Apache-2.0 OR GPL-3.0-or-later
"""Messages between `iv` and the Blender worker: a JSON header and named NumPy arrays.

One message is one NumPy `.npz` in memory. No pickles in either direction.
"""

import io
import json

import numpy as np


def pack(header, **arrays):
    """Pack `header` (a JSON-able dict) and arrays into the bytes of a message."""
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    np.savez(buffer, header=text, **arrays)
    return buffer.getvalue()


def unpack(message):
    """Unpack a message made by `pack`: (header, {name: array})."""
    with np.load(io.BytesIO(message), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(arrays.pop("header").tobytes()), arrays
