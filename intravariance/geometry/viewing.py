# SPDX-License-Identifier: Apache-2.0
"""Where viewers stand, and their camera axes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from blender_scripts.portable import cos, norm, sin


def look_from(direction: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> NDArray[np.float64]:
    """Give the camera axes (3, 3) float64 of a viewer placed in `direction` (3,) from the object.

    `up` (3,) points upwards in the picture; looking along it, +y takes its place.
    """
    towards = np.asarray(direction, dtype=np.float64)
    towards = towards / norm(towards)
    right = np.cross(np.asarray(up, dtype=np.float64), towards)
    if norm(right) < 1e-9:
        right = np.cross((0.0, 1.0, 0.0), towards)
    right /= norm(right)
    return np.stack([right, np.cross(towards, right), towards])


def sphere_directions(count: int) -> NDArray[np.float64]:
    """Return (count, 3) unit vectors, evenly over the sphere (a golden spiral)."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    level = np.sqrt(1 - np.square(height))
    return np.stack([level * cos(turn), level * sin(turn), height], axis=1)
