# SPDX-License-Identifier: Apache-2.0
"""The clouds that are kept to be shown, and the picture of them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from mc4ad_model.prediction.sheet import worst_sheet
from mc4ad_model.prediction.worst import WorstClouds
from tests.support.predictions import prediction


def sheet(worst: WorstClouds, size: int = 64) -> np.ndarray:
    drawn = worst_sheet(worst.clouds, size, 0.0, "t")
    assert drawn is not None
    return np.asarray(Image.open(BytesIO(drawn)))


def test_the_highest_are_kept_in_any_order_of_coming() -> None:
    scores = np.random.default_rng(0).permutation(9)
    kept, all_of_them = WorstClouds(3), WorstClouds(3)
    for number, score in enumerate(scores):
        before = [cloud.number for cloud in kept.clouds]
        changed = kept.add(number, prediction(float(score)))
        assert changed == ([cloud.number for cloud in kept.clouds] != before)
    for number in np.argsort(-scores)[:3]:
        all_of_them.add(int(number), prediction(float(scores[number])))
    np.testing.assert_array_equal(sheet(kept), sheet(all_of_them))


def test_it_is_seen_from_where_its_highest_scores_are() -> None:
    """Both sides show as much red: neither is behind."""
    red = []
    for front in (False, True):
        worst = WorstClouds(1)
        worst.add(1, prediction(1.0, front, 4000))
        picture = sheet(worst, 128)[60:].astype(int)  # below the heading
        dark, redder = picture[..., 0] < 130, picture[..., 0] > picture[..., 1] + 30
        red.append(int((dark & redder).sum()))
    assert min(red) > 100


def test_large_clouds_are_thinned_and_nothing_is_drawn_of_none() -> None:
    worst = WorstClouds(2)
    assert worst_sheet(worst.clouds, 64, 0.0, "t") is None
    worst.add(1, prediction(1.0, count=100_000))
    (kept,) = worst.clouds
    found = kept.prediction
    assert kept.whole == 100_000
    assert found.points is not None and found.scores is not None and found.force is not None
    assert len(found.points) == len(found.scores) == len(found.force) == 30_000
    # they stay together
    np.testing.assert_array_equal(found.force, found.points.astype(np.float32))
    cloud = kept.labelled(500)
    assert len(cloud.points) == 500 and cloud.whole == 100_000 and not cloud.labelled
    none = WorstClouds(0)
    assert not none.add(1, prediction(1.0)) and none.clouds == []


def test_force_is_in_the_unit_of_what_is_shown() -> None:
    worst = WorstClouds(1)
    worst.add(7, prediction(1.0, unit=40.0))
    cloud = worst.clouds[0].labelled()
    assert cloud.name == "7. ball.ply" and cloud.force is not None
    assert np.linalg.norm(cloud.points, axis=1).max() <= 1 + 1e-6
    # both are the places of points of a ball of 40, but for the centroid
    assert np.abs(cloud.force - cloud.points).max() < 0.2
