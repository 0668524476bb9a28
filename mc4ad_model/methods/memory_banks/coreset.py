# SPDX-License-Identifier: Apache-2.0
"""A greedy coreset: few features such that each feature has a chosen one near it.

It is the greedy solution of the k-centre problem (Gonzalez 1985): what is farthest from all that
were chosen is chosen next. No library that is installed here has it for more than three dimensions.
Many are chosen before all distances are computed, as one product of matrices: features are read
once for all of them, where a product with each alone waits for the memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Floats = NDArray[np.float64]

_AT_ONCE = 128  # features chosen before all distances are computed, at most
_BLOCK = 1024  # features at a time: their distances from those stay in the cache


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
    chosen: list[int] = []
    while len(chosen) < count:
        new = _next(points, squares, gap, min(count - len(chosen), _AT_ONCE))
        directions, lengths = -2 * points[new].T, squares[new]
        for start in range(0, len(points), _BLOCK):
            rows = slice(start, start + _BLOCK)
            distances = points[rows] @ directions  # (B, K)
            distances += lengths
            gap[rows] = np.minimum(gap[rows], distances.min(axis=1) + squares[rows])
        gap[new] = -np.inf  # never again, even where all that is left lies on chosen ones
        chosen += new
    return np.array(chosen, dtype=np.intp)


def _next(points: Floats, squares: Floats, gap: Floats, most: int) -> list[int]:
    """Choose the next features, at least one, as if one after another but for rounding.

    They are among those with the largest gaps: gaps only shrink, so one of these whose gap is still
    larger than all that the others began with is the farthest of all.

    Parameters
    ----------
    points, squares : (M, C), (M,) squared lengths
    gap : (M,) squared distances from what was chosen before
    most
        Fewer than M.
    """
    order = np.argpartition(gap, -most - 1)
    limit = gap[order[-most - 1]]
    near = np.union1d(order[-most:], [gap.argmax()])  # of equal ones the first is chosen first
    between = squares[near] + squares[near, None] - 2 * points[near] @ points[near].T
    own, new = gap[near], list[int]()
    while not new or (len(new) < most and own.max() > limit):
        best = int(own.argmax())
        new.append(int(near[best]))
        own = np.minimum(own, between[best])
        own[best] = -np.inf
    return new


def mean_distance(features: NDArray[Any], starts: Indices) -> Floats:
    """Return (M,) mean distances of features (M, C) from some of them: PatchCore's start."""
    own = features.astype(np.float64)
    distances = np.zeros(len(own))
    for start in starts:
        distances += np.sqrt(((own - own[start]) ** 2).sum(axis=1))
    return distances / len(starts)
