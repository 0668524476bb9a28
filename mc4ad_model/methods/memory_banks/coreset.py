# SPDX-License-Identifier: Apache-2.0
"""A greedy coreset: few features such that each feature has a chosen one near it.

It is the greedy solution of the k-centre problem (Gonzalez 1985): what is farthest from all that
were chosen is chosen next. No library that is installed here has it for more than three dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]


def greedy_coreset(features: NDArray[Any], count: int, covered: Floats | None = None) -> Indices:
    """Choose features, in the order in which they are chosen.

    Parameters
    ----------
    features : (M, C)
    count
        Number to choose; all are kept, in their order, where there are no more.
    covered : (M,), optional
        Distance of each feature from what counts as chosen before the first. By default nothing
        does, and the first feature is chosen first.

    Returns
    -------
    (min(count, M),) indices, all different
    """
    if count >= len(features):
        return np.arange(len(features))
    points = features - features.mean(axis=0, dtype=np.float64)  # small squares round little
    squares = (points**2).sum(axis=1)
    gap = np.full(len(points), np.inf) if covered is None else covered.astype(np.float64) ** 2
    chosen = np.zeros(count, dtype=np.intp)
    for k in range(count):
        chosen[k] = new = int(gap.argmax())
        distances = points @ points[new]
        distances *= -2
        distances += squares
        distances += squares[new]
        np.minimum(gap, distances, out=gap)
        gap[new] = -np.inf  # never again, even where all that is left lies on chosen ones
    return chosen


def mean_distance(features: NDArray[Any], starts: Indices) -> Floats:
    """Return (M,) mean distances of features (M, C) from some of them: PatchCore's start."""
    own = features.astype(np.float64)
    distances = np.zeros(len(own))
    for start in starts:
        distances += np.sqrt(((own - own[start]) ** 2).sum(axis=1))
    return distances / len(starts)
