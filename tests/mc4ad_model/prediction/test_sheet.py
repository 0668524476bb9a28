# SPDX-License-Identifier: Apache-2.0
"""The clouds that the sheet keeps."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from mc4ad_model.prediction.detector import ScanPrediction
from mc4ad_model.prediction.sheet import WorstClouds
from tests.samples import sphere_points


def prediction(score: float, front: bool = False, count: int = 400) -> ScanPrediction:
    """Return a ball whose back (or front) has high scores."""
    points = sphere_points(count, np.random.default_rng(1))
    hot = points[:, 1] * (-1 if front else 1) > 0.8
    return ScanPrediction("a/ball.ply", 0.1, points, hot.astype(np.float32), object_score=score)


def sheet(worst: WorstClouds) -> np.ndarray:
    drawn = worst.sheet()
    assert drawn is not None
    return np.asarray(Image.open(BytesIO(drawn)))


def test_the_highest_are_kept_in_any_order_of_coming() -> None:
    scores = np.random.default_rng(0).permutation(9)
    kept, all_of_them = WorstClouds(3, 64, 0.0, "t"), WorstClouds(3, 64, 0.0, "t")
    for number, score in enumerate(scores):
        kept.add(number, prediction(float(score)))
    for number in np.argsort(-scores)[:3]:
        all_of_them.add(int(number), prediction(float(scores[number])))
    np.testing.assert_array_equal(sheet(kept), sheet(all_of_them))


def test_it_is_seen_from_where_its_highest_scores_are() -> None:
    """Both sides show as much red: neither is behind."""
    red = []
    for front in (False, True):
        worst = WorstClouds(1, 128, 0.0, "t")
        worst.add(1, prediction(1.0, front, 4000))
        picture = sheet(worst)[60:].astype(int)  # below the heading
        dark, redder = picture[..., 0] < 130, picture[..., 0] > picture[..., 1] + 30
        red.append(int((dark & redder).sum()))
    assert min(red) > 100


def test_large_clouds_are_thinned_and_nothing_is_drawn_of_none() -> None:
    worst = WorstClouds(2, 64, 0.0, "t")
    assert worst.sheet() is None
    worst.add(1, prediction(1.0, count=100_000))
    ((_, _, kept),) = worst._kept
    assert kept.scores is not None and len(kept.scores) == 30_000
    none = WorstClouds(0, 64, 0.0, "t")
    none.add(1, prediction(1.0))
    assert none.sheet() is None
