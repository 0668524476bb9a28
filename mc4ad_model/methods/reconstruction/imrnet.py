# SPDX-License-Identifier: Apache-2.0
"""IMRNet: patches of a cloud are hidden and reconstructed again and again, then both are compared.

Paper. Li et al., Towards Scalable 3D Anomaly Detection and Localization: A Benchmark via 3D Anomaly
Synthesis and A Self-Supervised Learning Network, CVPR 2024. Its code was never released.

Followed, from the abstract, the caption of the overview and the supplement. Geometry-aware sampling
keeps more points where the surface bends; the sampled cloud is divided into patches, random ones
are hidden, and a masked autoencoder in the manner of Point-MAE reconstructs them. In testing each
output is the next input, three times (the supplement's best number), with patches of 64 points
(its best size). The last cloud and the first are compared by coordinates and by features.

Unknown, so ours. The measure of bending (`geometry_sampling`), the numbers of points and patches,
the share that is hidden, the training's length, and how the two comparisons are put together: each
is divided by its mean on normal clouds, and both are added. The object's score is the largest.

Different. The encoder is the one of `iv pretrain` (required), and is trained further here together
with a new decoder on clouds of the category's templates. Preset `small`, the
default, does that for minutes on a processor. The paper's own sizes being unknown, preset `paper`
is what a GPU can do, more points, patches and steps; it was not trained here. The patches of a
round are first those that were not reconstructed in the rounds before it, so that every part is
reconstructed once. Points that were not sampled take scores from the three nearest that were.
`frame=registered` registers clouds first.

Licence of the source. The repository (Anomaly-ShapeNet) has none of its code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic.dataclasses import dataclass as validated
from scipy.spatial import cKDTree

from intravariance.seeds import generator
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.memory_banks.frames import Floats, UnregisteredFrame
from mc4ad_model.methods.memory_banks.point_features import encoder_label, given_encoder
from mc4ad_model.methods.memory_banks.spreading import spread
from mc4ad_model.methods.method import Prediction
from mc4ad_model.methods.reconstruction.geometry_sampling import geometry_aware_sample
from mc4ad_model.methods.reconstruction.method import NormalClouds, ReconstructionMethod
from mc4ad_model.methods.reconstruction.settings import PresetSettings
from mc4ad_model.methods.settings import (
    STRICT,
    Count,
    Positive,
    Settings,
    Share,
    Weight,
    read_section,
)
from mc4ad_model.methods.templates import Templates

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mc4ad_model.methods.point_mae.encoders import Encoder
    from mc4ad_model.methods.step_training import StepTraining

_MEASURED = 8  # normal clouds on which the two comparisons are measured


@validated(frozen=True, config=STRICT)
class IMRNetSettings(PresetSettings):
    """Sampling, masks, training and comparison.

    Parameters
    ----------
    encoder
        Folder of `iv pretrain`.
    frame
        "own", as published, or "registered".
    points, key_share, neighbours
        Points that are sampled of a cloud, the share of its points that are key points, of which
        half of the sample is, and the points that say whether a point is one.
    groups, group_size, hidden_share
        Patches, points of one, and the share of the patches that is hidden at a time.
    rounds
        How often a cloud goes through the network.
    clouds
        Normal clouds that are sampled for the training.
    steps, batch, learning_rate
        Training: steps, clouds of one, and the largest rate.
    centres
        Places where features are compared.
    feature_weight
        Weight of the features' comparison beside that of coordinates.
    """

    encoder: str = ""
    frame: UnregisteredFrame = "own"
    points: Count = 2048
    key_share: Share = 0.25
    neighbours: Count = 16
    groups: Count = 64
    group_size: Count = 64
    hidden_share: Share = 0.4
    rounds: Count = 3
    clouds: Count = 48
    steps: Count = 300
    batch: Count = 8
    learning_rate: Positive = 3e-3
    centres: Count = 256
    feature_weight: Weight = 1.0

    paper: ClassVar[Mapping[str, Any]] = {
        "points": 8192, "groups": 256, "clouds": 512, "steps": 20_000, "batch": 32,
        "centres": 1024,
    }  # fmt: skip

    def __post_init__(self) -> None:
        if not 1 <= int(self.hidden_share * self.groups) < self.groups:
            raise ValueError(
                f"hidden_share = {self.hidden_share} of groups = {self.groups}: expected some "
                "patches to be hidden, and not all"
            )
        if self.group_size > self.points:
            raise ValueError(
                f"group_size = {self.group_size}: expected at most points = {self.points}"
            )

    @property
    def label(self) -> str:
        """The encoder, the preset, and the frame unless it is the published one."""
        frame = "" if self.frame == "own" else f"-{self.frame}"
        return f"imrnet{self.size}-{encoder_label(self.encoder)}{frame}"


class IMRNet(ReconstructionMethod):
    """Score points by how a cloud differs from its reconstruction from hidden patches."""

    title: ClassVar[str] = "IMRNet"
    Settings: ClassVar[type[Settings]] = IMRNetSettings
    settings: IMRNetSettings

    def __init__(self, settings: Any, machine: Machine | None = None) -> None:
        super().__init__(settings, machine)
        self._encoder: Encoder | None = None

    @property
    def fewest(self) -> int:
        """As many as are sampled."""
        return self.settings.points

    def check(self, templates: Templates) -> None:
        """Check the templates, and that the encoder can be read."""
        super().check(templates)
        self._encoder = given_encoder(self.settings.encoder)

    def described(self) -> dict[str, Any]:
        """Say of which form the network is, the encoder's, and where that comes from."""
        assert self._encoder is not None
        own = self.settings
        config = replace(
            self._encoder.network.config,
            points=own.points,
            groups=own.groups,
            group_size=own.group_size,
            hidden_share=own.hidden_share,
        )
        values = {"network": asdict(config), "origin": self._encoder.origin}
        return dict(json.loads(json.dumps(values)))  # as it is read back: a list for a tuple

    def new_network(self) -> nn.Module:
        """Make the encoder and its decoder."""
        from mc4ad_model.methods.point_mae.network import (  # noqa: PLC0415 - weight
            NetworkConfig,
            PointMAE,
        )

        where = "network.json: structure: network"
        return PointMAE(read_section(NetworkConfig, self.structure.get("network"), where))

    def training(self, network: nn.Module, clouds: NormalClouds, seed: int) -> StepTraining:
        """Learn to reconstruct hidden patches of sampled normal clouds."""
        import torch  # noqa: PLC0415 - weight

        from mc4ad_model.methods.point_mae import pretraining  # noqa: PLC0415 - weight
        from mc4ad_model.methods.point_mae.network import PointMAE  # noqa: PLC0415 - weight
        from mc4ad_model.methods.step_training import StepTraining  # noqa: PLC0415 - weight

        assert isinstance(network, PointMAE) and self._encoder is not None
        own, device = self.settings, self.machine.torch_device()
        first = generator(seed, "imrnet", clouds.category)
        weights = torch.Generator().manual_seed(int(first.integers(2**63)))
        pretraining.initialise(network, weights)
        network.encoder.load_state_dict(self._encoder.network.state_dict())
        pool = [self.sampled(clouds.draw(first)) for _ in range(own.clouds)]

        def loss(step: int) -> Tensor:
            rng = generator(seed, "imrnet", clouds.category, str(step))
            chosen = rng.integers(len(pool), size=own.batch)
            # another point first: other patches
            batch = [clouds.turned(rng.permutation(pool[k]), rng) for k in chosen]
            return pretraining.masked_loss(network, batch, rng, device)

        return StepTraining(
            name=f"train {clouds.category}",
            identity={},
            steps=own.steps,
            loss=loss,
            rate=lambda step: pretraining.learning_rate(step, own.steps, own.learning_rate),
            optimiser=pretraining.new_optimiser,
        )

    def sampled(self, cloud: Floats) -> Floats:
        """Sample a cloud (N, 3): (points, 3)."""
        own = self.settings
        neighbours = min(own.neighbours, len(cloud))
        return cloud[geometry_aware_sample(cloud, own.points, neighbours, own.key_share)]

    def measure(self, clouds: NormalClouds, seed: int) -> dict[str, Any]:
        """Return the mean of either comparison on normal clouds."""
        rng = generator(seed, "imrnet", clouds.category, "measure")
        found = [self._differences(self.sampled(clouds.draw(rng))) for _ in range(_MEASURED)]
        return {
            "coordinates": float(np.mean([one[0].mean() for one in found])),
            "features": float(np.mean([one[2].mean() for one in found])),
        }

    def reconstructed(self, sampled: Floats, rng: np.random.Generator) -> Floats:
        """Hide and reconstruct patches of a sampled cloud (points, 3), round for round.

        Each round first hides the patches that have the fewest points from earlier rounds, and
        chooses at random among equals. Their reconstruction replaces all their points. Before each
        round, as many points as the cloud had at first are kept at random.
        """
        import torch  # noqa: PLC0415 - weight

        from mc4ad_model.methods.point_mae.groups import (  # noqa: PLC0415 - weight
            farthest_points,
            nearest_points,
        )
        from mc4ad_model.methods.point_mae.network import (  # noqa: PLC0415 - weight
            Masked,
            PointMAE,
        )

        assert isinstance(self.network, PointMAE)
        own, device = self.settings, self.machine.torch_device()
        hidden = max(int(own.hidden_share * own.groups), 1)
        cloud, made = sampled, np.zeros(len(sampled), dtype=bool)
        for _ in range(own.rounds):
            kept = rng.permutation(len(cloud))[: len(sampled)]
            cloud, made = cloud[kept], made[kept]
            centres = cloud[farthest_points(cloud, own.groups)]
            near = nearest_points(cloud, centres, own.group_size)  # (G, K)
            order = np.lexsort((rng.random(len(near)), made[near].mean(axis=1)))
            masked = Masked(
                torch.from_numpy(order[None, hidden:]).to(device),
                torch.from_numpy(order[None, :hidden]).to(device),
            )
            with torch.no_grad():
                found = self.network.reconstructed(
                    torch.from_numpy(cloud[near] - centres[:, None])[None].float().to(device),
                    torch.from_numpy(centres)[None].float().to(device),
                    masked,
                )
            new = found[0].double().cpu().numpy() + centres[order[:hidden], None]
            stays = np.ones(len(cloud), dtype=bool)
            stays[near[order[:hidden]]] = False
            cloud = np.concatenate([cloud[stays], new.reshape(-1, 3)])
            made = np.concatenate([made[stays], np.ones(new.size // 3, dtype=bool)])
        return cloud

    def _differences(self, sampled: Floats) -> tuple[Floats, Floats, Floats]:
        """Compare a sampled cloud (points, 3) with its reconstruction.

        Returns
        -------
        coordinates : (points,) distance of each point from the nearest reconstructed one
        centres : (G, 3) places
        features : (G,) distance of the features of the two clouds there
        """
        from mc4ad_model.methods.point_mae.groups import (  # noqa: PLC0415 - weight
            farthest_points,
        )

        again = self.reconstructed(sampled, self.scoring_rng())
        coordinates = cKDTree(again).query(sampled)[0]
        centres = sampled[farthest_points(sampled, self.settings.centres)]
        before, after = (self._features(cloud, centres) for cloud in (sampled, again))
        features = np.sqrt(((before - after) ** 2).sum(axis=1))
        return coordinates, centres, features

    def _features(self, cloud: Floats, centres: Floats) -> Floats:
        """Return the features (G, C) of a cloud's patches at places (G, 3)."""
        import torch  # noqa: PLC0415 - weight

        from mc4ad_model.methods.point_mae.groups import (  # noqa: PLC0415 - weight
            nearest_points,
        )
        from mc4ad_model.methods.point_mae.network import PointMAE  # noqa: PLC0415 - weight

        assert isinstance(self.network, PointMAE)
        device = self.machine.torch_device()
        groups = cloud[nearest_points(cloud, centres, self.settings.group_size)] - centres[:, None]
        found = self.network.encoder.features(
            torch.from_numpy(groups).float().to(device),
            torch.from_numpy(centres).float().to(device),
        )
        return np.asarray(found.double().cpu().numpy())

    def compare(self, cloud: Floats) -> Prediction:
        """Add both comparisons, each in units of its mean on normal clouds, at every point."""
        sampled = self.sampled(cloud)
        coordinates, centres, features = self._differences(sampled)
        scores = spread(coordinates / self.measured["coordinates"], sampled, cloud)
        scores += self.settings.feature_weight * spread(
            features / self.measured["features"], centres, cloud
        )
        return Prediction(scores.astype(np.float32))
