# SPDX-License-Identifier: Apache-2.0
"""Logistic regression, fitted a thousand times in one inspection.

It has the objective of scikit-learn's `StandardScaler` and `LogisticRegression(C=1)`, which spend
most of such short fits on checking their arguments. Newton's method, to the last digits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]

_STEPS = 100  # some eight are needed
_EXACT = 1e-9  # change of a coefficient, of descriptors whose standard deviation is 1


def classified(rows: Floats, sides: NDArray[np.integer[Any]], weights: Floats) -> Floats:
    """Return the scores (M,) of a logistic regression, the higher the more of side 1.

    rows : (M, K). sides : (M,) 0 or 1. weights : (M,), 0 for rows that are scored alone, above 0
    for some of both sides. Columns are scaled to mean 0 and variance 1 over the weighted rows; the
    sum of the weighted losses, and half of the squared coefficients but for the constant, is made
    as small as it can be.
    """
    rows = _standardised(rows, weights)
    penalty = np.append(np.ones(rows.shape[1] - 1), 0.0)
    found, scores = np.zeros(rows.shape[1]), np.zeros(len(rows))
    value = np.inf
    for _ in range(_STEPS):
        chances = expit(scores)
        gradient = (weights * (chances - sides)) @ rows + penalty * found
        curvature = (rows.T * (weights * chances * (1 - chances))) @ rows + np.diag(penalty)
        step = np.linalg.solve(curvature, gradient)
        while True:  # half of the way, where the whole goes too far
            scores = rows @ (found - step)
            losses = np.logaddexp(0, scores) - sides * scores
            reached = float(weights @ losses + 0.5 * penalty @ (found - step) ** 2)
            if reached <= value * (1 + 1e-12) or np.abs(step).max() < _EXACT:
                break
            step /= 2
        found, value = found - step, reached
        if np.abs(step).max() < _EXACT:
            break
    return scores


def _standardised(rows: Floats, weights: Floats) -> Floats:
    """Return (M, K + 1): columns of mean 0 and variance 1 (0 where constant), and one of ones."""
    total = weights.sum()
    rows = rows - weights @ rows / total
    spread = np.sqrt(weights @ (rows * rows) / total)
    spread[spread <= 1e-9 * np.abs(rows).max(axis=0)] = np.inf
    return np.column_stack([rows / spread, np.ones(len(rows))])
