# SPDX-License-Identifier: Apache-2.0
"""The network of a run with its optimiser: one step, one checkpoint, one end."""

from __future__ import annotations

import json
import math
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from intravariance.errors import InputError, IVError
from intravariance.files.atomic import write_file
from intravariance.seeds import entropy
from mc4ad_model.machine.memory import peak_memory
from mc4ad_model.machine.precision import multiplying_in
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.methods.mc4ad.checkpoints import (
    load_checkpoint,
    read_tensors,
    save_checkpoint,
    write_tensors,
)
from mc4ad_model.methods.mc4ad.configuration import RunConfig, TrainingConfig
from mc4ad_model.methods.mc4ad.deviations.network import new_network
from mc4ad_model.methods.mc4ad.deviations.samples import DeviationBatch
from mc4ad_model.methods.mc4ad.losses import Losses, combined_loss, deviation_loss
from mc4ad_model.methods.mc4ad.network import CFPNet, Forces, voxel_features
from mc4ad_model.methods.mc4ad.training_samples import CollatedBatch
from mc4ad_model.methods.method import FittedOn
from mc4ad_model.methods.saved_files import reading, writing
from mc4ad_model.sparse import CoordinatePyramid, voxelise

CHECKPOINT, METRICS = "checkpoint", "metrics.jsonl"
Batch = CollatedBatch | DeviationBatch


@dataclass(frozen=True)
class TrainingRun:
    """folder : for checkpoints and metrics.jsonl; on : category, seed and data, which the names of
    all random generators and the metadata of all checkpoints hold."""

    folder: Path
    config: RunConfig
    on: FittedOn

    @property
    def category(self) -> str:
        """Its category."""
        return self.on.category

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.on.seed


@dataclass(frozen=True)
class Trained:
    """network : after the last step; timing : of this process; stopped : whether a signal came
    during the last step."""

    network: CFPNet
    step: int
    timing: dict[str, Any]
    stopped: bool


@dataclass
class Progress:
    """How far a run is: steps done, and the sums of the losses over the current epoch's steps."""

    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)


def learning_rate(epoch: int, config: TrainingConfig) -> float:
    """Return the rate of an epoch, counted from 0: constant, then one cosine (released code)."""
    length = config.epochs - config.constant_epochs
    if epoch < config.constant_epochs or length <= 0:
        return config.learning_rate
    share = (epoch - config.constant_epochs) / length
    low, high = config.final_learning_rate, config.learning_rate
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * share))


