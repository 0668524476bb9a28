# SPDX-License-Identifier: Apache-2.0
"""From forces to scores: of a point, and of an object. Higher is more anomalous.

The paper takes the norm of the force and the largest score; its released code, whose numbers are
published, takes the sum of absolute components and the mean over all points. Neither smooths.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mc4ad_model.methods.mc4ad.configuration import ScoringConfig

ObjectRule = Literal["max", "mean", "top"]
RULES: tuple[ObjectRule, ...] = get_args(ObjectRule)


def point_scores(force: NDArray[np.floating[Any]], config: ScoringConfig) -> NDArray[np.float32]:
    """Norm of each point's force.

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


def object_score(
    scores: NDArray[np.floating[Any]], config: ScoringConfig, rule: ObjectRule | None = None
) -> float:
    """Score of an object from those of its points.

    Parameters
    ----------
    scores : (N,), at least one
    config
        `object` is the rule; "top" takes the mean of the highest ceil(top_share * N).
    rule
        This one instead of the configured one.
    """
    values = scores.astype(np.float64)
    match rule or config.object:
        case "max":
            return float(values.max())
        case "mean":
            return float(values.mean())
        case "top":
            # rounded first: 0.07 * 100 is a little more than 7 in floating point
            count = math.ceil(round(config.top_share * len(values), 9))
            return float(np.sort(values)[-count:].mean())
