# SPDX-License-Identifier: Apache-2.0
"""Shortcuts as methods: single numbers of a cloud that are no evidence for a defect.

They are probes of `iv verify` (`intravariance.verification.probes` says what each means) behind the
Protocol, so that they stand in a table beside methods: one that does not beat them has found
nothing but the number. All points of a cloud have the same score. Neither follows a paper.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError
from intravariance.seeds import generator
from intravariance.verification.density import FEWEST_CENTRES, TemplateDensity
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.controls import Constant, NoSettings
from mc4ad_model.methods.method import Prediction
from mc4ad_model.methods.registered_distance import DistanceSettings, RegisteredDistance
from mc4ad_model.methods.settings import Settings


class PointCount(Constant):
    """Give an object its number of points as its score."""

    title: ClassVar[str] = "number of points"

    def score(self, points: NDArray[np.float32]) -> Prediction:
        """Count the points."""
        return Prediction(np.zeros(len(points), dtype=np.float32), object=float(len(points)))


class Area(RegisteredDistance):
    """Give an object the change of its area as its score, with the template known.

    A cloud is registered to the best of its category's templates. Its number of points over that
    of a pristine product with the cloud's median density is the change of area; the score is the
    absolute value of its logarithm, 0 with a note where too little of the cloud lies on the
    template. `iv verify` takes the true template and pose.
    """

    title: ClassVar[str] = "area, template known"
    Settings: ClassVar[type[Settings]] = NoSettings

    def __init__(self, settings: NoSettings, machine: Machine | None = None) -> None:
        super().__init__(DistanceSettings(), machine)
        self._densities: list[TemplateDensity] = []

    def _adopt(self, points: dict[str, NDArray[np.float32]], noise_sigma: float) -> None:
        super()._adopt(points, noise_sigma)
        assert self.fitted_on is not None
        seed = self.fitted_on.seed
        self._densities = [
            TemplateDensity(
                points[name].astype(np.float64), noise_sigma, generator(seed, "area", name)
            )
            for name in sorted(points)
        ]

    def score(self, points: NDArray[np.float32]) -> Prediction:
        """Register the cloud and compare its number of points with its density.

        Raises
        ------
        InputError
            It has fewer than 20 points, or as `Placing.place`.
        """
        from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

        assert self._placing is not None
        if len(points) < FEWEST_CENTRES:
            raise InputError(
                f"point cloud: expected at least {FEWEST_CENTRES} points to measure a density at, "
                f"found {len(points)}; leave the cloud out"
            )
        placed = self._placing.place(points)
        no_labels = np.zeros(len(points), dtype=np.uint8)
        density = self._densities[placed.pose.template]
        expected = density.coverage(placed.points, no_labels, cKDTree(placed.points)).median
        known = np.isfinite(expected) and expected > 0
        change = abs(float(np.log(len(points) / expected))) if known else 0.0
        blank = np.zeros(len(points), dtype=np.float32)
        note = None if known else "its area is not known: too little of it lies on the template"
        return Prediction(blank, object=change, note=placed.note or note)