class Trainer:
    """The network, its optimiser and how far they are."""

    def __init__(
        self,
        run: TrainingRun,
        steps_per_epoch: int,
        device: torch.device,
        backend: str,
        ranks: Ranks,
    ) -> None:
        self._per_epoch = steps_per_epoch
        self._run, self._device, self._ranks = run, device, ranks
        self._backend, self._config = backend, run.config
        # from the run's identity, as everything random; torch takes 64 bits
        seed = entropy(run.seed, "training", run.category, "network")
        number = (seed[1] << 31 | seed[2] >> 1) ^ run.seed
        generator = torch.Generator().manual_seed(number % 2**64)
        with self._multiplying():  # the backend is tried in this precision
            network = new_network(run.config.network, backend, generator)
        last = network.head[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            for parameter in last.parameters():
                parameter.mul_(run.config.training.output_scale)
        self.done = Progress()
        self._loss = math.nan
        self._adopt(network)

    def _adopt(self, network: CFPNet) -> None:
        self.network = network.to(self._device).train()
        self._parallel = self._ranks.wrap(self.network)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=self._config.training.learning_rate
        )

    def any_rank(self, condition: bool) -> bool:
        """Say whether a condition holds in any of the processes that train together."""
        return self._ranks.any(condition, self._device)

    def step(self, batch: Batch) -> None:
        """One step of the optimiser, and what follows the last one of an epoch."""
        epoch, number = divmod(self.done.step, self._per_epoch)
        rate = learning_rate(epoch, self._config.training)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        batch.to(self._device)
        self.optimiser.zero_grad(set_to_none=True)
        with self._multiplying():
            losses = self._losses(batch)
            losses.total.backward()  # type: ignore[no-untyped-call]
        values = self._values(losses)  # a GPU is waited for here, when it has all the work
        self._check(values, epoch, number)
        self.optimiser.step()
        self._loss = values["total"]
        for name, value in values.items():
            self.done.sums[name] = self.done.sums.get(name, 0.0) + value
        self.done.step += 1
        if number + 1 == self._per_epoch:
            self._end_epoch(epoch, rate)

    def _losses(self, batch: Batch) -> Losses:
        if isinstance(batch, CollatedBatch):
            return combined_loss(self.forces(batch.clouds), batch.displacement, self._config.loss)
        pyramid = CoordinatePyramid(batch.coordinates)
        with self._autocast():
            findings = self._parallel(batch.features, pyramid, batch.lengths)
        return deviation_loss(
            findings, batch.force, batch.evidence, batch.defective, self._config.loss
        )

    def _multiplying(self) -> AbstractContextManager[None]:
        return multiplying_in(self._config.training.precision, self._device)

    def _autocast(self) -> torch.autocast:
        mixed = self._config.training.precision == "bfloat16"
        return torch.autocast(self._device.type, torch.bfloat16, enabled=mixed)

    def forces(self, clouds: list[Tensor]) -> Forces:
        """Return the network on clouds (N_b, 3)."""
        voxels = voxelise(clouds, self._config.network.voxel_size)
        features = voxel_features(clouds, voxels, self._config.network)
        pyramid = CoordinatePyramid(voxels.coordinates, checked=True)
        with self._autocast():
            forces: Forces = self._parallel(features, pyramid, voxels.point_to_voxel)
        return forces

    def note(self) -> str:
        """Return the loss of the last step."""
        return f"loss {self._loss:.4f}"

    def _values(self, losses: Losses) -> dict[str, float]:
        """Return the terms and the total, over all processes, by one look at the GPU."""
        values = torch.stack([value.detach() for _, value in losses.items()])
        names = [name for name, _ in losses.items()]
        return dict(zip(names, self._ranks.mean(values).tolist(), strict=True))

    def _check(self, losses: dict[str, float], epoch: int, number: int) -> None:
        if not math.isfinite(losses["total"]):
            values = ", ".join(f"{name} {value:g}" for name, value in losses.items())
            raise IVError(
                f"{self._run.category}: the loss of batch {number} of epoch {epoch} is not finite "
                f"({values}). The last checkpoint is kept. A smaller training.learning_rate or "
                "training.precision = float32 may help, in another --out or with --force."
            )

    def _check_parameters(self) -> None:
        """Check that the step, whose loss was finite, left the network finite too."""
        for name, value in self.network.state_dict().items():
            if not bool(torch.isfinite(value).all()):
                raise IVError(
                    f"{self._run.category}: {name} is not finite after step {self.done.step}. The "
                    "last checkpoint is kept. A smaller training.learning_rate may help, in "
                    "another --out or with --force."
                )

    def _end_epoch(self, epoch: int, rate: float) -> None:
        means = {name: value / self._per_epoch for name, value in self.done.sums.items()}
        self.done.sums = {}
        if self._ranks.first:
            line = json.dumps({"epoch": epoch, "learning_rate": rate, **means})
            path = self._run.folder / METRICS
            with writing(path), open(path, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        config = self._config.training
        if (epoch + 1) % config.checkpoint_epochs == 0 or epoch + 1 == config.epochs:
            self.save_checkpoint()

    def save_checkpoint(self) -> None:
        """Write the network and the optimiser after this step, then remove the checkpoint before.

        The optimiser's pair is written first: a checkpoint counts when its network is there.
        """
        self._check_parameters()
        if not self._ranks.first:
            return
        name = f"{CHECKPOINT}-{self.done.step:08d}"
        state = {
            f"{entry}.{parameter}": value
            for parameter, tensor in self.network.named_parameters()
            for entry, value in self.optimiser.state[tensor].items()
        }
        optimiser = self._run.folder / f"{name}-optimiser"
        with writing(optimiser):
            write_tensors(optimiser, state, {"category": self._run.category}, force=True)
        metadata = {"step": self.done.step, "sums": self.done.sums, **vars(self._run.on)}
        with writing(self._run.folder / name):
            save_checkpoint(self._run.folder / name, self.network, metadata, force=True)
        for path in self._run.folder.glob(f"{CHECKPOINT}-*"):
            if not path.name.startswith(name):
                path.unlink()

    def resume(self) -> None:
        """Take up the last checkpoint of the folder, if there is one."""
        if not (name := last_checkpoint(self._run.folder)):
            if self._ranks.first:
                (self._run.folder / METRICS).unlink(missing_ok=True)
            return
        path = self._run.folder / name
        with self._multiplying(), reading():
            network, metadata = load_checkpoint(path, self._backend, self._config.network)
            tensors, _ = read_tensors(self._run.folder / f"{name}-optimiser")
        own = vars(self._run.on)
        if any(metadata.get(key) != value for key, value in own.items()):
            raise InputError(f"{path}.json: another run's checkpoint; expected one of {own}")
        step, sums = metadata.get("step"), metadata.get("sums")
        if not isinstance(step, int) or not isinstance(sums, dict):
            raise InputError(f"{path}.json: expected a checkpoint with its step and sums of losses")
        self._adopt(network)
        parameters = dict(self.network.named_parameters())
        state: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            entry, _, parameter = key.partition(".")
            state.setdefault(parameter, {})[entry] = value
        if state.keys() != parameters.keys():
            raise InputError(f"{path}-optimiser.json: another network's optimiser")
        for parameter, entries in state.items():
            # Adam keeps its step count on the CPU
            self.optimiser.state[parameters[parameter]] = {
                entry: value if entry == "step" else value.to(self._device)
                for entry, value in entries.items()
            }
        self.done = Progress(step, sums)
        if self._ranks.first:
            _cut_metrics(self._run.folder / METRICS, self.done.step // self._per_epoch)

    def trained(self, seconds: float, steps: int, stopped: bool) -> Trained:
        """Wait for all processes and hand the network over."""
        self._ranks.wait()
        timing: dict[str, Any] = {
            "seconds": seconds,
            "steps": steps,
            "memory_bytes": peak_memory()[0],
        }
        if before := self.done.step - steps:
            timing["note"] = (
                f"seconds, steps and memory are of the last process alone; {before} steps were "
                "trained by earlier ones, whose time is not counted here"
            )
        return Trained(self.network, self.done.step, timing, stopped)


def last_checkpoint(folder: Path) -> str | None:
    """Name of the newest whole checkpoint: its network is written last, and of that the JSON."""
    names = [path.stem for path in folder.glob(f"{CHECKPOINT}-????????.json")]
    return max(names, default=None)


def _cut_metrics(path: Path, epochs: int) -> None:
    """Keep the lines of so many epochs: an interrupted run may have written more."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        with writing(path):
            write_file(path, "".join(lines[:epochs]).encode(), force=True)
