# SPDX-License-Identifier: Apache-2.0
"""R3D-AD: a cloud is reconstructed from noise by a diffusion that is told its code.

Paper. Zhou et al., R3D-AD: Reconstruction via Diffusion for 3D Anomaly Detection, ECCV 2024.

Followed, from the released code (read in a fork; its repository was not at hand) and the abstract.
A cloud is brought to 2,048 random points; a PointNet makes a code of 256 numbers of it; the
diffusion has 200 steps of noise with variances from 1e-4 to 0.05, and a perceptron says which noise
is in a point (`reconstruction.diffusion`). Adam at 0.001 for 40,000 steps of 128 clouds, gradients
cut at 10. Patch-Gen (`reconstruction.patch_gen`): the encoded cloud has a simulated anomaly, the
reconstructed one has none. A point's score is its distance from the nearest reconstructed point,
the object's the largest.

Different. Preset `paper` has the release's sizes and training, wants a GPU and was not trained
here. Preset `small`, the default, has half the channels, half the points, 50 steps of the diffusion
and 600 of the training. Since it learns hardly anything so soon as published, its network says
where a noisy point was (`learns=place`), sees waves of the coordinates, has first weights that
carry signals through the gates, and parts of a cloud are after different steps. The release defines
Patch-Gen and never calls it, so the size of a patch and its displacement are ours; `patches=false`
leaves it out, as the release does. The paper learns displacements of the input's points; the
release has a loss for that, whose inputs its data set does not give, and learns the reconstructed
points themselves: so it is here. The release's second score, of patches of 64 points, is left out,
and so is its weight of an object's score, which is 0.5 for all small distances. The release draws
2,048 turned clouds once, here each step draws its own, with the file's noise. It scores the 2,048
points that it draws; here every point of the cloud has its own distance. Its tables take the best
of all evaluations on the test set, here the last step counts. `frame=registered` registers clouds
first; the release turns training clouds at random (`own`).

Licence of the source. MIT; nothing of it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as validated
from scipy.spatial import cKDTree

from intravariance.seeds import generator
from mc4ad_model.methods.memory_banks.frames import Floats, UnregisteredFrame
from mc4ad_model.methods.method import Prediction
from mc4ad_model.methods.reconstruction.method import NormalClouds, ReconstructionMethod
from mc4ad_model.methods.reconstruction.patch_gen import displaced_patch
from mc4ad_model.methods.reconstruction.settings import PresetSettings
from mc4ad_model.methods.settings import STRICT, Count, Positive, Settings, Share

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mc4ad_model.methods.reconstruction.diffusion import Diffusion
    from mc4ad_model.methods.step_training import StepTraining

_LARGEST_GRADIENT = 10.0


@validated(frozen=True, config=STRICT)
class R3DADSettings(PresetSettings):
    """The network, its diffusion and its training.

    Parameters
    ----------
    frame
        "own", as published, or "registered".
    points
        Points that are drawn of a cloud.
    reconstructed_points
        Points that are reconstructed of it to score it.
    width, code
        Channels of the narrowest layers, and numbers of a cloud's code.
    learns, frequencies
        What the network says of a noisy point: "noise", what was added, as published, or "place",
        where it was; and how many waves of each coordinate it sees besides the coordinate.
    diffusion_steps, first_variance, last_variance
        Steps from a cloud to noise, and the variance that the first and the last add.
    parts
        Parts of a training cloud that are after steps of their own; a divisor of `points`.
    steps, batch, learning_rate, final_learning_rate
        Training: steps, clouds of one, and the rate, which falls in a line.
    patches, patch_share, patch_displacement
        Whether encoded clouds have a simulated anomaly; its share of the points and its largest
        displacement, in radii of the product.
    """

    frame: UnregisteredFrame = "own"
    points: Count = 1024
    reconstructed_points: Count = 2048
    width: Count = 64
    code: Count = 64
    learns: Literal["place", "noise"] = "place"
    frequencies: Annotated[int, Field(ge=0)] = 3
    diffusion_steps: Count = 50
    first_variance: Positive = 1e-3
    last_variance: Positive = 0.2
    parts: Count = 32
    steps: Count = 600
    batch: Count = 8
    learning_rate: Positive = 5e-3
    final_learning_rate: Positive = 1e-5
    patches: bool = True
    patch_share: Share = 0.0625
    patch_displacement: Positive = 0.15

    paper: ClassVar[Mapping[str, Any]] = {
        "points": 2048, "reconstructed_points": 2048, "width": 128, "code": 256,
        "learns": "noise", "frequencies": 0, "diffusion_steps": 200, "first_variance": 1e-4,
        "last_variance": 0.05, "parts": 1, "steps": 40_000, "batch": 128, "learning_rate": 1e-3,
        "final_learning_rate": 1e-3,
    }  # fmt: skip

    def drawn_steps(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw the steps (batch, parts) after which parts of clouds are: evenly, in any order."""
        parts = math.gcd(self.points, self.parts)
        places = rng.permutation(self.batch * parts) + rng.random(self.batch * parts)
        steps = (places / places.size * self.diffusion_steps).astype(np.int64) + 1
        return steps.reshape(self.batch, parts)

    @property
    def label(self) -> str:
        """The name, the preset, and what is not as published."""
        frame = "" if self.frame == "own" else f"-{self.frame}"
        return f"r3d_ad{self.size}{frame}" + ("" if self.patches else "-no_patches")


