# SPDX-License-Identifier: Apache-2.0
"""Calibrated deviation: what a cloud does at places of a template, against what normal clouds do.

A cloud is registered to the best of its category's templates. In two cylinders at each of 2,000
places of it, the number of points, the mean and the standard deviation of their heights become
z-scores (`mc4ad_model.deviation.statistics`) against clouds that are simulated from the template
and registered as the cloud was. A place's score is the mean of two: the root mean square of its own
z-scores, and of those of its neighbourhood, where twists show. Not from a paper, and nothing is
trained: it is what any learned method has to beat.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as validated

from intravariance.seeds import seed_of
from mc4ad_model.deviation.statistics import deviations, point_scores
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.method import Aggregation, FittedOn, Prediction
from mc4ad_model.methods.saved_files import load_arrays, reading, save_arrays, writing
from mc4ad_model.methods.settings import STRICT, Settings
from mc4ad_model.methods.template_deviations import (
    Description,
    TemplateDeviations,
    check_templates,
)
from mc4ad_model.methods.templates import Templates

Floats = NDArray[np.float64]

_SAVED = "deviations"
_TOP_SHARE = 0.005  # of the places, whose mean is the score of an object


@validated(frozen=True, config=STRICT)
class DeviationSettings(Settings):
    """Nothing can be set: radii, places and shares are those of `mc4ad_model.deviation`."""


def anchor_scores(narrow: Floats, wide: Floats) -> Floats:
    """Score the places of a template, (A,), by z-scores (A, 6) there and around there."""
    return (deviations(narrow) + deviations(wide)) / 2


def object_score(narrow: Floats, wide: Floats) -> float:
    """Return the mean of the highest 0.5 % of the places' scores, of either kind, (A, 6) each."""
    scores = [np.sort(deviations(z)) for z in (narrow, wide)]
    return float(np.mean([s[-max(1, round(_TOP_SHARE * len(s))) :].mean() for s in scores]))


def judge(description: Description) -> Prediction:
    """Say how unusual a described cloud is."""
    narrow, wide = description.narrow, description.wide
    on_points = point_scores(anchor_scores(narrow, wide), description.nearest)
    return Prediction(
        on_points.astype(np.float32), object_score(narrow, wide), note=description.note
    )


class CalibratedDeviation:
    """Score places of a template by how unusual a cloud is there."""

    title: ClassVar[str] = "calibrated deviation"
    frame: ClassVar[str] = "registered"
    Settings: ClassVar[type[Settings]] = DeviationSettings
    files: ClassVar[tuple[str, ...]] = (f"{_SAVED}.json", f"{_SAVED}.*")
    parameters: int | None = None

    def __init__(self, settings: DeviationSettings, machine: Machine | None = None) -> None:
        self.settings = settings
        self.aggregation = Aggregation("top", 0.02)  # where --object top is asked for
        self.fitted_on: FittedOn | None = None
        self._deviations: TemplateDeviations | None = None

    def check(self, templates: Templates) -> None:
        """Check that the products have the scale that registration expects."""
        check_templates(templates)

    def fit(
        self, templates: Templates, rng: np.random.Generator, folder: Path | None = None
    ) -> None:
        """Simulate and measure normal clouds of each template."""
        seed = seed_of(rng)
        self.fitted_on = FittedOn(templates.category, seed, templates.data_digest)
        self._deviations = TemplateDeviations.fit(templates, seed)

    def score(self, points: NDArray[np.float32]) -> Prediction:
        """Register the cloud and compare it with normal clouds of the same template."""
        assert self._deviations is not None
        return judge(self._deviations.describe(points))

    def save(self, folder: Path) -> None:
        """Write the templates and what normal clouds do on them."""
        assert self.fitted_on is not None and self._deviations is not None
        description = {"fitted_on": vars(self.fitted_on), **self._deviations.description}
        with writing(folder / _SAVED):
            save_arrays(folder / _SAVED, self._deviations.arrays(), description)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Errors as of `Method.load`."""
        path = folder / _SAVED
        with reading():
            arrays, description = load_arrays(path)
        self.fitted_on = FittedOn.from_mapping(
            description.get("fitted_on", {}), f"{path}.json: fitted_on"
        )
        self._deviations = TemplateDeviations.from_arrays(arrays, description, path)
