# SPDX-License-Identifier: Apache-2.0
"""Sizes of the products that are tested, and points spread evenly on a sphere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HALF = np.array([0.7, 0.5, 0.4])  # half the edges of the box
SHELL = (0.8, 0.9)  # radii of the shell
BOX_AREA = 8 * float(HALF[0] * HALF[1] + HALF[1] * HALF[2] + HALF[2] * HALF[0])


def even_sphere(count: int = 20_000) -> NDArray[np.float64]:
    """Return (count, 3) unit vectors, each with the same area around it (Fibonacci's spiral)."""
    height = 1 - (2 * np.arange(count) + 1) / count
    angle = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)


def in_box(points: NDArray[np.float64], margin: float = 0.0) -> NDArray[np.bool_]:
    return np.asarray((np.abs(points) < HALF + margin).all(axis=1))


def as_expected(count: int, expected: float) -> bool:
    """Say whether a Poisson count agrees with its mean (five standard deviations)."""
    return bool(abs(count - expected) < 5 * np.sqrt(expected))
