# SPDX-License-Identifier: Apache-2.0
"""The clouds with the highest object scores so far, thinned, so that they can be shown."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from intravariance.cloud_files import PointCloud
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.scans import scan_cloud
from intravariance.seeds import generator
from mc4ad_model.prediction.detector import ScanPrediction

# Splats of more points than this only add to the time that a picture takes.
KEPT_POINTS = 30_000


@dataclass(frozen=True, eq=False)
class ShownCloud:
    """A prediction whose arrays hold a random part of the cloud where that is large.

    number : of the cloud in the tables. whole : number of its points.
    """

    number: int
    prediction: ScanPrediction
    whole: int

    @property
    def name(self) -> str:
        """Return its number and the last part of its file's name: unique, and short."""
        name = self.prediction.file.replace("\\", "/").rpartition("/")[2]
        return f"{self.number}. {name}"

    def labelled(self, points: int | None = None, noise: float = 0.0) -> LabelledCloud:
        """Return it as what pictures and pages show, of at most so many points.

        noise : standard deviation on each coordinate, in radii.
        """
        found = self.prediction
        assert found.points is not None
        scan = PointCloud(found.points.astype(np.float64))
        cloud, _ = scan_cloud(
            scan, self.name, display_points=points, scores=found.scores, force=found.force
        )
        return replace(cloud, whole=self.whole, noise=noise)


class WorstClouds:
    """Keep the `count` clouds with the highest object scores; 0 keeps none."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._kept: list[tuple[float, int, ShownCloud]] = []

    @property
    def clouds(self) -> list[ShownCloud]:
        """Return them, the worst first; of equal ones the one that was named first."""
        return [cloud for _, _, cloud in self._kept]

    def add(self, number: int, prediction: ScanPrediction) -> bool:
        """Keep a prediction without an error, thinned, if it is among the highest; tell whether."""
        assert prediction.object_score is not None
        place = (-prediction.object_score, number)
        if len(self._kept) >= self.count and (
            not self.count or place > (self._kept[-1][0], self._kept[-1][1])
        ):
            return False
        self._kept.append((*place, thinned(number, prediction)))
        self._kept = sorted(self._kept, key=lambda kept: kept[:2])[: self.count]
        return True


def thinned(number: int, prediction: ScanPrediction, points: int = KEPT_POINTS) -> ShownCloud:
    """Leave a random part of a large cloud: so many points."""
    arrays = {name: getattr(prediction, name) for name in ("points", "scores", "force")}
    whole = len(arrays["points"])
    if whole > points:
        rng = generator(0, str(number), "display")
        keep = np.sort(rng.choice(whole, points, replace=False))
        arrays = {name: None if a is None else a[keep] for name, a in arrays.items()}
    return ShownCloud(number, replace(prediction, **arrays), whole)
