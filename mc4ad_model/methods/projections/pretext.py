# SPDX-License-Identifier: Apache-2.0
"""Training of a 2-D network on renderings of normal clouds: it learns to say what they show.

A class is a template seen from one side, and an image of it shows a part of its points, turned
a little. No defect, no test sample and no label of either is needed. The network is a narrow
ResNet18 and stands in for one that was trained on photographs, which it is not as good as.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import nn
from torch.nn import functional

from intravariance.errors import IVError
from intravariance.progress import track
from intravariance.seeds import generator
from mc4ad_model.methods.projections.backbones import Backbone
from mc4ad_model.methods.projections.resnet import ResNet18, ResNetConfig, colour_images

Image = NDArray[np.float32]
# Draws an image (H, W), from 0 to 1, of a class.
Draw = Callable[[int, np.random.Generator], Image]

_RATE, _DECAY = 2e-3, 1e-4
_SHARE, _TURN = 0.5, np.pi / 12  # points that are drawn; largest angle that they are turned by


@dataclass(frozen=True)
class Training:
    """How a backbone is trained. width : of the network; steps, batch : of the optimiser, and
    images of a step; seed : with which everything is drawn."""

    width: int
    steps: int
    batch: int = 32
    seed: int = 0


def train_backbone(
    draw: Draw, classes: int, training: Training, device: torch.device, quiet: bool = False
) -> Backbone:
    """Train a network to tell the classes of images apart.

    On a CPU with as many threads, the same seed gives the same network.

    Raises
    ------
    IVError
        The loss is not finite.
    """
    network = ResNet18(ResNetConfig(training.width, classes))
    _initialise(network, generator(training.seed, "backbone"))
    network.to(device).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=training.steps + 1)
    losses: list[float] = []
    right: list[float] = []
    steps = range(training.steps)
    for step in track(steps, len(steps), "backbone", quiet, lambda: f"loss {losses[-1]:.3f}"):
        rng = generator(training.seed, "backbone", str(step))
        wanted = rng.integers(classes, size=training.batch)
        images = np.stack([draw(int(one), rng) for one in wanted])
        truth = torch.from_numpy(wanted).to(device)
        logits = network(colour_images(torch.from_numpy(images).to(device)))
        loss = functional.cross_entropy(logits, truth)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise IVError(f"backbone: the loss of step {step} is not finite: {losses[-1]}")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        right.append(float((logits.argmax(dim=1) == truth).float().mean()))
    tenth = max(training.steps // 10, 1)
    origin = {
        **asdict(training),
        "classes": classes,
        "loss": float(np.mean(losses[-tenth:])),
        "right": float(np.mean(right[-tenth:])),
    }
    return Backbone(network.cpu().eval(), origin)


def varied_rows(count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Choose the points of a cloud of `count` that an image shows, in their order."""
    return np.sort(rng.choice(count, max(round(_SHARE * count), 1), replace=False))


def varied_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a (3, 3) rotation by at most 15 degrees, about any axis."""
    axis = rng.normal(size=3)
    axis *= rng.uniform(0, _TURN) / np.linalg.norm(axis)
    return np.asarray(Rotation.from_rotvec(axis).as_matrix())


def _initialise(network: ResNet18, rng: np.random.Generator) -> None:
    """Draw the weights: of convolutions by their fan out, as ResNet does, of classes narrowly."""
    source = torch.Generator().manual_seed(int(rng.integers(2**63)))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out", nonlinearity="relu", generator=source
            )
    nn.init.normal_(network.fc.weight, std=0.01, generator=source)
    nn.init.zeros_(network.fc.bias)
