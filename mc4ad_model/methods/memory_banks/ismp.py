# SPDX-License-Identifier: Apache-2.0
"""ISMP: what a cloud looks like from inside, FPFH and Point-MAE's features, beside coordinates.

Paper. Liang et al., Look Inside for More: Internal Spatial Modality Perception for 3D Anomaly
Detection, AAAI 2025.

Followed. The repository's `code1`, which its authors call the fast version of a reconstruction of
their lost code. Four images of the registered cloud, along z: on planes at its top and its bottom,
and on both sides of its middle, the nearer to the plane the brighter. A network of images describes
each by its last maps' largest values, and the mean of the four (the Spatial Insight Engine) is put
beside the FPFH and the Point-MAE features of each centre. That is one branch; the other is
coordinates of registered points, and the rest is Reg3D-AD's: coresets of 10,000 entries, squared
distances, the largest for an object, the mean of both branches, each brought to 0 to 1.

Different. The network is EfficientNet-B0 in the source; here it is ResNet18, from the file that
`backbone` names, or trained on such images of the templates, see `projections.pretext`. The source
gives it brightness from 0 to 255, of 224 x 224 pixels in which the last point wins; here it is 0 to
1, brought to the mean and spread of ImageNet, and the brightest wins. By default registration is to
the best template by ours, and with `frame = "first"` to the first by RANSAC, as published. FPFH's
radii, normalisation, centres and Point-MAE are as for PatchCore and Reg3D-AD. Three features of
different units stand side by side as in the source: FPFH, a histogram that sums to 600, weighs
most. The description of the whole cloud is the same at all its centres: it moves all their
distances alike, and says nothing of where. The paper's filter of features and its features of key
points are not in the repository, nor here; in its `code2` objects' scores are of coordinates alone,
which reads like a slip and is not followed.

Licence of the source. The repository is under the MIT licence. None of its code is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic.dataclasses import dataclass as validated
from scipy.spatial import cKDTree

from intravariance.seeds import seed_of
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.memory_banks.bank_method import Arrays
from mc4ad_model.methods.memory_banks.fpfh import DIMENSIONS, Features
from mc4ad_model.methods.memory_banks.frames import Floats, Frame
from mc4ad_model.methods.memory_banks.patchcore import RANGE, Described, PatchCore
from mc4ad_model.methods.memory_banks.point_features import CENTRES, GROUP_SIZE, encoder_label
from mc4ad_model.methods.projections.rendering import slices
from mc4ad_model.methods.settings import STRICT, Count, Positive, Settings
from mc4ad_model.methods.templates import Templates

if TYPE_CHECKING:
    from mc4ad_model.methods.projections.fitted import FittedBackbone

_INSIDE, _RAW = "inside", "raw"
_PLANES = 4


@validated(frozen=True, config=STRICT)
class ISMPSettings(Settings):
    """Settings of ISMP: the networks, the features, and the banks.

    Parameters
    ----------
    encoder
        Folder of `iv pretrain`.
    backbone
        File of torchvision's ResNet18 (.pth); "" to train one on images of the templates.
    frame
        "registered" (the default), "first" (as published) or "own".
    normalisation, bank_size, starts
        As of `PatchCoreSettings`, and so are the neighbourhoods of normals and FPFH.
    centres, group_size
        Groups of a cloud, and points of one.
    image_size
        Pixels of a side of an image.
    width, steps
        Channels of the first stage of a network that is trained, and its steps of 32 images.
    """

    encoder: str = ""
    backbone: str = ""
    frame: Frame = "registered"
    normalisation: Literal["training", "test_set"] = "training"
    bank_size: Count = 10_000
    starts: Count = 10
    normal_radius: Positive = 0.056
    normal_neighbours: Count = 30
    feature_radius: Positive = 0.141
    feature_neighbours: Count = 100
    centres: Count = CENTRES
    group_size: Count = GROUP_SIZE
    image_size: Count = 112
    width: Count = 16
    steps: Count = 200

    @property
    def label(self) -> str:
        """The networks, the frame unless it is the default, and whether the test set is seen."""
        from mc4ad_model.methods.projections.backbones import (  # noqa: PLC0415 - weight
            backbone_label,
        )

        words = ["ismp", encoder_label(self.encoder), backbone_label(self.backbone)]
        words += [] if self.frame == "registered" else [self.frame]
        return "-".join(words + (["test_set"] if self.transductive else []))

    @property
    def transductive(self) -> bool:
        """Whether scores depend on the test set as a whole."""
        return self.normalisation == "test_set"


class ISMP(PatchCore):
    """Average the scores of registered coordinates and of features that know the inside."""

    title: ClassVar[str] = "ISMP"
    Settings: ClassVar[type[Settings]] = ISMPSettings
    settings: ISMPSettings  # type: ignore[assignment]
    files = (*PatchCore.files, "backbone.*")

    def __init__(self, settings: Any, machine: Machine | None = None) -> None:
        from mc4ad_model.methods.projections.fitted import (  # noqa: PLC0415 - weight
            FittedBackbone,
        )

        super().__init__(settings, machine)
        self.backbone: FittedBackbone = FittedBackbone(settings.backbone, machine)

    @property
    def branches(self) -> tuple[str, ...]:
        """The features whose scores are averaged."""
        return (_INSIDE, _RAW)

    @property
    def encodes(self) -> bool:
        """It needs an encoder."""
        return True

    @property
    def fewest(self) -> int:
        """As many as a group has, or the neighbourhood of a feature may have."""
        return max(self.settings.group_size, self.settings.feature_neighbours)

    @property
    def widths(self) -> Mapping[str, int]:
        """A bank for each branch, and the range of its scores."""
        inside = self.backbone.image_channels + DIMENSIONS + self.channels
        return {_INSIDE: inside, _RAW: 3, _INSIDE + RANGE: 2, _RAW + RANGE: 2}

    def check(self, templates: Templates) -> None:
        """Check the templates, and that encoder and backbone can be read."""
        super().check(templates)
        self.backbone.check()

    def learn(self, clouds: list[Floats], rng: np.random.Generator) -> Arrays:
        """Take or train the backbone, then fill the banks."""
        self._fit_backbone(clouds, seed_of(rng))
        return super().learn(clouds, rng)

    def described(self, cloud: Floats) -> dict[str, Described]:
        """Put the whole cloud's description beside those of its centres."""
        centres, encoded = self.encoded(cloud)
        local = self.histograms(cloud)[cKDTree(cloud).query(centres)[1]]
        whole = self.backbone.of_images(slices(cloud, self.settings.image_size)).mean(axis=0)
        everywhere = np.tile(whole, (len(centres), 1))
        inside = np.concatenate([everywhere, local, encoded], axis=1)
        return {
            _INSIDE: Described(inside, centres),
            _RAW: Described(cloud.astype(np.float32)),
        }

    def save(self, folder: Path) -> None:
        """Write the backbone, the encoder, then the banks."""
        self.backbone.save(folder)
        super().save(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Errors as of `Method.load`."""
        self.backbone.load(folder)
        super().load(folder)
        self._count()

    def _fit_backbone(self, clouds: list[Floats], seed: int) -> None:
        """Where one is trained, a class is a template on one of the planes."""
        from mc4ad_model.methods.projections.pretext import (  # noqa: PLC0415 - weight
            Training,
            varied_rotation,
            varied_rows,
        )

        def draw(number: int, rng: np.random.Generator) -> Features:
            cloud = clouds[number // _PLANES]
            turned = cloud[varied_rows(len(cloud), rng)] @ varied_rotation(rng)
            images: Features = slices(turned, self.settings.image_size)
            return np.asarray(images[number % _PLANES])

        training = Training(self.settings.width, self.settings.steps, seed=seed)
        self.backbone.fit(draw, _PLANES * len(clouds), training)
        self._count()

    def _count(self) -> None:
        self.parameters = self.encoder.parameters + self.backbone.parameters
