# SPDX-License-Identifier: Apache-2.0
"""Reg3D-AD: two memory banks, of registered coordinates and of Point-MAE's features.

Paper. Liu et al., Real3D-AD: A Dataset of Point Cloud Anomaly Detection, NeurIPS 2023.

Followed. The mean of two branches with a bank each (`memory_banks.patchcore`): coordinates of
registered points, and Point-MAE's features of groups of points; coresets of 10,000 entries; squared
distances; an object's score is the largest of each branch; each branch's scores brought to 0 to 1
by their smallest and largest value.

Different. As for PatchCore: by default registration is to the best template by ours, and with
`frame = "first"` to the first by RANSAC, as published; the smallest and largest values are those of
training clouds, unless `normalisation = "test_set"`; there is no random map before the coreset.
Points take features' scores from the three nearest centres, where the source takes the nearest of
its 16,384 centres, and the network is in evaluation mode, see `point_mae.network`. `frame = "own"`
is the method without its registration.

Licence of the source. Real3D-AD has no licence file. Nothing of it is used: this is written from
the method and its parameters.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass as validated

from mc4ad_model.methods.memory_banks.frames import Frame
from mc4ad_model.methods.memory_banks.patchcore import PatchCore
from mc4ad_model.methods.memory_banks.point_features import CENTRES, GROUP_SIZE, encoder_label
from mc4ad_model.methods.settings import STRICT, Count, Settings


@validated(frozen=True, config=STRICT)
class Reg3DADSettings(Settings):
    """Settings of Reg3D-AD: the encoder, its groups, and the banks.

    Parameters
    ----------
    encoder
        Folder of `iv pretrain`.
    frame
        "registered" (the default), "first" (as published) or "own".
    normalisation, bank_size, starts
        As of `PatchCoreSettings`.
    centres, group_size
        Groups of a cloud, and points of one.
    """

    encoder: str = ""
    frame: Frame = "registered"
    normalisation: Literal["training", "test_set"] = "training"
    bank_size: Count = 10_000
    starts: Count = 10
    centres: Count = CENTRES
    group_size: Count = GROUP_SIZE

    @property
    def label(self) -> str:
        """The encoder, the frame unless it is the default, and whether the test set is seen."""
        words = ["reg3d_ad", encoder_label(self.encoder)]
        words += [] if self.frame == "registered" else [self.frame]
        return "-".join(words + (["test_set"] if self.transductive else []))

    @property
    def transductive(self) -> bool:
        """Whether scores depend on the test set as a whole."""
        return self.normalisation == "test_set"


class Reg3DAD(PatchCore):
    """Average the scores of registered coordinates and of Point-MAE's features."""

    title: ClassVar[str] = "Reg3D-AD"
    Settings: ClassVar[type[Settings]] = Reg3DADSettings
    settings: Reg3DADSettings  # type: ignore[assignment]

    @property
    def branches(self) -> tuple[str, ...]:
        """The features whose scores are averaged."""
        return ("point_mae", "raw")

    @property
    def fewest(self) -> int:
        """As many as a group has."""
        return self.settings.group_size
