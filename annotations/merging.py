# SPDX-License-Identifier: Apache-2.0
"""Construction labels and hand labels into one, by a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]
Rule = Literal["construction", "hand", "union", "intersection"]

# (N,) construction labels and (N,) hand labels to (N,) labels
RULES: dict[Rule, Callable[[Labels, Labels], Labels]] = {
    "construction": lambda construction, hand: construction,
    "hand": lambda construction, hand: hand,
    "union": lambda construction, hand: construction | hand,
    "intersection": lambda construction, hand: construction & hand,
}


def merge(construction: Labels, hand: Labels, known: NDArray[np.bool_], rule: Rule) -> Labels:
    """Return (N,) uint8 labels by a rule; a point that the hand's file does not have (`known`,
    (N,)) keeps its construction label, whatever the rule.
    """
    return np.where(known, RULES[rule](construction, hand), construction).astype(np.uint8)
