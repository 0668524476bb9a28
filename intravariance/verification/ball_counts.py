# SPDX-License-Identifier: Apache-2.0
"""How many points of a cloud lie within balls of one radius."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Points of a block: more are far from most balls, fewer cost a call for each block.
_BLOCK = 384


class BallCounts:
    """A cloud in blocks of points that lie near each other, to count those within balls.

    tree : SciPy's k-d tree of the cloud (N, 3), which has put neighbours side by side. Squared
    distances from balls to a block are one matrix product, which takes half of the time that the
    tree's own count does for balls that hold hundreds of points. Both round: they may differ by the
    points whose distance is the radius but for some 1e-15.
    """

    def __init__(self, tree: Any) -> None:
        points = np.asarray(tree.data)[tree.indices]
        number = max(1, len(points) // _BLOCK)
        starts = np.arange(number) * len(points) // number
        squares = np.einsum("ij,ij->i", points, points)
        rows = np.column_stack([points, squares, np.ones(len(points))])
        self._blocks = [part.T for part in np.split(rows, starts[1:])]  # (5, M) each
        self._low = np.minimum.reduceat(points, starts)  # (blocks, 3)
        self._high = np.maximum.reduceat(points, starts)

    def within(self, centres: NDArray[np.float64], radius: float) -> NDArray[np.int64]:
        """Count the points (C,) that lie within a radius of each of the centres (C, 3)."""
        squares = np.einsum("ij,ij->i", centres, centres) - radius * radius
        # times a block's (x, y, z, square, 1): squared distance less squared radius
        rows = np.column_stack([-2 * centres, np.ones(len(centres)), squares])
        near = np.ones((len(self._blocks), len(centres)), dtype=bool)
        for axis, column in enumerate(centres.T):
            near &= column >= self._low[:, axis, None] - radius
            near &= column <= self._high[:, axis, None] + radius
        counts = np.zeros(len(centres), dtype=np.int64)
        for block, some in zip(self._blocks, near, strict=True):
            chosen = np.flatnonzero(some)
            if len(chosen):
                inside = (rows[chosen] @ block <= 0).astype(np.float32)
                # a product again, as a sum of logical values takes longer than all the rest
                counts[chosen] += (inside @ np.ones(inside.shape[1], np.float32)).astype(np.int64)
        return counts
