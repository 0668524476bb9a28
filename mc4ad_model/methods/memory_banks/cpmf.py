# SPDX-License-Identifier: Apache-2.0
"""CPMF: features of renderings from several sides, joined with FPFH, against a coreset.

Paper. Cao et al., Complementary Pseudo Multimodal Feature for Point Cloud Anomaly Detection,
Pattern Recognition 2024.

Followed. A cloud is rendered from several directions, in grey, lit from the eye, on white. The maps
of the first three stages of ResNet18 say what is at each point's place in each image, and a point
has the mean over the images. Beside that it has FPFH of its 100 nearest points, with normals of 30;
each of the two is brought to length one. 784 means of neighbours' features are looked up in a
coreset of 10 % of the templates', by Euclidean distance; the object's score is the largest,
weighed as in BTF.

Different. The source is for scans of one side: 27 directions within 15 degrees of the camera's, and
a point gathers from every image, since none hides it. Here the directions are all around, and a
point gathers where it is seen. Images are drawn here, without perspective, as discs of a fixed size
with a z-buffer; the source draws them with Open3D's window. Features are interpolated at the
point's place, not taken at its pixel. The source averages over 28 x 28 cells of the scan's image;
here over the nearest points of centres that lie far apart, and points have scores from three
centres, not smoothed. The sparse random projection before the coreset is left out. The network is
from the file that `backbone` names, or a narrower one that is trained on renderings of the
templates, see `projections.pretext`. The frame can be the registered one.

The source's sizes are `views=27` and `image_size=224`.

Licence of the source. CPMF is under the MIT licence. None of its code is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic.dataclasses import dataclass as validated

from intravariance.errors import InputError
from intravariance.seeds import seed_of
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.memory_banks.bank_method import Arrays, BankMethod
from mc4ad_model.methods.memory_banks.btf import weighed_score
from mc4ad_model.methods.memory_banks.coreset import greedy_coreset
from mc4ad_model.methods.memory_banks.fpfh import (
    DIMENSIONS,
    Features,
    Neighbourhood,
    estimated_normals,
    fpfh,
)
from mc4ad_model.methods.memory_banks.frames import Floats, UnregisteredFrame
from mc4ad_model.methods.memory_banks.nearest import nearest
from mc4ad_model.methods.memory_banks.spreading import farthest_points, local_means, spread
from mc4ad_model.methods.method import Prediction
from mc4ad_model.methods.projections.rendering import directions_around, render
from mc4ad_model.methods.settings import STRICT, Count, Settings, Share
from mc4ad_model.methods.templates import Templates

if TYPE_CHECKING:
    from mc4ad_model.methods.projections.fitted import FittedBackbone


@validated(frozen=True, config=STRICT)
class CPMFSettings(Settings):
    """Settings of CPMF: the images, the features, and the bank.

    Parameters
    ----------
    backbone
        File of torchvision's ResNet18 (.pth); "" to train one on renderings of the templates.
    frame
        "own", as published, or "registered".
    views, image_size
        Directions from which a cloud is drawn, and pixels of a side of an image.
    normal_neighbours, feature_neighbours
        Nearest points of a normal, and of FPFH.
    centres, centre_neighbours
        Number of centres of a cloud, and points whose features are averaged.
    bank_share
        Share of the centres that the coreset keeps.
    width, steps
        Channels of the first stage of a network that is trained, and its steps of 32 images.
    """

    backbone: str = ""
    frame: UnregisteredFrame = "own"
    views: Count = 12
    image_size: Count = 112
    normal_neighbours: Count = 30
    feature_neighbours: Count = 100
    centres: Count = 784
    centre_neighbours: Count = 20
    bank_share: Share = 0.1
    width: Count = 16
    steps: Count = 200

    @property
    def label(self) -> str:
        """The backbone, and the frame unless it is the published one."""
        from mc4ad_model.methods.projections.backbones import (  # noqa: PLC0415 - weight
            backbone_label,
        )

        frame = "" if self.frame == "own" else f"-{self.frame}"
        return f"cpmf-{backbone_label(self.backbone)}{frame}"


class CPMF(BankMethod):
    """Score points by how far what they look like, and FPFH, are from a coreset's entries."""

    title: ClassVar[str] = "CPMF"
    Settings: ClassVar[type[Settings]] = CPMFSettings
    settings: CPMFSettings
    files = (*BankMethod.files, "backbone.*")

    def __init__(self, settings: Any, machine: Machine | None = None) -> None:
        from mc4ad_model.methods.projections.fitted import (  # noqa: PLC0415 - weight
            FittedBackbone,
        )

        super().__init__(settings, machine)
        self.backbone: FittedBackbone = FittedBackbone(settings.backbone, machine)

    @property
    def seeded(self) -> bool:
        """Whether the seed matters: it draws what is trained on, and what is registered to."""
        return self.frame == "registered" or not self.settings.backbone

    @property
    def fewest(self) -> int:
        """As many as the largest neighbourhood has."""
        settings = self.settings
        return max(
            settings.normal_neighbours, settings.feature_neighbours, settings.centre_neighbours
        )

    @property
    def widths(self) -> Mapping[str, int]:
        """The features from the images and those of FPFH, side by side."""
        return {"features": self.backbone.point_channels + DIMENSIONS}

    def check(self, templates: Templates) -> None:
        """Check the templates, and that the backbone's file can be read or one can be trained."""
        super().check(templates)
        if not self.settings.backbone and self.settings.views * len(templates.templates) < 2:
            raise InputError(
                "views = 1: a network is trained to tell what is seen from where, and of one "
                "template from one side there is nothing to tell. Set views to 2 or more, or "
                "backbone=FILE."
            )
        self.backbone.check()

    def learn(self, clouds: list[Floats], rng: np.random.Generator) -> Arrays:
        """Take or train the backbone, describe the templates' centres and keep a coreset."""
        self._fit_backbone(clouds, seed_of(rng))
        features = np.concatenate([self.described(cloud)[1] for cloud in clouds])
        count = max(math.floor(round(self.settings.bank_share * len(features), 9)), 1)
        return {"features": features[greedy_coreset(features, count)]}

    def compare(self, cloud: Floats) -> Prediction:
        """Score the centres, bring the scores to the points, and weigh the largest."""
        centres, features = self.described(cloud)
        bank = self.bank["features"]
        scores, found = nearest(features, bank)
        worst = int(scores.argmax())
        weighed = weighed_score(float(scores[worst]), features[worst], bank, int(found[worst]))
        return Prediction(spread(scores, centres, cloud).astype(np.float32), weighed)

    def save(self, folder: Path) -> None:
        """Write the backbone, then the bank."""
        self.backbone.save(folder)
        super().save(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Errors as of `Method.load`."""
        self.backbone.load(folder)
        self.parameters = self.backbone.parameters
        super().load(folder)

    def described(self, cloud: Floats) -> tuple[Floats, Features]:
        """Return centres (G, 3) of a cloud (N, 3) that lie far apart, and their features (G, C)."""
        settings = self.settings
        around = Neighbourhood(settings.normal_neighbours)
        normals = estimated_normals(cloud, around)
        views = [
            render(cloud, normals, rotation, settings.image_size)
            for rotation in directions_around(settings.views)
        ]
        histograms = fpfh(cloud, around, [Neighbourhood(settings.feature_neighbours)])[0]
        both = np.concatenate(
            [_of_length_one(self.backbone.of_points(views)), _of_length_one(histograms)], axis=1
        )
        centres = farthest_points(cloud, settings.centres)
        return centres, local_means(both, cloud, centres, settings.centre_neighbours)

    def _fit_backbone(self, clouds: list[Floats], seed: int) -> None:
        """Where one is trained, a class is a template from one direction."""
        from mc4ad_model.methods.projections.pretext import (  # noqa: PLC0415 - weight
            Training,
            varied_rotation,
            varied_rows,
        )

        settings = self.settings
        directions = directions_around(settings.views)
        around = Neighbourhood(settings.normal_neighbours)
        normals = [estimated_normals(cloud, around) for cloud in clouds]

        def draw(number: int, rng: np.random.Generator) -> Features:
            template, direction = divmod(number, settings.views)
            rows = varied_rows(len(clouds[template]), rng)
            rotation = varied_rotation(rng) @ directions[direction]
            shown = clouds[template][rows], normals[template][rows]
            return render(*shown, rotation, settings.image_size).shades

        training = Training(settings.width, settings.steps, seed=seed)
        self.backbone.fit(draw, settings.views * len(clouds), training)
        self.parameters = self.backbone.parameters


def _of_length_one(features: Features) -> Features:
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, 1e-12), dtype=np.float32)
