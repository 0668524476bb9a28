# SPDX-License-Identifier: Apache-2.0
"""The colours of labels, scores, displacements and forces, in pictures and on pages alike.

Nothing else turns one of them into a colour: pages carry `page_palette`. There is one scale for
all quantities. It is the map viridis from its light end to its dark one: equal steps of a value
are equal steps to the eye, lightness falls all the way, so that it reads the same in grey and to
colour-blind eyes, and none of its colours is near to one that a label has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from intravariance.looking.splats import Array, Floats

Colour = tuple[float, float, float]  # red, green, blue in 0..1

# Grey, orange and dark red differ in lightness too, so every common form of colour blindness can
# tell them apart. Grey and orange are light, because shading can only darken them.
NORMAL_COLOUR: Colour = (0.80, 0.83, 0.87)
ANOMALY_COLOUR: Colour = (0.98, 0.50, 0.14)
EXPOSED_COLOUR: Colour = (0.42, 0.10, 0.02)
# With a threshold: blue and purple are far from orange, grey and each other for every common form
# of colour blindness.
FALSE_ALARM_COLOUR: Colour = (0.00, 0.40, 0.92)
MISSED_COLOUR: Colour = (0.60, 0.28, 0.58)
# Lines and bars, which are thin and lie on white: the same hues, darker. Forces are lines over
# points in colours of the scale.
NORMAL_INK: Colour = (0.37, 0.42, 0.50)
ANOMALY_INK: Colour = (0.85, 0.37, 0.02)
FORCE_INK: Colour = (0.82, 0.19, 0.23)

# A scale is shaded by so much of the light alone, so that its values can be read off.
SCALE_RELIEF = 0.5

_SCORE_SHARES = (0.005, 0.995)

# The viridis map at 16 even steps; straight lines between them stay within 0.03 of the original.
_VIRIDIS = (
    "440154 481a6c 472f7d 414487 39568c 31688e 2a788e 23888e "
    "1f988b 22a884 35b779 54c568 7ad151 a5db36 d2e21b fde725"
)
_SCALE = np.array([tuple(bytes.fromhex(colour)) for colour in reversed(_VIRIDIS.split())]) / 255


def label_colours(labels: Array, exposed: Array | bool = False) -> Floats:
    """Return (N, 3) RGB in 0..1: grey where a label (N,) is 0, orange where it is not.

    Dark red is surface (N,) newly exposed by a cut: an open fissure looks open.
    """
    colours = np.where(np.asarray(labels)[:, None] > 0, ANOMALY_COLOUR, NORMAL_COLOUR)
    return np.where(np.reshape(exposed, (-1, 1)), EXPOSED_COLOUR, colours)


def scale_colours(values: ArrayLike, low: float, high: float) -> Floats:
    """Return (N, 3) RGB in 0..1 of values (N,): yellow up to `low`, dark violet from `high` on.

    Between them lie green and blue; where both ends are the same, all below it is yellow.
    """
    span = high - low if high > low else 1.0
    share = np.clip((np.asarray(values, dtype=np.float64) - low) / span, 0.0, 1.0)
    knots = np.linspace(0.0, 1.0, len(_SCALE))
    return np.stack([np.interp(share, knots, channel) for channel in _SCALE.T], axis=1)


def score_ends(scores: Array) -> tuple[float, float]:
    """Return where the scale begins and ends for scores (N,), N positive.

    They are the places of all but the outermost 0.5 % on either side: a single wild point must not
    wash out the others.
    """
    low, high = np.quantile(np.asarray(scores, dtype=np.float64), _SCORE_SHARES).tolist()
    return low, high


def css(colour: Colour) -> str:
    """Write a colour as a style sheet does."""
    return f"rgb({' '.join(str(round(255 * value)) for value in colour)})"


def page_palette() -> dict[str, Any]:
    """Return all of it as a page's script needs it; "scale" from low to high, at even steps."""
    return {
        "normal": NORMAL_COLOUR,
        "anomaly": ANOMALY_COLOUR,
        "exposed": EXPOSED_COLOUR,
        "hit": ANOMALY_COLOUR,
        "missed": MISSED_COLOUR,
        "false_alarm": FALSE_ALARM_COLOUR,
        "force": FORCE_INK,
        "relief": SCALE_RELIEF,
        "scale": _SCALE.round(4).tolist(),
    }
