# SPDX-License-Identifier: Apache-2.0
"""How densely a cloud covers its product, with the template known.

A cloud and points simulated on the template, with the same noise, are counted in balls around
points of the cloud. The quotient of the counts is a quotient of densities wherever the surface is
the template's; edges, thin walls and noise act on both counts alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.verification.ball_counts import BallCounts

# Balls that hold some hundred points of a usual cloud, and together most of the surface.
_RADIUS = 0.2
_CENTRES = 400
FEWEST_CENTRES = 20  # and points of a cloud
_NOISE_REACH = 3.0  # standard deviations by which noise moves a point, practically always


@dataclass(frozen=True)
class Coverage:
    """How many points a cloud would have on the whole pristine product, at its density in places.

    far : at the mean density of the places that have no labelled point near. median : at the
    median density of all places, which needs no labels. NaN where there are too few places or
    points.
    """

    far: float = np.nan
    median: float = np.nan


class TemplateDensity:
    """Points of a template after noise, to count beside those of clouds.

    surface : (S, 3) float64, drawn by area, unit-sphere frame. sigma : of the noise that clouds
    have beyond these points.
    """

    def __init__(
        self, surface: NDArray[np.float64], sigma: float, rng: np.random.Generator
    ) -> None:
        from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

        noisy = surface + rng.normal(scale=sigma, size=surface.shape)
        self._count = len(noisy)
        # which is made in half of the time, and serves as well here
        self._points = BallCounts(cKDTree(noisy, balanced_tree=False, compact_nodes=False))
        self._clear = _RADIUS + _NOISE_REACH * sigma

    def coverage(
        self, points: NDArray[np.float64], labels: NDArray[np.uint8], tree: Any
    ) -> Coverage:
        """Measure a cloud.

        points : (N, 3), unit-sphere frame; tree : their k-d tree; labels : (N,), 1 = anomalous.
        """
        from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

        centres = points[np.linspace(0, len(points) - 1, min(len(points), _CENTRES)).astype(int)]
        # without the centre itself, which is always there
        here = BallCounts(tree).within(centres, _RADIUS) - 1
        there = self._points.within(centres, _RADIUS)
        # off the template, as on a bulge, there is nothing to compare with
        on = there > 0
        centres, here, there = centres[on], here[on], there[on]
        far = np.ones(len(centres), dtype=bool)
        if labels.any():
            near = cKDTree(points[labels == 1]).query(centres, distance_upper_bound=self._clear)[0]
            far = np.isinf(near)
        enough, enough_far = len(centres) >= FEWEST_CENTRES, far.sum() >= FEWEST_CENTRES
        return Coverage(
            far=self._count * float(here[far].sum() / there[far].sum()) if enough_far else np.nan,
            median=self._count * float(np.median(here / there)) or np.nan if enough else np.nan,
        )
