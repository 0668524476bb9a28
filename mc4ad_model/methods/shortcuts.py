# SPDX-License-Identifier: Apache-2.0
"""Shortcuts as methods: numbers of a cloud or a point that are no evidence for a defect.

They are behind the Protocol, so that they stand in a table beside methods: one that does not beat
them has found nothing but the number. The number of points and the area are probes of `iv verify`
too (`intravariance.verification.probes` says what they mean), and give all points of a cloud the
same score. None follows a paper.
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
from mc4ad_model.registration.poses import check_points


class PointCount(Constant):
    """Give an object its number of points as its score."""

    title: ClassVar[str] = "number of points"

    def score(self, points: NDArray[np.float32]) -> Prediction:
        """Count the points."""
        return Prediction(np.zeros(len(points), dtype=np.float32), object=float(len(points)))


class Radius(Constant):
    """Give a point its distance from the cloud's centroid as its score, an object the largest.

    Defects lie farther out than other points on some products, and farther in on others. A method
    whose scores rise towards the extremities has that much of P-AUROC, more or less than chance,
    without having seen a defect.
    """

    title: ClassVar[str] = "distance from the centroid"

    def score(self, points: NDArray[np.float32]) -> Prediction:
        """Measure the distances. Raises as `check_points`."""
        check_points(points)
        scores = centroid_distances(points)
        return Prediction(scores.astype(np.float32), object=float(scores.max()))


def centroid_distances(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the distance (N,) of each point (N, 3) from the centroid of all."""
    centred = points - points.mean(axis=0, dtype=np.float64)
    return np.asarray(np.sqrt((centred**2).sum(axis=1)))


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
