# SPDX-License-Identifier: Apache-2.0
"""Small scanned toruses, with and without a dent, shared by the tests of memory banks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mc4ad_model.methods.templates import Template, Templates

POINTS, NOISE = 1500, 0.004
_RING, _TUBE = 0.72, 0.24


def torus(seed: int, dent: float = 0.0, count: int = POINTS) -> NDArray[np.float32]:
    """Draw (count, 3) noisy points, evenly by area; `dent` is how deep one side is pushed in."""
    rng = np.random.default_rng(seed)
    around, tube = rng.uniform(0, 2 * np.pi, (2, 4 * count))
    keep = rng.random(4 * count) < (_RING + _TUBE * np.cos(tube)) / (_RING + _TUBE)
    around, tube = around[keep][:count], tube[keep][:count]
    depth = dent * np.exp(-((around - np.pi) ** 2) / 0.04 - (tube - np.pi / 2) ** 2 / 0.5)
    radius = _TUBE - depth
    ring = _RING + radius * np.cos(tube)
    points = np.stack([ring * np.cos(around), ring * np.sin(around), radius * np.sin(tube)], 1)
    return (points + rng.normal(scale=NOISE, size=points.shape)).astype(np.float32)


def in_the_dent(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Say which points (N, 3) of a dented torus lie near the middle of its dent."""
    return (np.abs(points[:, 1]) < 0.15) & (points[:, 0] < 0) & (points[:, 2] > 0)


def scanned(count: int = 2, points: int = POINTS) -> Templates:
    """Return templates without a mesh, as scans have them."""
    clouds = [torus(100 + k, count=points) for k in range(count)]
    templates = tuple(
        Template(f"scan_{k}", c, np.zeros_like(c), None) for k, c in enumerate(clouds)
    )
    return Templates("torus", templates, (points, points), NOISE, "digest")
