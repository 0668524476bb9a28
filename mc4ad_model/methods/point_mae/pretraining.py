# SPDX-License-Identifier: Apache-2.0
"""Training of Point-MAE by masked reconstruction, on clouds of the templates of a dataset file.

Followed. A cloud has 64 groups of 32 points, and 60 % of these are hidden at random; AdamW with a
weight decay of 0.05 and a rate of 0.001 that rises and then falls as a cosine; clouds are scaled by
2/3 to 3/2 and shifted by up to 0.2.

Different. Clouds are drawn from the templates' surfaces, with the file's noise (from the stored
clouds where there are no meshes), instead of ShapeNet's. They are also turned at random, and scaled
alike along all axes. The network's output is in tenths of a radius, and the decoder's weights of
places are larger at first: in so few steps it learns little of where a group is without that.

A run may end at any moment: the same call carries on from its last checkpoint and ends with the
same bytes, on a CPU with as many threads. The clouds of a step depend on seed and step alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from blender_scripts.portable import random_rotation
from intravariance.errors import InputError
from intravariance.seeds import generator
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.point_mae.encoders import Encoder
from mc4ad_model.methods.point_mae.groups import group_points
from mc4ad_model.methods.point_mae.network import Masked, NetworkConfig, PointMAE
from mc4ad_model.methods.step_training import StepTrainer, StepTraining
from mc4ad_model.methods.templates import Template, Templates, simulated_cloud

_DECAY, _RISE = 0.05, 1 / 30  # of the published training: 10 of 300 epochs
_WIDER = 6.0
_SCALES, _SHIFT = (2 / 3, 3 / 2), 0.2


@dataclass(frozen=True)
class Pretraining:
    """How long the network is trained. batch : clouds of a step; learning_rate : the largest;
    checkpoint_steps : between two checkpoints."""

    network: NetworkConfig
    steps: int
    batch: int
    learning_rate: float
    seed: int
    data_digest: str
    checkpoint_steps: int = 100

    @property
    def identity(self) -> dict[str, Any]:
        """All that the result depends on, as plain values."""
        values = asdict(self)
        del values["checkpoint_steps"]
        return dict(json.loads(json.dumps(values)))  # as it is read: a list for a tuple


def pretrain(
    run: Pretraining, sources: Sequence[Templates], folder: Path, machine: Machine
) -> Encoder:
    """Train an encoder, with checkpoints in a folder that exists.

    Parameters
    ----------
    sources
        The templates of each category.

    Raises
    ------
    InputError
        A template has fewer points than a training cloud, a file cannot be written, or the last
        checkpoint is damaged or of another training.
    IVError
        Interrupted by a signal, after a checkpoint was written; or the loss is not finite.
    """
    trainer = new_trainer(run, sources, folder, machine.torch_device())
    trainer.train(machine.quiet)
    assert isinstance(trainer.network, PointMAE)
    origin = {**run.identity, "loss": {str(k): v for k, v in trainer.losses.items()}}
    return Encoder(trainer.network.encoder.cpu().eval(), origin)


def new_trainer(
    run: Pretraining, sources: Sequence[Templates], folder: Path, device: torch.device
) -> StepTrainer:
    """Return what trains a new network. Arguments and errors as of `pretrain`."""
    products = check_sources(run, sources)
    network = PointMAE(run.network)
    seed = int(generator(run.seed, "point-mae").integers(2**63))
    initialise(network, torch.Generator().manual_seed(seed))

    def loss(step: int) -> Tensor:
        rng = generator(run.seed, "point-mae", str(step))
        clouds = [_cloud(products, run.network.points, rng) for _ in range(run.batch)]
        return masked_loss(network, clouds, rng, device)

    training = StepTraining(
        name="pretrain",
        identity=run.identity,
        steps=run.steps,
        loss=loss,
        rate=lambda step: learning_rate(step, run.steps, run.learning_rate),
        optimiser=new_optimiser,
        folder=folder,
        checkpoint_steps=run.checkpoint_steps,
    )
    return StepTrainer(training, network, device)


def new_optimiser(network: nn.Module) -> torch.optim.AdamW:
    """Return the optimiser of a network; single numbers a channel are not pulled to zero."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": _DECAY}, {"params": rest, "weight_decay": 0.0}]
    )


def masked_loss(
    network: PointMAE,
    clouds: Sequence[NDArray[np.float64]],
    rng: np.random.Generator,
    device: torch.device,
) -> Tensor:
    """Hide groups of clouds (points, 3) at random and return the loss of their reconstruction."""
    config = network.config
    parts = [group_points(cloud, config.groups, config.group_size) for cloud in clouds]
    groups, centres = (
        torch.from_numpy(np.stack(part)).to(device) for part in zip(*parts, strict=True)
    )
    loss: Tensor = network(groups, centres, _masked(config, len(clouds), rng, device))
    return loss


def check_sources(
    run: Pretraining, sources: Sequence[Templates]
) -> list[tuple[Templates, Template]]:
    """List the products that are learnt from; InputError where one has too few points."""
    products = [(source, template) for source in sources for template in source.templates]
    for source, template in products:
        if min(source.points[0], len(template.points)) < run.network.points:
            raise InputError(
                f"category {source.category}: template {template.id}: expected clouds of at least "
                f"{run.network.points} points, as many as a training cloud has"
            )
    return products


def learning_rate(step: int, steps: int, largest: float) -> float:
    """Return the rate of a step, counted from 0: it rises in a line, then falls as a cosine."""
    rise = max(round(_RISE * steps), 1)
    if step < rise:
        return largest * (step + 1) / rise
    share = (step - rise) / max(steps - rise, 1)
    return 0.5 * largest * (1 + math.cos(math.pi * share))


def _cloud(
    products: Sequence[tuple[Templates, Template]], points: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw a training cloud (points, 3) of a product at random, turned, scaled and shifted."""
    source, template = products[int(rng.integers(len(products)))]
    cloud = simulated_cloud(source, template, rng)
    cloud = cloud[rng.choice(len(cloud), points, replace=False)]
    shift = rng.uniform(-_SHIFT, _SHIFT, 3)
    return np.asarray(cloud @ random_rotation(rng) * rng.uniform(*_SCALES) + shift)


def _masked(
    config: NetworkConfig, batch: int, rng: np.random.Generator, device: torch.device
) -> Masked:
    """Choose the hidden groups of each cloud, and the blocks that are left out for it."""
    order = torch.from_numpy(rng.permuted(np.tile(np.arange(config.groups), (batch, 1)), axis=1))
    hidden = int(config.hidden_share * config.groups)
    kept = None
    if config.dropped:
        chance = 1 - np.linspace(0, config.dropped, config.depth)[:, None, None]
        factors = (rng.random((config.depth, 2, batch)) < chance) / chance
        kept = torch.from_numpy(factors.astype(np.float32)).to(device)
    return Masked(order[:, hidden:].to(device), order[:, :hidden].to(device), kept)


def initialise(network: PointMAE, rng: torch.Generator) -> None:
    """Draw the weights: the encoder's from a narrow normal distribution, the rest by Xavier.

    The decoder's weights of places are larger, so that it tells near ones apart from the start.
    """
    inside = set(network.encoder.modules())
    for module in network.modules():
        if isinstance(module, nn.Linear):
            if module in inside:
                nn.init.trunc_normal_(module.weight, std=0.02, generator=rng)
            else:
                nn.init.xavier_uniform_(module.weight, generator=rng)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.trunc_normal_(network.hidden_token, std=0.02, generator=rng)
    with torch.no_grad():
        cast("nn.Linear", network.position[0]).weight.mul_(_WIDER)
