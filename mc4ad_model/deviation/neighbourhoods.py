# SPDX-License-Identifier: Apache-2.0
"""Means over the neighbourhoods of anchors: a twist shows over half a product, not at a place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from mc4ad_model.deviation.statistics import Anchors

Floats = NDArray[np.float64]

RADIUS = 0.25
# Cosine of the normals of anchors that count as neighbours: the other side of a wall does not.
_SAME_SIDE = 0.3


class Neighbourhoods:
    """The anchors within a radius of each anchor that face as it does, itself among them."""

    def __init__(self, anchors: Anchors, radius: float = RADIUS) -> None:
        pairs = anchors.tree.query_pairs(radius, output_type="ndarray")
        facing = (anchors.normals[pairs[:, 0]] * anchors.normals[pairs[:, 1]]).sum(axis=1)
        first, second = pairs[facing > _SAME_SIDE].T
        own = np.arange(len(anchors.points))
        rows, columns = (np.concatenate(p) for p in ((first, second, own), (second, first, own)))
        ones = np.ones(len(rows))
        weights = ones / np.bincount(rows)[rows]
        self._mean = csr_matrix((weights, (rows, columns)), shape=(len(own), len(own)))

    def mean(self, values: Floats) -> Floats:
        """Average values (A, C) over each neighbourhood."""
        return np.asarray(self._mean @ values)
