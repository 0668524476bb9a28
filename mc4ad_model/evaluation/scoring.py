# SPDX-License-Identifier: Apache-2.0
"""From the scores of an object's points to the score of the object. Higher is more anomalous."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mc4ad_model.methods.method import Aggregation, ObjectRule, Prediction


def object_score(scores: NDArray[np.floating[Any]], aggregation: Aggregation) -> float:
    """Aggregate the scores of an object's points.

    Parameters
    ----------
    scores : (N,), at least one
    aggregation
        "top" takes the mean of the highest ceil(top_share * N).
    """
    values = scores.astype(np.float64)
    match aggregation.object:
        case "max":
            return float(values.max())
        case "mean":
            return float(values.mean())
        case "top":
            # rounded first: 0.07 * 100 is a little more than 7 in floating point
            count = math.ceil(round(aggregation.top_share * len(values), 9))
            return float(np.sort(values)[-count:].mean())


def predicted_object_score(
    prediction: Prediction, aggregation: Aggregation, rule: ObjectRule | None = None
) -> float:
    """Return the object's score of a prediction.

    Parameters
    ----------
    aggregation
        The method's, for predictions without a score of the object.
    rule
        Aggregate by this rule, whatever the prediction says of the object.
    """
    if rule is not None:
        return object_score(prediction.points, Aggregation(rule, aggregation.top_share))
    if prediction.object is not None:
        return float(prediction.object)
    return object_score(prediction.points, aggregation)
