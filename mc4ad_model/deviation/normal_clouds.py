# SPDX-License-Identifier: Apache-2.0
"""Simulated clouds without a defect, brought to the template's frame as test clouds are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mc4ad_model.registration.poses import Registration

Floats = NDArray[np.float64]
Sampler = Callable[[np.random.Generator], Floats]

# Tries for each cloud: one that registers to another template, which looks like its own, does not
# say what clouds on its own look like.
_TRIES = 3


def registered_normal_clouds(
    sample: Sampler, registration: Registration, template: int, count: int, rng: np.random.Generator
) -> list[Floats]:
    """Simulate clouds of a template and register them from a random pose.

    Parameters
    ----------
    sample
        Draws a cloud (N, 3) in the template's frame, with its noise.
    template
        Index of the template in the registration.

    Returns
    -------
    `count` clouds (N, 3) in the template's frame. Where too few register to the template, because
    another one looks alike, the rest are in their true pose.
    """
    clouds = list[Floats]()
    for _ in range(_TRIES * count):
        cloud = sample(rng)
        turned = cloud @ Rotation.from_quat(rng.normal(size=4)).as_matrix()
        pose = registration.register(turned)
        if pose.template == template:
            clouds.append(turned @ pose.rotation + pose.shift)
        if len(clouds) == count:
            return clouds
    return clouds + [sample(rng) for _ in range(count - len(clouds))]
