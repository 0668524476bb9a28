# SPDX-License-Identifier: Apache-2.0
"""Predictions without a method, for tests of what shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result

from intravariance.cli import main
from intravariance.dataset.specification import Category, Specification
from mc4ad_model.prediction.detector import ScanPrediction
from mc4ad_model.prediction.results import predicted_row
from tests.support.samples import make_dataset, sphere_points

CLOUDS = 39  # normal products of the calibration: enough for a rate of 0.025


def run_iv(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(word) for word in arguments])


def small_data(folder: Path) -> Path:
    """Return a dataset of balls and bricks of 300 to 400 points."""
    counts = {"bulge": 2, "missing": 2}
    categories = (
        Category("ball", ("long_ball",), 1, 2, counts),
        Category("brick", ("flat_brick",), 1, 2, counts),
    )
    specification = Specification("small", "Small", (300, 400), categories)
    return make_dataset(folder / "small.h5", specification)


def small_runs(data: Path, out: Path) -> Path:
    """Train a method whose scores mean something, and calibrate it on bricks alone."""
    method = ("--method", "registered_distance", "--set", "neighbours=20", "--quiet")
    assert run_iv("train", "--data", data, *method, "--out", out).exit_code == 0
    words = ("--clouds", CLOUDS, "--category", "brick", "--quiet")
    assert run_iv("calibrate", "--data", data, "--run", out, *words).exit_code == 0
    return out


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
