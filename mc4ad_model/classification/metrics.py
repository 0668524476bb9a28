# SPDX-License-Identifier: Apache-2.0
"""Accuracy, and intersection over union as ShapeNetPart defines it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def accuracy(predicted: Ints, classes: Ints) -> float:
    """Return the share of clouds (S,) that are named rightly."""
    return float((predicted == classes).mean())


def cloud_ious(
    predicted: Ints, parts: Ints, categories: Ints, of: Sequence[Sequence[int]]
) -> NDArray[np.float64]:
    """Return the mean over the parts of its category of each cloud's intersection over union.

    Parameters
    ----------
    predicted, parts
        (S, N) found and true parts.
    categories
        (S,) of the clouds; `of` : the parts of each category.

    Returns
    -------
    (S,) float64. A part that is neither found nor there counts as 1, as published.
    """
    found = np.zeros(len(parts))
    for number, category in enumerate(categories):
        values = []
        for part in of[category]:
            guess, truth = predicted[number] == part, parts[number] == part
            union = int((guess | truth).sum())
            values.append(int((guess & truth).sum()) / union if union else 1.0)
        found[number] = np.mean(values)
    return found


def mean_ious(each: NDArray[np.float64], categories: Ints) -> tuple[float, float]:
    """Return the mean over clouds (instance IoU), and that over categories (class IoU)."""
    means = [each[categories == one].mean() for one in np.unique(categories)]
    return float(each.mean()), float(np.mean(means))
