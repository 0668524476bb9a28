# SPDX-License-Identifier: Apache-2.0
"""M3DM, its branch of points alone: Point-MAE's features of groups of points against a coreset.

Paper. Wang et al., Multimodal Industrial Anomaly Detection via Hybrid Fusion, CVPR 2023; for point
clouds in the benchmark Real3D-AD (Liu et al., NeurIPS 2023), whose row "M3DM (PointMAE)" this is.

Followed. Clouds are centred and not registered. The bank is a coreset of 10 % of the templates'
features. A centre's score is its Euclidean distance from the nearest entry; the object's is the
largest, weighed by how far the neighbours of that entry are, 1e-5 added to the weight's sum.

Different. The source takes 16,384 centres, more than a cloud here has points; `centres` sets that.
It reports points' metrics over its centres alone; here all points have a score, by inverse squared
distance from the three nearest centres. The sparse random projection before the coreset, which is
unseeded there, is left out. The source never puts the network into evaluation mode, see
`point_mae.network`. The frame can be the registered one.

Licence of the source. M3DM is under the MIT licence; Real3D-AD has no licence file. Nothing of
either is used: this is written from the method and its parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic.dataclasses import dataclass as validated

from mc4ad_model.methods.memory_banks.bank_method import Arrays
from mc4ad_model.methods.memory_banks.btf import weighed_score
from mc4ad_model.methods.memory_banks.coreset import greedy_coreset
from mc4ad_model.methods.memory_banks.frames import Floats, UnregisteredFrame
from mc4ad_model.methods.memory_banks.nearest import nearest
from mc4ad_model.methods.memory_banks.point_features import (
    CENTRES,
    GROUP_SIZE,
    PointMAEBank,
    encoder_label,
)
from mc4ad_model.methods.memory_banks.spreading import spread
from mc4ad_model.methods.method import Prediction
from mc4ad_model.methods.settings import STRICT, Count, Settings, Share

_CONSTANT = 1e-5


@validated(frozen=True, config=STRICT)
class M3DMSettings(Settings):
    """Settings of M3DM: the encoder, its groups, and the bank.

    Parameters
    ----------
    encoder
        Folder of `iv pretrain`.
    frame
        "own", as published, or "registered".
    centres, group_size
        Groups of a cloud, and points of one.
    bank_share
        Share of the features that the coreset keeps.
    """

    encoder: str = ""
    frame: UnregisteredFrame = "own"
    centres: Count = CENTRES
    group_size: Count = GROUP_SIZE
    bank_share: Share = 0.1

    @property
    def label(self) -> str:
        """The encoder, and the frame unless it is the published one."""
        frame = "" if self.frame == "own" else f"-{self.frame}"
        return f"m3dm-{encoder_label(self.encoder)}{frame}"


class M3DM(PointMAEBank):
    """Score points by the distance of their groups' features from a coreset of the templates'."""

    title: ClassVar[str] = "M3DM (points)"
    Settings: ClassVar[type[Settings]] = M3DMSettings
    settings: M3DMSettings

    @property
    def fewest(self) -> int:
        """As many as a group has."""
        return self.settings.group_size

    @property
    def widths(self) -> Mapping[str, int]:
        """The features of the bank."""
        return {"features": self.channels}

    def learn(self, clouds: list[Floats], rng: np.random.Generator) -> Arrays:
        """Describe the templates' centres and keep a coreset."""
        features = np.concatenate([self.encoded(cloud)[1] for cloud in clouds])
        count = max(math.floor(round(self.settings.bank_share * len(features), 9)), 1)
        return {"features": features[greedy_coreset(features, count)]}

    def compare(self, cloud: Floats) -> Prediction:
        """Score the centres, bring the scores to the points, and weigh the largest."""
        centres, features = self.encoded(cloud)
        bank = self.bank["features"]
        scores, found = nearest(features, bank)
        worst = int(scores.argmax())
        weighed = weighed_score(
            float(scores[worst]), features[worst], bank, int(found[worst]), constant=_CONSTANT
        )
        return Prediction(spread(scores, centres, cloud).astype(np.float32), weighed)
