# SPDX-License-Identifier: Apache-2.0
"""How likely a point of a noisy cloud is on a template: a field on a grid, with its gradient.

The cloud is taken as drawn from the template's surface, blurred by the noise, plus a small share of
outliers spread over space. The mean log-likelihood of a cloud's points compares poses and templates
alike: what the cloud has and the template lacks costs, and so does surface that the template has
and the cloud lacks, for the density is normalised.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Points = NDArray[np.float64]
Floats = NDArray[np.float32]

REACH = 1.6  # of the grid, from 0 along each axis; what lies outside counts as at its border
OUTLIERS = 0.02  # share of points that may lie anywhere
_FLOOR = OUTLIERS / 8  # their density, in a cube of edge 2
_CORNERS = tuple(itertools.product((0, 1), repeat=3))


class Field:
    """The log-likelihoods of points on some templates, and their gradients, on a grid.

    Parameters
    ----------
    templates : sequence of (S, 3)
        Noise-free points of each surface.
    blur
        Standard deviation of the noise along each axis.
    cell
        Edge of the grid's cells, about `blur` or less.
    """

    def __init__(self, templates: Sequence[Points], blur: float, cell: float) -> None:
        self.blur, self.cell = blur, cell
        self.size = round(2 * REACH / cell)
        # (templates * size ** 3, 4) float32: log-likelihood at each cell's centre, and its gradient
        self.values = np.concatenate([self._of(template) for template in templates])
        self._region_gradients = dict[tuple[int, int], Points]()

    def _of(self, template: Points) -> Floats:
        place = (template + REACH) / self.cell - 0.5
        first = np.floor(place).astype(np.int64)
        share = place - first
        counts = np.zeros(self.size**3)
        for corner in _CORNERS:
            weight = np.where(corner, share, 1 - share).prod(axis=1)
            cells = np.clip(first + corner, 0, self.size - 1)
            counts += np.bincount(self._number(*cells.T), weight, minlength=self.size**3)
        counts = counts.reshape(self.size, self.size, self.size)
        # sharing points among cells blurs, as interpolation does: cell ** 2 / 6 of variance each
        width = np.sqrt(max(self.blur**2 - self.cell**2 / 3, (0.5 * self.cell) ** 2)) / self.cell
        density = gaussian_filter(counts, width, mode="constant")
        density /= len(template) * self.cell**3
        values = np.log(_FLOOR + (1 - OUTLIERS) * density)
        stacked = np.stack([values, *np.gradient(values, self.cell)], axis=-1)
        return np.ascontiguousarray(stacked.reshape(-1, 4), dtype=np.float32)

    def _number(self, x: Any, y: Any, z: Any) -> NDArray[Any]:
        return np.asarray((x * self.size + y) * self.size + z)

    def region_gradients(self, template: int, edge: int) -> Points:
        """Return (regions ** 3, 3): the mean gradient of points drawn from the model, in cubes of
        `edge` cells. It is not 0 where the surface runs along the border of a cube."""
        if (template, edge) in self._region_gradients:
            return self._region_gradients[template, edge]
        count = self.size // edge
        shape = (count, edge, count, edge, count, edge)
        rows = self.values[template * self.size**3 : (template + 1) * self.size**3]
        density = np.exp(rows[:, 0].astype(np.float64))
        sums = [
            (density * factor).reshape(shape).sum(axis=(1, 3, 5)).ravel()
            for factor in (np.ones(1), *rows[:, 1:].T)
        ]
        gradients: Points = np.stack(sums[1:], axis=-1) / sums[0][:, None]
        self._region_gradients[template, edge] = gradients
        return gradients

    def starts(self, templates: NDArray[np.intp]) -> NDArray[np.int32]:
        """Return the first rows (B, 1) of templates (B,)."""
        return (templates * self.size**3).astype(np.int32)[:, None]

    def rows(self, points: Floats) -> NDArray[np.int32]:
        """Return the rows (B, P), from a template's first, of the cells that points (B, 3, P) are
        in."""
        place = (points + np.float32(REACH)) * np.float32(1 / self.cell)
        np.clip(place, 0, self.size - 1, out=place)  # first: integers hold no far outlier
        cells = place.astype(np.int32)
        return np.asarray(self._number(cells[:, 0], cells[:, 1], cells[:, 2]))

    def nearest(self, templates: NDArray[np.intp], points: Floats) -> Floats:
        """Return (B, P, 4) log-likelihood and gradient in the cell of each of points (B, 3, P)."""
        return np.take(self.values, self.rows(points) + self.starts(templates), axis=0)

    def interpolated(self, templates: NDArray[np.intp], points: Floats) -> Floats:
        """Return the same, interpolated linearly between the cells' centres."""
        place = (points + np.float32(REACH)) * np.float32(1 / self.cell) - np.float32(0.5)
        np.clip(place, 0, self.size - 1.001, out=place)
        first = place.astype(np.int32)
        share = place - first.astype(np.float32)
        rows = self._number(first[:, 0], first[:, 1], first[:, 2]) + self.starts(templates)
        total = np.zeros((*rows.shape, 4), dtype=np.float32)
        for corner in _CORNERS:
            x, y, z = (share[:, i] if corner[i] else 1 - share[:, i] for i in range(3))
            found = np.take(self.values, rows + np.int32(self._number(*corner)), axis=0)
            found *= (x * y * z)[..., None]
            total += found
        return total


def inlier_weight(log_likelihood: Floats) -> Floats:
    """Return the probability that a point of that likelihood is no outlier."""
    return np.asarray(1 - np.float32(_FLOOR) * np.exp(-log_likelihood))
