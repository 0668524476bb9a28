# SPDX-License-Identifier: Apache-2.0
"""Patch-Gen, R3D-AD's simulated anomalies: a side of a cloud is pushed in or pulled out."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Corners, middles of edges and of faces of a cube around the product, from which it is looked at.
_VIEWS = np.array([v for v in itertools.product((-2.0, 0.0, 2.0), repeat=3) if any(v)])


def displaced_patch(
    points: Floats, count: int, largest: float, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.intp]]:
    """Displace the points of a cloud (N, 3) that are nearest to a place outside of it.

    They move along the line of sight, all towards the place or all away from it, by lengths that
    are uniform up to `largest` and longest for the nearest points.

    Returns
    -------
    points : (N, 3)
    moved : (min(count, N),) indices, the nearest first
    """
    view = _VIEWS[int(rng.integers(len(_VIEWS)))]
    offsets = points - view
    distances = np.sqrt((offsets**2).sum(axis=1))
    moved = np.argsort(distances, kind="stable")[:count]
    lengths = np.sort(rng.random(len(moved)))[::-1] * largest
    lengths = lengths if rng.random() < 0.5 else -lengths
    found = points.copy()
    found[moved] += offsets[moved] / distances[moved, None] * lengths[:, None]
    return found, moved
