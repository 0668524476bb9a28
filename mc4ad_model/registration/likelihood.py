# SPDX-License-Identifier: Apache-2.0
"""How likely a point of a noisy cloud is on a template: a field on a grid, with its gradient.

The cloud is taken as drawn from the template's surface, blurred by the noise, plus a small share of
outliers spread over space. The mean log-likelihood of a cloud's points compares poses and templates
alike: what the cloud has and the template lacks costs, and so does surface that the template has
and the cloud lacks, for the density is normalised.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Points = NDArray[np.float64]

CELL = 0.04
REACH = 1.6  # of the grid, from 0 along each axis; what lies outside counts as at its border
SIZE = round(2 * REACH / CELL)
OUTLIERS = 0.02  # share of points that may lie anywhere
_FLOOR = OUTLIERS / 8  # their density, in a cube of edge 2


def field(template: Points, blur: float) -> NDArray[np.float32]:
    """Return (SIZE ** 3, 4) float32: log-likelihood at each cell's centre, and its gradient.

    Parameters
    ----------
    template : (S, 3)
        Noise-free points of the surface.
    blur
        Standard deviation of the noise along each axis.
    """
    place = (template + REACH) / CELL - 0.5
    first = np.floor(place).astype(np.int64)
    share = place - first
    counts = np.zeros(SIZE**3)
    for corner in itertools.product((0, 1), repeat=3):
        weight = np.where(corner, share, 1 - share).prod(axis=1)
        cell = np.clip(first + corner, 0, SIZE - 1)
        counts += np.bincount(_number(cell), weight, minlength=SIZE**3)
    counts = counts.reshape(SIZE, SIZE, SIZE)
    # sharing points among cells blurs, and so does interpolation: CELL ** 2 / 6 of variance each
    width = np.sqrt(max(blur**2 - CELL**2 / 3, (0.5 * CELL) ** 2)) / CELL
    density = gaussian_filter(counts, width, mode="constant") / (len(template) * CELL**3)
    values = np.log(_FLOOR + (1 - OUTLIERS) * density)
    stacked = np.stack([values, *np.gradient(values, CELL)], axis=-1)
    return np.ascontiguousarray(stacked.reshape(-1, 4), dtype=np.float32)


def inlier_weight(log_likelihood: NDArray[Any]) -> Points:
    """Return the probability that a point of that likelihood is no outlier."""
    return np.asarray(1 - _FLOOR * np.exp(-log_likelihood.astype(np.float64)))


def cells(points: NDArray[Any]) -> NDArray[np.int64]:
    """Return the row of a field for the cell that each point (..., 3) lies in."""
    cell = ((points + REACH) * (1 / CELL)).astype(np.int32)
    return _number(np.clip(cell, 0, SIZE - 1, out=cell))


def interpolated(
    field: NDArray[np.float32], start: NDArray[np.int64], points: Points
) -> NDArray[np.float32]:
    """Interpolate a field linearly at points (B, P, 3); each batch begins at a row, (B, 1)."""
    place = np.clip((points + REACH) / CELL - 0.5, 0, SIZE - 1.001)
    first = place.astype(np.int32)
    share = (place - first).astype(np.float32)
    rows = _number(first) + start
    total = np.zeros((*points.shape[:-1], field.shape[1]), dtype=np.float32)
    for corner in itertools.product((0, 1), repeat=3):
        weight = np.where(corner, share, 1 - share).prod(axis=-1)
        total += field[rows + _number(np.asarray(corner))] * weight[..., None]
    return total


def _number(cell: NDArray[Any]) -> NDArray[np.int64]:
    """Return the row number of cells (..., 3)."""
    return np.asarray((cell[..., 0].astype(np.int64) * SIZE + cell[..., 1]) * SIZE + cell[..., 2])
