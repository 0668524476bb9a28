# SPDX-License-Identifier: Apache-2.0
"""Predictions without a method, for tests of what shows them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mc4ad_model.prediction.detector import ScanPrediction
from mc4ad_model.prediction.results import predicted_row
from tests.samples import sphere_points


def prediction(
    score: float,
    front: bool = False,
    count: int = 400,
    unit: float = 1.0,
    file: str = "a/ball.ply",
    **others: Any,
) -> ScanPrediction:
    """Return a ball whose back (or front) has high scores, moved by the place of each point."""
    points = unit * sphere_points(count, np.random.default_rng(1))
    hot = points[:, 1] * (-1 if front else 1) > 0.8 * unit
    scores, force = hot.astype(np.float32), points.astype(np.float32)
    return ScanPrediction(file, 0.1, points, scores, force, object_score=score, **others)


def content(predictions: list[ScanPrediction], **others: Any) -> dict[str, Any]:
    """Return what predictions.json has of them, numbered from 1."""
    rows = [predicted_row(number, found) for number, found in enumerate(predictions, start=1)]
    run = {"category": "ball", "method": "registered_distance", "preset": ""}
    empty = {"threshold": None, "false_alarms": None, "left_out": []}
    return {"run": run, **empty, "scans": [row.entry() for row in rows], **others}
