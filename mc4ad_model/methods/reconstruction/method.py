# SPDX-License-Identifier: Apache-2.0
"""Common parts of methods that reconstruct clouds: checks, the frame, training, and their files.

    network.safetensors|json     the network, and the points that clouds are registered to
    checkpoint-00000100.*        to resume a training from; only the last, and none at its end

The frames are those of the methods with a memory bank (`memory_banks.frames`).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from blender_scripts.portable import random_rotation
from intravariance.errors import InputError, IVError
from intravariance.seeds import generator, seed_of
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.memory_banks.frames import Floats, Frame, Frames, check_cloud
from mc4ad_model.methods.method import Aggregation, FittedOn, Prediction
from mc4ad_model.methods.saved_files import reading, writing
from mc4ad_model.methods.settings import Settings
from mc4ad_model.methods.templates import Template, Templates, check_scale, simulated_cloud
from mc4ad_model.registration.poses import saved_noise

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mc4ad_model.methods.step_training import StepTraining

_SAVED = "network"
_NETWORK, _TEMPLATE = "network/", "template/"
_REMEDY = (
    "So do the lengths that the network learns. Bring the data to this scale; `iv import` does, "
    "unless told --normalise none."
)


class ReconstructionMethod(ABC):
    """The base of the methods that reconstruct a cloud and score what differs.

    A subclass makes the network and says what it is trained on (`new_network`, `training`), what
    it measures on normal clouds afterwards (`measure`), and how a cloud is scored (`compare`).
    """

    title: ClassVar[str]
    Settings: ClassVar[type[Settings]]
    files: ClassVar[tuple[str, ...]] = (f"{_SAVED}.json", f"{_SAVED}.*", "checkpoint-*")
    aggregation = Aggregation("max")

    def __init__(self, settings: Any, machine: Machine | None = None) -> None:
        self.settings = settings
        self.machine = machine or Machine()
        self.fitted_on: FittedOn | None = None
        self.structure: dict[str, Any] = {}
        self.measured: dict[str, Any] = {}
        self.losses: dict[str, float] = {}
        self._network: nn.Module | None = None
        self._frames: Frames | None = None

    @property
    def parameters(self) -> int | None:
        """Number of the network's parameters; None before it is there."""
        if self._network is None:
            return None
        return sum(p.numel() for p in self._network.parameters())

    @property
    def network(self) -> nn.Module:
        """The network, on the machine's device."""
        assert self._network is not None, "fit or load comes first"
        return self._network

    @property
    def frame(self) -> Frame:
        """The frame of the settings."""
        found: Frame = self.settings.frame
        return found

    @property
    @abstractmethod
    def fewest(self) -> int:
        """The points that a cloud must have."""

    def described(self) -> dict[str, Any]:
        """Return plain values of which the network's form depends, beyond the settings."""
        return {}

    @abstractmethod
    def new_network(self) -> nn.Module:
        """Make a network of the settings and `structure`, with any weights."""

    @abstractmethod
    def training(self, network: nn.Module, clouds: NormalClouds, seed: int) -> StepTraining:
        """Draw the first weights and say how they are trained; identity and folder come later."""

    def measure(self, clouds: NormalClouds, seed: int) -> dict[str, Any]:
        """Return plain values that scoring needs, measured on normal clouds with the network."""
        return {}

    @abstractmethod
    def compare(self, cloud: Floats) -> Prediction:
        """Score a cloud (N, 3) in the frame of the training."""

    def check(self, templates: Templates) -> None:
        """Check scale and size of the templates."""
        self.machine.torch_device()
        check_scale(templates, _REMEDY)
        if templates.points[0] < self.fewest:
            raise InputError(
                f"category {templates.category}: expected clouds of at least {self.fewest} points, "
                f"as many as are sampled from one; its file has clouds of {templates.points[0]}. "
                "Sample fewer: --set points=NUMBER"
            )
        for template in templates.templates:
            where = f"category {templates.category}: template {template.id}"
            _check_points(template.points, self.fewest, where)

    def fit(
        self, templates: Templates, rng: np.random.Generator, folder: Path | None = None
    ) -> None:
        """Train the network, from the last checkpoint in the folder if there is one.

        Interrupted in its last step, a training is saved in its folder before it says so.
        """
        from mc4ad_model.methods.step_training import StepTrainer  # noqa: PLC0415 - weight

        self.check(templates)
        seed = seed_of(rng)
        on = self.fitted_on = FittedOn(templates.category, seed, templates.data_digest)
        self._frames = Frames.fit(self.frame, templates, seed)
        clouds = NormalClouds(templates, self.frame)
        self.structure = self.described()
        network = self.new_network()
        identity = {"settings": self._identity(), "structure": self.structure, **vars(on)}
        training = replace(self.training(network, clouds, seed), identity=identity, folder=folder)
        trainer = StepTrainer(training, network, self.machine.torch_device())
        stopped = trainer.train(self.machine.quiet)
        self._network = trainer.network.eval()
        self.losses = {str(k): v for k, v in trainer.losses.items()}
        self.measured = self.measure(clouds, seed)
        if stopped:  # nothing is lost, but another category is not begun
            if folder is not None:
                self.save(folder)
            raise IVError(f"{templates.category}: interrupted, but trained to its end")

    def score(self, points: NDArray[np.float32]) -> Prediction:
        """Bring the cloud into the frame, reconstruct it and compare."""
        assert self._frames is not None
        _check_points(points, self.fewest)
        cloud, note = self._frames.place(points)
        return replace(self.compare(cloud), note=note)

    def scoring_rng(self) -> np.random.Generator:
        """Return the generator of what is drawn to score a cloud: the same for each."""
        assert self.fitted_on is not None
        return generator(self.fitted_on.seed, "reconstruction", self.fitted_on.category)

    def save(self, folder: Path) -> None:
        """Write the network and what clouds are registered to; remove the checkpoints."""
        import torch  # noqa: PLC0415 - weight

        from mc4ad_model.methods.mc4ad.checkpoints import write_tensors  # noqa: PLC0415 - weight

        assert self.fitted_on is not None and self._frames is not None
        tensors = {_NETWORK + k: v for k, v in self.network.state_dict().items()}
        for name, points in self._frames.templates.items():
            tensors[_TEMPLATE + name] = torch.from_numpy(points)
        description = {
            "fitted_on": vars(self.fitted_on),
            "noise_sigma": self._frames.noise_sigma,
            "settings": self._identity(),
            "structure": self.structure,
            "measured": self.measured,
            "loss": self.losses,
        }
        with writing(folder / _SAVED):
            write_tensors(folder / _SAVED, tensors, description, force=True)
        for path in folder.glob("checkpoint-*"):
            path.unlink()

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Errors as of `Method.load`."""
        from mc4ad_model.methods.mc4ad.checkpoints import (  # noqa: PLC0415 - weight
            assign_tensors,
            read_tensors,
        )

        path = folder / _SAVED
        where = f"{path}.json"
        with reading():
            tensors, description = read_tensors(path)
        self.fitted_on = FittedOn.from_mapping(
            description.get("fitted_on", {}), f"{where}: fitted_on"
        )
        if description.get("settings") != self._identity():
            raise InputError(f"{where}: was saved with other settings")
        self.measured = _table(description, "measured", where)
        self.losses = _table(description, "loss", where)
        self.structure = _table(description, "structure", where)
        network = self.new_network()
        own = {n.removeprefix(_NETWORK): t for n, t in tensors.items() if n.startswith(_NETWORK)}
        assign_tensors(network, own, f"{path}.safetensors")
        templates = {
            n.removeprefix(_TEMPLATE): t for n, t in tensors.items() if n.startswith(_TEMPLATE)
        }
        if not templates or not all(map(_are_points, templates.values())):
            raise InputError(
                f"{where}: expected the points (S, 3) of at least one template, finite and in "
                "single precision"
            )
        points = {name: tensor.numpy() for name, tensor in templates.items()}
        self._frames = Frames(self.frame, points, saved_noise(description, path))
        self._network = network.to(self.machine.torch_device()).eval()

    def _identity(self) -> dict[str, Any]:
        """Return the settings as plain values, without the place of an encoder."""
        values = {k: v for k, v in self.settings.to_mapping().items() if k != "encoder"}
        return dict(json.loads(json.dumps(values)))  # as it is read back


class NormalClouds:
    """Normal clouds of a category, in the frame in which clouds are compared."""

    def __init__(self, templates: Templates, frame: Frame) -> None:
        self.templates, self.frame = templates, frame

    @property
    def category(self) -> str:
        """Name of the category."""
        return self.templates.category

    def draw(self, rng: np.random.Generator) -> Floats:
        """Draw a cloud (N, 3) of a template at random, with the file's noise."""
        products: Sequence[Template] = self.templates.templates
        cloud = simulated_cloud(self.templates, products[int(rng.integers(len(products)))], rng)
        return self.turned(cloud, rng)

    def turned(self, cloud: Floats, rng: np.random.Generator) -> Floats:
        """Turn a cloud (N, 3) of a template, centred, at random, unless clouds are registered."""
        if self.frame == "registered":
            return cloud
        return np.asarray((cloud - cloud.mean(axis=0)) @ random_rotation(rng))


def _check_points(points: NDArray[Any], fewest: int, what: str = "point cloud") -> None:
    """Raise InputError unless a cloud has as many points as are sampled, and is finite."""
    if len(points) < fewest:
        raise InputError(
            f"{what}: expected at least {fewest} points, as many as are sampled from a cloud, "
            f"found {len(points)}. Sample fewer (--set points=NUMBER), or leave the cloud out."
        )
    check_cloud(points, 1, what)


def _table(description: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    found = description.get(name)
    if not isinstance(found, dict):
        raise InputError(f"{where}: expected a table {name}, found {found!r}")
    return found


def _are_points(tensor: Tensor) -> bool:
    """Say whether a tensor is (S, 3) finite float32, S >= 1."""
    shaped = tensor.ndim == 2 and tensor.shape[1] == 3 and len(tensor) > 0
    return shaped and tensor.dtype.itemsize == 4 and bool(tensor.isfinite().all())
