# SPDX-License-Identifier: Apache-2.0
"""Training a network on a task, and testing it after the last epoch.

Adam with a decay of the weights of 1e-4, a rate that falls as a cosine, cross-entropy (with the
label smoothing that a network's source has), clouds scaled by 0.8 to 1.25 and shifted by up to 0.1
at random. The same machine, seed and number of threads give the
same network; no test cloud is looked at before the end.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from intravariance.auroc import auroc
from intravariance.errors import IVError
from intravariance.progress import track
from intravariance.seeds import generator
from mc4ad_model.classification.layers import Network
from mc4ad_model.classification.metrics import accuracy, cloud_ious, mean_ious
from mc4ad_model.classification.networks import NETWORKS, make_network, parameters
from mc4ad_model.classification.plan import Plan
from mc4ad_model.classification.sizes import Sizes
from mc4ad_model.classification.tasks import Clouds, Task
from mc4ad_model.machine.device import Machine

_DECAY = 1e-4
_SCALES, _SHIFT = (0.8, 1.25), 0.1


@dataclass(frozen=True)
class Training:
    """One training: what is trained, and how."""

    network: str
    mc_skip: bool
    plan: Plan
    seed: int

    @property
    def label(self) -> str:
        """A name for progress and files."""
        return f"{self.network}{'-mc-skip' if self.mc_skip else ''}-seed-{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """Results of a training.

    scores : from 0 to 1: "accuracy", or "instance_iou", "class_iou" and, of defects, "point_auroc".
    losses : mean of each epoch. seconds : of the training.
    """

    scores: dict[str, float]
    losses: tuple[float, ...]
    parameters: int
    seconds: float


def sizes_for(plan: Plan, task: Task) -> Sizes:
    """Return the sizes of a network for a task."""
    return Sizes(
        points=task.train.points.shape[1],
        normals=task.train.points.shape[2] == 6,
        width=plan.width,
        attention=plan.attention,
        neighbours=plan.neighbours,
    )


def train(task: Task, training: Training, machine: Machine) -> Outcome:
    """Train a network on a task and test it.

    Raises
    ------
    IVError
        The loss is not finite.
    """
    device = machine.torch_device()
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        rng = generator(training.seed, "classification", "training")
        torch.manual_seed(int(rng.integers(2**63)))
        network = make_network(
            training.network, sizes_for(training.plan, task), training.mc_skip, task.outputs,
            task.classes if task.parts else 0,
        ).to(device)  # fmt: skip
        losses = _epochs(network, task, training, rng, machine)
    seconds = time.perf_counter() - start
    return Outcome(score(network, task, training.plan), losses, parameters(network), seconds)


def _epochs(
    network: Network, task: Task, training: Training, rng: np.random.Generator, machine: Machine
) -> tuple[float, ...]:
    plan, clouds = training.plan, task.train
    optimiser = torch.optim.Adam(network.parameters(), lr=plan.rate, weight_decay=_DECAY)
    size = len(clouds.classes)
    # a last batch of one cloud has no spread to normalise by, so what is left over is left out
    per_epoch = max(size // plan.batch, 1)
    steps = plan.epochs * per_epoch
    losses: list[float] = []
    network.train()
    label = f"{task.name}, {training.label}"
    epochs = track(
        range(plan.epochs), plan.epochs, label, machine.quiet, lambda: f"loss {losses[-1]:.4f}"
    )
    for epoch in epochs:
        order = rng.permutation(size)
        total = 0.0
        for number in range(per_epoch):
            done = (epoch * per_epoch + number) / steps
            for group in optimiser.param_groups:
                group["lr"] = 0.5 * plan.rate * (1 + math.cos(math.pi * done))
            rows = order[number * plan.batch : (number + 1) * plan.batch]
            loss = _loss(network, clouds, rows, task, training, rng)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += float(loss.detach())
        if not math.isfinite(total):
            raise IVError(f"{label}: the loss of epoch {epoch + 1} is not finite")
        losses.append(total / per_epoch)
    return tuple(losses)


def _loss(
    network: Network,
    clouds: Clouds,
    rows: NDArray[np.intp],
    task: Task,
    training: Training,
    rng: np.random.Generator,
) -> Tensor:
    device = next(network.parameters()).device
    points = torch.from_numpy(varied(clouds.points[rows], rng)).to(device)
    classes = torch.from_numpy(clouds.classes[rows]).to(device)
    found, penalty = network(points, classes)
    if clouds.parts is None:
        smoothing = NETWORKS[training.network].smoothing
        loss = functional.cross_entropy(found, classes, label_smoothing=smoothing)
        return loss + penalty  # type: ignore[no-any-return]
    parts = torch.from_numpy(clouds.parts[rows]).to(device)
    loss = functional.cross_entropy(found.flatten(0, 1), parts.flatten())
    return loss + penalty  # type: ignore[no-any-return]


def varied(points: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Scale and shift the coordinates of clouds (B, N, C) at random."""
    found, size = points.copy(), len(points)
    found[..., :3] *= rng.uniform(*_SCALES, (size, 1, 1)).astype(np.float32)
    found[..., :3] += rng.uniform(-_SHIFT, _SHIFT, (size, 1, 3)).astype(np.float32)
    return found


def score(network: Network, task: Task, plan: Plan) -> dict[str, float]:
    """Test a network on the test clouds of a task.

    Where points are a defect's or not, there is the AUROC of all test points beside IoU.
    """
    network.eval()
    device = next(network.parameters()).device
    clouds, found = task.test, []
    allowed = torch.full((task.classes, task.outputs), -math.inf)
    for category, parts in enumerate(task.parts):
        allowed[category, list(parts)] = 0.0
    with torch.no_grad():
        for first in range(0, len(clouds.classes), plan.batch):
            part = slice(first, first + plan.batch)
            classes = torch.from_numpy(clouds.classes[part])
            points = torch.from_numpy(clouds.points[part])
            values, _ = network(points.to(device), classes.to(device))
            if task.parts:  # only parts of the category, as published
                values = values.cpu() + allowed[classes][:, None]
            found.append(values.cpu().numpy())
    each = np.concatenate(found)
    scores = scores_of(each.argmax(axis=-1), task)
    if clouds.parts is not None and task.outputs == 2:
        margin = each[..., 1] - each[..., 0]  # [S, N]
        scores["point_auroc"] = auroc(clouds.parts.reshape(-1), margin.reshape(-1))
    return scores


def scores_of(predicted: NDArray[Any], task: Task) -> dict[str, float]:
    """Score what was found for the test clouds: classes (S,), or parts (S, N)."""
    clouds = task.test
    if clouds.parts is None:
        return {"accuracy": accuracy(predicted, clouds.classes)}
    each = cloud_ious(predicted, clouds.parts, clouds.classes, task.parts)
    instance, category = mean_ious(each, clouds.classes)
    return {"instance_iou": instance, "class_iou": category}


def commonest(task: Task) -> dict[str, float]:
    """Score the answer that is commonest among the clouds learnt from, for each category."""
    train, test = task.train, task.test
    if train.parts is None or test.parts is None:
        answer = np.bincount(train.classes).argmax()
        return scores_of(np.full(len(test.classes), answer), task)
    of = [train.parts[train.classes == category] for category in range(task.classes)]
    usual = np.array([np.bincount(parts.reshape(-1), minlength=1).argmax() for parts in of])
    every = np.broadcast_to(usual[test.classes][:, None], test.parts.shape)
    chance = {"point_auroc": 0.5} if task.outputs == 2 else {}
    return {**scores_of(every, task), **chance}
