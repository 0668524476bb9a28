# SPDX-License-Identifier: Apache-2.0
"""The colours of points: by label, by displacement, by a detector's score."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from intravariance.looking.splats import Array, Floats

# Grey, orange and dark red differ in lightness too, so every common form of colour blindness can
# tell them apart. Grey and orange are light, because shading can only darken them.
NORMAL_COLOUR = (0.80, 0.83, 0.87)
ANOMALY_COLOUR = (0.98, 0.50, 0.14)
EXPOSED_COLOUR = (0.42, 0.10, 0.02)

# The viridis map at 16 even steps; straight lines between them stay within 0.03 of the original.
_VIRIDIS = (
    "440154 481a6c 472f7d 414487 39568c 31688e 2a788e 23888e "
    "1f988b 22a884 35b779 54c568 7ad151 a5db36 d2e21b fde725"
)

# Each is darker than the one before: it reads the same in grey, and to colour-blind eyes.
_HEAT = (
    NORMAL_COLOUR,
    (0.95, 0.74, 0.36),
    (0.93, 0.54, 0.18),
    (0.75, 0.27, 0.12),
    (0.38, 0.05, 0.10),
)


def label_colours(labels: Array, exposed: Array | bool = False) -> Floats:
    """Return (N, 3) RGB in 0..1: grey where a label (N,) is 0, orange where it is not.

    Dark red is surface (N,) newly exposed by a cut: an open fissure looks open.
    """
    colours = np.where(np.asarray(labels)[:, None] > 0, ANOMALY_COLOUR, NORMAL_COLOUR)
    return np.where(np.reshape(exposed, (-1, 1)), EXPOSED_COLOUR, colours)


def scalar_colours(values: ArrayLike, largest: float) -> Floats:
    """Return (N, 3) RGB in 0..1 of values (N,): yellow at 0, dark violet from `largest` on."""
    share = 1.0 - np.clip(np.asarray(values, dtype=np.float64) / largest, 0.0, 1.0)
    table = np.array([tuple(bytes.fromhex(colour)) for colour in _VIRIDIS.split()]) / 255
    knots = np.linspace(0.0, 1.0, len(table))
    return np.stack([np.interp(share, knots, channel) for channel in table.T], axis=1)


def heat_colours(values: ArrayLike, low: float, high: float) -> Floats:
    """Return (N, 3) RGB in 0..1 of scores (N,): grey up to `low`, dark red from `high` on.

    Between them lie yellow and orange; lightness falls all the way.
    """
    span = max(high - low, 1e-30)
    share = np.clip((np.asarray(values, dtype=np.float64) - low) / span, 0.0, 1.0)
    knots = np.linspace(0.0, 1.0, len(_HEAT))
    return np.stack([np.interp(share, knots, channel) for channel in zip(*_HEAT, strict=True)], 1)