class R3DAD(ReconstructionMethod):
    """Score points by their distance from a cloud that a diffusion reconstructs."""

    title: ClassVar[str] = "R3D-AD"
    Settings: ClassVar[type[Settings]] = R3DADSettings
    settings: R3DADSettings

    @property
    def fewest(self) -> int:
        """As many as are drawn."""
        return self.settings.points

    def new_network(self) -> nn.Module:
        """Make a diffusion of the settings."""
        import torch  # noqa: PLC0415 - weight

        from mc4ad_model.methods.reconstruction.diffusion import (  # noqa: PLC0415 - weight
            Diffusion,
        )

        own = self.settings
        betas = torch.linspace(own.first_variance, own.last_variance, own.diffusion_steps)
        return Diffusion(own.width, own.code, betas, own.frequencies, own.learns == "place")

    def training(self, network: nn.Module, clouds: NormalClouds, seed: int) -> StepTraining:
        """Learn the noise in normal clouds, told the code of the same with an anomaly."""
        import torch  # noqa: PLC0415 - weight

        from mc4ad_model.methods.reconstruction.diffusion import (  # noqa: PLC0415 - weight
            Diffusion,
        )
        from mc4ad_model.methods.step_training import StepTraining  # noqa: PLC0415 - weight

        assert isinstance(network, Diffusion)
        own, device = self.settings, self.machine.torch_device()
        first = generator(seed, "diffusion", clouds.category)
        _initialise(network, torch.Generator().manual_seed(int(first.integers(2**63))))

        def loss(step: int) -> Tensor:
            rng = generator(seed, "diffusion", clouds.category, str(step))
            pairs = [self.pair(clouds, rng) for _ in range(own.batch)]
            normal, shown = (
                torch.from_numpy(np.stack(part)).float().to(device)
                for part in zip(*pairs, strict=True)
            )
            steps = torch.from_numpy(own.drawn_steps(rng))
            noise = rng.standard_normal(normal.shape, dtype=np.float32)
            return network.loss(normal, shown, steps.to(device), torch.from_numpy(noise).to(device))

        def rate(step: int) -> float:
            share = step / max(own.steps - 1, 1)
            return (1 - share) * own.learning_rate + share * own.final_learning_rate

        return StepTraining(
            name=f"train {clouds.category}",
            identity={},
            steps=own.steps,
            loss=loss,
            rate=rate,
            optimiser=lambda module: torch.optim.Adam(module.parameters()),
            largest_gradient=_LARGEST_GRADIENT,
        )

    def pair(self, clouds: NormalClouds, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw a normal cloud (points, 3), and the same with an anomaly if the settings say so."""
        cloud = clouds.draw(rng)
        own = self.settings
        normal = cloud[rng.choice(len(cloud), own.points, replace=False)]
        if not own.patches:
            return normal, normal
        count = max(round(own.patch_share * own.points), 1)
        return normal, displaced_patch(normal, count, own.patch_displacement, rng)[0]

    def reconstructed(self, cloud: Floats) -> Floats:
        """Reconstruct a cloud (N, 3) in the frame of the training: (reconstructed_points, 3)."""
        import torch  # noqa: PLC0415 - weight

        from mc4ad_model.methods.reconstruction.diffusion import (  # noqa: PLC0415 - weight
            Diffusion,
        )

        assert isinstance(self.network, Diffusion)
        rng, count = self.scoring_rng(), self.settings.points
        drawn = cloud[rng.choice(len(cloud), count, replace=False)]
        shown = torch.from_numpy(drawn).float().to(self.machine.torch_device())
        found = self.network.reconstruct(shown, self.settings.reconstructed_points, rng)
        return np.asarray(found.double().cpu().numpy())

    def compare(self, cloud: Floats) -> Prediction:
        """Measure each point's distance from the nearest reconstructed one."""
        distances = cKDTree(self.reconstructed(cloud)).query(cloud)[0]
        return Prediction(distances.astype(np.float32))


def _initialise(network: Diffusion, rng: Any) -> None:
    """Draw the first weights: uniform, and so wide that signals pass the gated layers unharmed."""
    from torch import nn  # noqa: PLC0415 - weight

    gated = [layer.layer for layer in network.layers[:-1]]  # the last says no noise at first
    for module in network.modules():
        if isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            for parameter in module.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=rng)
            if module in gated:  # half of a signal is lost in a gate, and half in what follows
                nn.init.kaiming_uniform_(module.weight, generator=rng)
                module.weight.data.mul_(2)
