# SPDX-License-Identifier: Apache-2.0
"""Training of a network by steps, each of which depends on its number alone, with checkpoints.

A run may end at any moment: the same call carries on from its last checkpoint and ends with the
same bytes, on a CPU with as many threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from intravariance.errors import InputError, IVError
from intravariance.progress import say, track
from mc4ad_model.machine.interruption import Interruption
from mc4ad_model.methods.mc4ad.checkpoints import assign_tensors, read_tensors, write_tensors
from mc4ad_model.methods.saved_files import reading, writing

CHECKPOINT = "checkpoint"


@dataclass(frozen=True)
class StepTraining:
    """The steps of a training, counted from 0, and the identity that its checkpoints carry.

    Parameters
    ----------
    name
        First words of messages.
    identity
        All that the result depends on, as plain values that JSON gives back unchanged.
    steps
        Their number.
    loss
        The loss of a step, of the network in training mode.
    rate
        The learning rate of a step.
    optimiser
        Makes the optimiser of the network's parameters.
    folder
        An existing folder for checkpoints; None to keep none.
    checkpoint_steps
        Steps between two checkpoints.
    largest_gradient
        Norm to which longer gradients are cut; None for none.
    """

    name: str
    identity: dict[str, Any]
    steps: int
    loss: Callable[[int], Tensor]
    rate: Callable[[int], float]
    optimiser: Callable[[nn.Module], torch.optim.Optimizer]
    folder: Path | None = None
    checkpoint_steps: int = 100
    largest_gradient: float | None = None


class StepTrainer:
    """A network on its device, its optimiser, and the mean loss of each tenth of the training."""

    def __init__(self, training: StepTraining, network: nn.Module, device: torch.device) -> None:
        self._training, self._device = training, device
        self.network = network
        self.losses: dict[int, float] = {}
        self._loss = math.nan
        self._adopt()

    def _adopt(self) -> None:
        self.network.to(self._device).train()
        self.optimiser = self._training.optimiser(self.network)

    def train(self, quiet: bool) -> bool:
        """Take all steps that are not done; say whether a signal came during the last one.

        Raises
        ------
        InputError
            A file cannot be written, or the last checkpoint is damaged or of another training.
        IVError
            Interrupted by a signal, after a checkpoint was written; or the loss is not finite.
        """
        run = self._training
        first = self.resume()
        if first:
            say(f"{run.name}: carries on after step {first} of {run.steps}", quiet)
        with Interruption() as interruption:
            steps = range(first, run.steps)
            for step in track(steps, len(steps), run.name, quiet, self.note):
                self.step(step)
                last = step + 1 == run.steps
                if last or interruption.requested or (step + 1) % run.checkpoint_steps == 0:
                    self.save(step + 1)
                if interruption.requested and not last:
                    raise IVError(
                        f"{run.name}: interrupted after step {step + 1} of {run.steps}; the same "
                        "command carries on from here"
                    )
        return interruption.requested

    def note(self) -> str:
        """Return the loss of the last step."""
        return f"loss {self._loss:.4f}"

    def step(self, number: int) -> None:
        """One step of the optimiser."""
        run = self._training
        for group in self.optimiser.param_groups:
            group["lr"] = run.rate(number)
        loss = run.loss(number)
        self._loss = float(loss.detach())
        if not math.isfinite(self._loss):
            raise IVError(f"{run.name}: the loss of step {number} is not finite: {self._loss}")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if run.largest_gradient is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), run.largest_gradient)
        self.optimiser.step()
        tenth = number * 10 // run.steps
        of_tenth = -(-(tenth + 1) * run.steps // 10) + (-tenth * run.steps // 10)
        self.losses[tenth] = self.losses.get(tenth, 0.0) + self._loss / of_tenth

    def save(self, done: int) -> None:
        """Write the network and the optimiser after so many steps; remove the checkpoint before."""
        folder = self._training.folder
        if folder is None:
            return
        name = f"{CHECKPOINT}-{done:08d}"
        tensors = {f"network/{k}": v for k, v in self.network.state_dict().items()}
        for parameter, tensor in self.network.named_parameters():
            for entry, value in self.optimiser.state[tensor].items():
                tensors[f"optimiser/{parameter}/{entry}"] = value
        losses = {str(k): v for k, v in self.losses.items()}
        description = {"identity": self._training.identity, "step": done, "losses": losses}
        with writing(folder / name):
            write_tensors(folder / name, tensors, description, force=True)
        for path in folder.glob(f"{CHECKPOINT}-*"):
            if not path.name.startswith(name):
                path.unlink()

    def resume(self) -> int:
        """Take up the last checkpoint, if there is one; return the steps that are done."""
        folder = self._training.folder
        names = [p.stem for p in folder.glob(f"{CHECKPOINT}-????????.json")] if folder else []
        if folder is None or not names:
            return 0
        path = folder / max(names)
        with reading():
            tensors, description = read_tensors(path)
        if description.get("identity") != self._training.identity:
            raise InputError(f"{path}.json: another training's checkpoint; choose another --out")
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "optimiser": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = tensor
        assign_tensors(self.network, parts["network"], str(path))
        self._adopt()
        own = dict(self.network.named_parameters())
        for name, value in parts["optimiser"].items():
            parameter, _, entry = name.rpartition("/")
            moved = value if entry == "step" else value.to(self._device)
            self.optimiser.state[own[parameter]][entry] = moved
        self.losses = {int(k): float(v) for k, v in description["losses"].items()}
        return int(description["step"])
