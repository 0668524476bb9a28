# SPDX-License-Identifier: Apache-2.0
"""Controls: methods that know nothing, so that every table shows what knowing nothing scores.

Neither follows a paper. An evaluation in which one of them is not at chance is broken.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as validated

from intravariance.seeds import seed_of
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.method import Aggregation, FittedOn, Prediction
from mc4ad_model.methods.saved_files import METHOD_FORMAT, read_json, reading, save_json
from mc4ad_model.methods.settings import STRICT, Settings
from mc4ad_model.methods.templates import Templates

_SAVED = "method.json"


@validated(frozen=True, config=STRICT)
class NoSettings(Settings):
    """Nothing to set."""


class Constant:
    """Give every point and every object the score 0."""

    title: ClassVar[str] = "constant score"
    Settings: ClassVar[type[Settings]] = NoSettings
    files: ClassVar[tuple[str, ...]] = (_SAVED,)
    aggregation = Aggregation("mean")
    parameters: int | None = None
    seeded = False

    def __init__(self, settings: NoSettings, machine: Machine | None = None) -> None:
        self.settings = settings
        self.fitted_on: FittedOn | None = None

    def check(self, templates: Templates) -> None:
        """Accept any templates."""

    def fit(
        self, templates: Templates, rng: np.random.Generator, folder: Path | None = None
    ) -> None:
        """Learn nothing but what it was fitted on."""
        self.fitted_on = FittedOn(templates.category, seed_of(rng), templates.data_digest)

    def score(self, points: NDArray[np.float32]) -> Prediction:
        """Give (N,) zeros."""
        return Prediction(np.zeros(len(points), dtype=np.float32))

    def save(self, folder: Path) -> None:
        """Write what it was fitted on."""
        assert self.fitted_on is not None
        save_json(folder / _SAVED, {"fitted_on": vars(self.fitted_on)})

    def load(self, folder: Path) -> None:
        """Read what it was fitted on. Errors as of `Method.load`."""
        path = folder / _SAVED
        with reading():
            values = read_json(path, METHOD_FORMAT).get("fitted_on", {})
        self.fitted_on = FittedOn.from_mapping(values, f"{path}: fitted_on")


class Random(Constant):
    """Draw the score of every point and of every object uniformly from 0 to 1.

    The draw depends on the seed and the cloud alone: the same cloud has the same scores.
    """

    title: ClassVar[str] = "random scores"
    seeded = True

    def score(self, points: NDArray[np.float32]) -> Prediction:
        """Give (N,) random scores and a random score of the object."""
        assert self.fitted_on is not None
        digest = hashlib.sha256(np.ascontiguousarray(points).tobytes()).digest()
        words = np.frombuffer(digest, dtype="<u4").tolist()
        rng = np.random.default_rng([self.fitted_on.seed, *words])
        scores = rng.random(len(points), dtype=np.float32)
        return Prediction(scores, object=float(rng.random()))
