# SPDX-License-Identifier: Apache-2.0
"""From a network to forces, and from forces to scores of points. Higher is more anomalous.

The paper takes the norm of the force and the largest score; its released code, whose numbers are
published, takes the sum of absolute components and the mean over all points. Neither smooths.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mc4ad_model.methods.mc4ad.configuration import ScoringConfig
from mc4ad_model.methods.mc4ad.network import CFPNet
from mc4ad_model.methods.mc4ad.training_samples import centre_and_scale
from mc4ad_model.registration.poses import Pose


def predict_force(
    network: CFPNet, points: NDArray[np.float32], pose: Pose | None
) -> NDArray[np.float32]:
    """Predict the force on each point of a cloud.

    Parameters
    ----------
    points : (N, 3) stored frame
    pose
        What brings the cloud into a template's frame (data.frame = "registered"); None centres and
        scales it by itself ("own").

    Returns
    -------
    (N, 3) float32, stored frame and its units
    """
    if pose is None:
        shift, scale = centre_and_scale(points)
        turn = np.eye(3)
    else:
        turn, scale = pose.rotation, 1.0
        shift = -pose.shift @ turn.T
    moved = ((points - shift) @ turn * scale).astype(np.float32)
    force = network.predict([torch.from_numpy(moved)])[0].combined
    return np.asarray((force.double().cpu().numpy() / scale) @ turn.T, dtype=np.float32)


def point_scores(force: NDArray[np.floating[Any]], config: ScoringConfig) -> NDArray[np.float32]:
    """Compute the norm of each point's force.

    Parameters
    ----------
    force : (N, 3)
    config
        `point` says which norm: "l1" or "l2".

    Returns
    -------
    (N,) float32, in the unit of the force
    """
    order = {"l1": 1, "l2": 2}[config.point]
    length = np.linalg.norm(force.astype(np.float64), ord=order, axis=1)
    return np.asarray(length, dtype=np.float32)
