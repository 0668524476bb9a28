# SPDX-License-Identifier: Apache-2.0
"""Scorers that are known functions, for tests of what evaluates them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mc4ad_model.methods.method import Aggregation, Prediction


@dataclass(frozen=True)
class FunctionScorer:
    """Scores by a function of points (N, 3) that gives scores (N,), or forces (N, 3) whose length
    is the score."""

    function: Callable[[NDArray[Any]], NDArray[Any]]
    aggregation: Aggregation = field(default=Aggregation("mean", 0.05))
    parameters: int | None = None

    def score(self, points: NDArray[np.float32]) -> Prediction:
        output = self.function(points)
        if output.ndim == 1:
            return Prediction(output)
        length = np.linalg.norm(output.astype(np.float64), axis=1)
        return Prediction(length.astype(np.float32), force=output)
