# SPDX-License-Identifier: Apache-2.0
"""Simple3D: FPFH of several scales, averaged around centres, against a coreset.

Paper. Cheng et al., Simple3D in the benchmark MiniShift (Towards High-Resolution 3D Anomaly
Detection, AAAI 2026).

Followed. Clouds are neither scaled nor registered nor thinned. Normals of the 10 nearest points;
FPFH of the 40, 80, 80 and 120 nearest, side by side (132 numbers; the second scale counts twice).
4,096 centres that lie far apart have the mean of their 128 nearest points' descriptors. The bank is
a coreset of 5 % of the templates' centres, rounded down. A centre's score is its Euclidean distance
from the nearest entry. Points take it from three centres by inverse squared distance, and it is
smoothed: the mean over 12 nearest points of 1,024 centres, brought back in the same way. The
object's score is the mean of the 80 highest points', as for Anomaly-ShapeNet.

Different. The source's sparse random projection before the coreset (for an error of 0.9) would have
more dimensions than the descriptors, and fails in the source too, which goes on without it. The
source chooses the coreset in half precision, here it is single. A cloud with fewer points than
centres has a centre at each point. The frame can be the registered one.

Licence of the source. MiniShift-Simple3D has no licence file. Nothing of it is used: this is
written from the method and its parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as validated

from mc4ad_model.methods.memory_banks.bank_method import Arrays, BankMethod
from mc4ad_model.methods.memory_banks.coreset import greedy_coreset
from mc4ad_model.methods.memory_banks.fpfh import DIMENSIONS, Features, Neighbourhood, fpfh
from mc4ad_model.methods.memory_banks.frames import Floats, UnregisteredFrame
from mc4ad_model.methods.memory_banks.nearest import nearest
from mc4ad_model.methods.memory_banks.spreading import farthest_points, local_means, spread
from mc4ad_model.methods.method import Prediction
from mc4ad_model.methods.settings import STRICT, Count, Settings, Share

Counts = Annotated[tuple[Count, ...], Field(min_length=1)]


@validated(frozen=True, config=STRICT)
class Simple3DSettings(Settings):
    """Settings of Simple3D: the features, the bank, and how scores reach the points.

    Parameters
    ----------
    frame
        "own", as published, or "registered".
    normal_neighbours
        Points of a plane for a normal.
    feature_neighbours
        Points of the histograms, which stand side by side.
    centres, centre_neighbours
        Number of centres of a cloud, and points whose descriptors are averaged.
    bank_share
        Share of the centres that the coreset keeps.
    smoothing_centres, smoothing_neighbours
        Centres, and points whose scores are averaged there.
    top_points
        Highest scores whose mean is the object's.
    """

    frame: UnregisteredFrame = "own"
    normal_neighbours: Count = 10
    feature_neighbours: Counts = (40, 80, 80, 120)
    centres: Count = 4096
    centre_neighbours: Count = 128
    bank_share: Share = 0.05
    smoothing_centres: Count = 1024
    smoothing_neighbours: Count = 12
    top_points: Count = 80

    @property
    def label(self) -> str:
        """The frame, unless it is the published one."""
        return "" if self.frame == "own" else f"simple3d-{self.frame}"


class Simple3D(BankMethod):
    """Score points by the distance of local multi-scale FPFH from a coreset of the templates'."""

    title: ClassVar[str] = "Simple3D"
    Settings: ClassVar[type[Settings]] = Simple3DSettings
    settings: Simple3DSettings

    @property
    def seeded(self) -> bool:
        """Whether the seed matters: it draws the points that clouds are registered to."""
        return self.frame == "registered"

    @property
    def fewest(self) -> int:
        """As many as the largest neighbourhood has."""
        settings = self.settings
        return max(
            settings.normal_neighbours,
            *settings.feature_neighbours,
            settings.centre_neighbours,
            settings.smoothing_neighbours,
        )

    @property
    def widths(self) -> Mapping[str, int]:
        """The descriptors of the bank."""
        return {"features": DIMENSIONS * len(self.settings.feature_neighbours)}

    def learn(self, clouds: list[Floats], rng: np.random.Generator) -> Arrays:
        """Describe the templates' centres and keep a coreset."""
        features = np.concatenate([self._described(cloud)[1] for cloud in clouds])
        # rounded before: 0.29 * 100 is a little less than 29 in floating point
        count = max(math.floor(round(self.settings.bank_share * len(features), 9)), 1)
        return {"features": features[greedy_coreset(features, count)]}

    def compare(self, cloud: Floats) -> Prediction:
        """Score the centres, bring the scores to the points, and smooth them."""
        centres, features = self._described(cloud)
        scores, _ = nearest(features, self.bank["features"])
        scores = self._smoothed(spread(scores, centres, cloud), cloud)
        highest = np.sort(scores)[-self.settings.top_points :]
        return Prediction(scores.astype(np.float32), float(highest.mean()))

    def _described(self, cloud: Floats) -> tuple[Floats, Features]:
        """Return the centres (M, 3) of a cloud and their descriptors (M, C)."""
        settings = self.settings
        scales = sorted(set(settings.feature_neighbours))
        found = fpfh(
            cloud, Neighbourhood(settings.normal_neighbours), [Neighbourhood(k) for k in scales]
        )
        by_scale = dict(zip(scales, found, strict=True))
        own = np.concatenate([by_scale[k] for k in settings.feature_neighbours], axis=1)  # (N, C)
        centres = farthest_points(cloud, settings.centres)
        return centres, local_means(own, cloud, centres, settings.centre_neighbours)

    def _smoothed(self, scores: Floats, cloud: Floats) -> Floats:
        """Return scores (N,) of a cloud (N, 3), smoothed."""
        centres = farthest_points(cloud, self.settings.smoothing_centres)
        means = local_means(scores[:, None], cloud, centres, self.settings.smoothing_neighbours)
        return spread(means[:, 0], centres, cloud)
