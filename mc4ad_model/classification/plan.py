# SPDX-License-Identifier: Apache-2.0
"""The trainings for Table 5a: a small preset for a CPU, and the papers'."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Preset = Literal["small", "paper"]
PRESETS: tuple[Preset, ...] = get_args(Preset)
TaskName = Literal["recognition", "recognition-normals", "segmentation"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)


@dataclass(frozen=True)
class Plan:
    """Settings that a training depends on, beside its data and seed.

    Parameters
    ----------
    preset
        Its name.
    points, part_points
        Points of a cloud, where classes and where parts are named.
    width, attention, neighbours
        Shares of the published sizes; see `Sizes`.
    epochs, batch, rate
        Passes over the clouds that are learnt from; clouds of a step; the first learning rate of
        Adam, from which a cosine leads to 0.
    clouds
        Clouds of each of our own products that are learnt from.
    """

    preset: Preset
    points: int
    part_points: int
    width: float
    attention: float
    neighbours: float
    epochs: int
    batch: int
    rate: float
    clouds: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


PLANS: dict[Preset, Plan] = {
    "small": Plan("small", 128, 128, 0.25, 0.125, 0.5, 10, 16, 2e-3, 12),
    "paper": Plan("paper", 1024, 2048, 1.0, 1.0, 1.0, 250, 32, 1e-3, 200),
}
