# SPDX-License-Identifier: Apache-2.0
"""Tasks that networks learn and are tested on: the class of a cloud, or the part of each point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mc4ad_model.classification.plan import Plan, TaskName


@dataclass(frozen=True, eq=False)
class Clouds:
    """S clouds of N points.

    Parameters
    ----------
    points
        (S, N, C) float32, coordinates, and normals where they are input.
    classes
        (S,) int64: what is to be recognised; of a segmentation, the category, which is given.
    parts
        (S, N) int64: the part of each point, numbered through all categories; None where clouds
        are recognised.
    """

    points: NDArray[np.float32]
    classes: NDArray[np.int64]
    parts: NDArray[np.int64] | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """Clouds to learn from, and clouds to be tested on.

    Parameters
    ----------
    classes
        Number of classes, or of categories.
    parts
        Which parts each category has; empty where clouds are recognised.
    """

    name: TaskName
    train: Clouds
    test: Clouds
    classes: int
    parts: tuple[tuple[int, ...], ...] = ()

    @property
    def outputs(self) -> int:
        """Number of classes, or of parts, that a network has to tell apart."""
        return 1 + max(max(one) for one in self.parts) if self.parts else self.classes


class Source(Protocol):
    """Where tasks come from."""

    @property
    def name(self) -> str:
        """The name of the data in a table."""

    @property
    def digest(self) -> str:
        """Tells whether results are of the same data."""

    @property
    def tasks(self) -> tuple[TaskName, ...]:
        """The tasks that it has data for."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """Facts about the data that a reader of the results must know, a sentence or two each."""

    def load(self, name: TaskName, plan: Plan, seed: int) -> Task:
        """Make the clouds of a task.

        Raises
        ------
        InputError
            The data cannot be used.
        """


def chosen_points(count: int, wanted: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Choose so many rows of a cloud at random; some come twice where it has fewer."""
    return rng.choice(count, wanted, replace=count < wanted).astype(np.intp)


def unit_cloud(points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Move a cloud (N, 3) so that its mean is 0, and scale it so that it reaches 1."""
    centred = points - points.mean(axis=0)
    radius = float(np.sqrt(np.square(centred).sum(axis=1).max()))
    return np.asarray(centred / max(radius, 1e-12), dtype=np.float32)
