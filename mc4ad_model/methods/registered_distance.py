# SPDX-License-Identifier: Apache-2.0
"""Registration alone: no network, no training, the distance from the nearest template.

A cloud is registered to the best of its category's templates. Each point has an offset from the
nearest point of that template's surface; the mean of the offsets of a point's neighbours, which
takes noise out, is the force, and its length the score. Not from a paper: it is the control that
says how much of a registering method's result is its registration's.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as validated

from intravariance.errors import InputError
from intravariance.seeds import seed_of
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.memory_banks.frames import check_cloud
from mc4ad_model.methods.method import Aggregation, FittedOn, ObjectRule, Prediction
from mc4ad_model.methods.saved_files import load_arrays, reading, save_arrays, writing
from mc4ad_model.methods.settings import STRICT, Count, Settings, Share
from mc4ad_model.methods.templates import Templates, check_scale, registration_points
from mc4ad_model.registration.placing import Placing
from mc4ad_model.registration.poses import DEFAULT_NOISE, Registration, saved_noise

_TEMPLATES = "templates"
_REMEDY = "Bring the data to this scale; `iv import` does, unless told --normalise none."


@validated(frozen=True, config=STRICT)
class DistanceSettings(Settings):
    """Settings of the score.

    Parameters
    ----------
    neighbours
        Points of the cloud, the point itself among them, whose offsets are averaged. 40 of about
        10,000 points are a patch of a radius of about 0.1; 1 takes each point's own offset.
    object, top_share
        How an object's score is aggregated, see `Aggregation`; as in MC4AD's preset `quick`.
    """

    neighbours: Count = 40
    object: ObjectRule = "top"
    top_share: Share = 0.02


class RegisteredDistance:
    """Score points by their smoothed distance from the best template."""

    title: ClassVar[str] = "registered distance"
    frame: ClassVar[str] = "registered"
    Settings: ClassVar[type[Settings]] = DistanceSettings
    files: ClassVar[tuple[str, ...]] = (f"{_TEMPLATES}.json", f"{_TEMPLATES}.*")
    parameters: int | None = None

    def __init__(self, settings: DistanceSettings, machine: Machine | None = None) -> None:
        self.settings = settings
        self.aggregation = Aggregation(settings.object, settings.top_share)
        self.fitted_on: FittedOn | None = None
        self._templates: dict[str, NDArray[np.float32]] = {}
        self._noise_sigma = DEFAULT_NOISE
        self._registration: Registration | None = None
        self._placing: Placing | None = None

    def check(self, templates: Templates) -> None:
        """Check that the products have the scale that registration expects."""
        check_scale(templates, _REMEDY)

    def fit(
        self, templates: Templates, rng: np.random.Generator, folder: Path | None = None
    ) -> None:
        """Draw points of the templates' surfaces."""
        seed = seed_of(rng)
        self.fitted_on = FittedOn(templates.category, seed, templates.data_digest)
        self._adopt(registration_points(templates, seed), templates.registration_noise)

    def _adopt(self, points: dict[str, NDArray[np.float32]], noise_sigma: float) -> None:
        self._templates, self._noise_sigma = points, noise_sigma
        self._registration = Registration([points[name] for name in sorted(points)], noise_sigma)
        self._placing = Placing.ready(self._registration, noise_sigma)

    def score(self, points: NDArray[np.float32]) -> Prediction:
        """Register the cloud and measure; `force` is the mean offset in the stored frame.

        Raises
        ------
        InputError
            It has fewer points than a neighbourhood, or as `Placing.place`.
        """
        from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

        assert self._registration is not None and self._placing is not None
        count = self.settings.neighbours
        check_cloud(points, count)
        placed = self._placing.place(points)
        pose = placed.pose
        offsets = self._registration.offsets(points, pose)  # (N, 3), template's frame
        _, neighbours = cKDTree(points).query(points, count)  # (N, K), or (N,) for one
        force = offsets[neighbours.reshape(len(points), count)].mean(axis=1) @ pose.rotation.T
        scores = np.linalg.norm(force, axis=1)
        return Prediction(
            scores.astype(np.float32), force=force.astype(np.float32), note=placed.note
        )

    def save(self, folder: Path) -> None:
        """Write the templates' points."""
        assert self.fitted_on is not None
        with writing(folder / _TEMPLATES):
            description = {"fitted_on": vars(self.fitted_on), "noise_sigma": self._noise_sigma}
            save_arrays(folder / _TEMPLATES, self._templates, description)

    def load(self, folder: Path) -> None:
        """Read the templates' points. Errors as of `Method.load`."""
        with reading():
            arrays, description = load_arrays(folder / _TEMPLATES)
        where = f"{folder / _TEMPLATES}.json"
        self.fitted_on = FittedOn.from_mapping(
            description.get("fitted_on", {}), f"{where}: fitted_on"
        )
        if not arrays or any(a.ndim != 2 or a.shape[1] != 3 for a in arrays.values()):
            raise InputError(f"{where}: expected the points (S, 3) of at least one template")
        noise_sigma = saved_noise(description, folder / _TEMPLATES)
        self._adopt(cast("dict[str, NDArray[np.float32]]", arrays), noise_sigma)
