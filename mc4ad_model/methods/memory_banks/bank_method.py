# SPDX-License-Identifier: Apache-2.0
"""Common parts of the methods with a memory bank: checks, the frame, and their files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError
from intravariance.looking.realism.two_sample import load_open3d
from intravariance.seeds import generator, seed_of
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.memory_banks.frames import Floats, Frame, Frames, check_cloud
from mc4ad_model.methods.method import Aggregation, FittedOn, Prediction
from mc4ad_model.methods.saved_files import load_arrays, reading, save_arrays, writing
from mc4ad_model.methods.settings import Settings
from mc4ad_model.methods.templates import Templates, check_scale
from mc4ad_model.registration.poses import saved_noise

_SAVED = "bank"
_TEMPLATE = "template/"
_REMEDY = (
    "So do the radii of neighbourhoods. Bring the data to this scale; `iv import` does, unless "
    "told --normalise none."
)

Arrays = dict[str, NDArray[np.float32]]


class BankMethod(ABC):
    """The base of the methods with a memory bank.

    A subclass says how the bank is made of the templates' clouds (`learn`) and how a cloud in the
    same frame is compared with it (`compare`). `self.bank` has what `learn` returned.
    """

    title: ClassVar[str]
    Settings: ClassVar[type[Settings]]
    files: ClassVar[tuple[str, ...]] = (f"{_SAVED}.json", f"{_SAVED}.*")
    aggregation = Aggregation("max")
    parameters: int | None = None

    def __init__(self, settings: Any, machine: Machine | None = None) -> None:
        self.settings = settings
        self.fitted_on: FittedOn | None = None
        self.bank: Arrays = {}
        self._frames: Frames | None = None

    @property
    def frame(self) -> Frame:
        """The frame of the settings."""
        found: Frame = self.settings.frame
        return found

    @property
    @abstractmethod
    def fewest(self) -> int:
        """The points that a cloud must have."""

    @property
    @abstractmethod
    def widths(self) -> Mapping[str, int]:
        """The arrays of the bank, by name, and their numbers of columns."""

    @abstractmethod
    def learn(self, clouds: list[Floats], rng: np.random.Generator) -> Arrays:
        """Make the bank of the templates' clouds, each (N, 3)."""

    @abstractmethod
    def compare(self, cloud: Floats) -> Prediction:
        """Score a cloud (N, 3) in the frame of the bank."""

    def check(self, templates: Templates) -> None:
        """Check scale and size of the templates, and that Open3D can be loaded."""
        check_scale(templates, _REMEDY)
        for template in templates.templates:
            where = f"category {templates.category}: template {template.id}"
            check_cloud(template.points, self.fewest, where)
        load_open3d()

    def fit(
        self, templates: Templates, rng: np.random.Generator, folder: Path | None = None
    ) -> None:
        """Fill the bank from the stored clouds of the templates."""
        self.check(templates)
        seed = seed_of(rng)
        self.fitted_on = FittedOn(templates.category, seed, templates.data_digest)
        self._frames = Frames.fit(self.frame, templates, seed)
        clouds = self._frames.training_clouds(templates)
        self.bank = self.learn(clouds, generator(seed, "memory bank", templates.category))

    def score(self, points: NDArray[np.float32]) -> Prediction:
        """Bring the cloud into the frame and compare it with the bank."""
        cloud, note = self.placed(points)
        return replace(self.compare(cloud), note=note)

    def placed(self, points: NDArray[np.float32]) -> tuple[Floats, str | None]:
        """Bring a cloud (N, 3) into the frame of the bank; with a note where its pose is in doubt.

        Raises
        ------
        InputError
            It has too few points, is not finite, or is of another scale.
        """
        assert self._frames is not None
        check_cloud(points, self.fewest)
        return self._frames.place(points)

    def save(self, folder: Path) -> None:
        """Write the bank, and what clouds are registered to."""
        assert self.fitted_on is not None and self._frames is not None
        templates = {_TEMPLATE + name: a for name, a in self._frames.templates.items()}
        description = {
            "fitted_on": vars(self.fitted_on),
            "noise_sigma": self._frames.noise_sigma,
            "frame": self.frame,
        }
        with writing(folder / _SAVED):
            save_arrays(folder / _SAVED, {**self.bank, **templates}, description)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Errors as of `Method.load`."""
        path = folder / _SAVED
        with reading():
            arrays, description = load_arrays(path)
        where = f"{path}.json"
        self.fitted_on = FittedOn.from_mapping(
            description.get("fitted_on", {}), f"{where}: fitted_on"
        )
        if (saved := description.get("frame")) != self.frame:
            raise InputError(f"{where}: was saved with frame = {saved!r}, not {self.frame!r}")
        templates = {n.removeprefix(_TEMPLATE): a for n, a in arrays.items() if _TEMPLATE in n}
        bank = {name: a for name, a in arrays.items() if _TEMPLATE not in name}
        _check_shapes(bank, self.widths, where)
        _check_shapes(templates, dict.fromkeys(templates, 3), where)
        if not templates:
            raise InputError(f"{where}: expected the points of at least one template")
        self.bank = bank
        self._frames = Frames(self.frame, templates, saved_noise(description, path))


def _check_shapes(arrays: Arrays, widths: Mapping[str, int], where: str) -> None:
    """Raise InputError unless the arrays have these names and numbers of columns, and rows."""
    found = {name: a.shape[1] if a.ndim == 2 and len(a) else 0 for name, a in arrays.items()}
    if found != dict(widths):
        raise InputError(
            f"{where}: expected arrays with the columns {dict(widths)}, found {found}; the bank "
            "was saved with other settings"
        )
