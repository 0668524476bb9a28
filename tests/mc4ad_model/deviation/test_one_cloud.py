# SPDX-License-Identifier: Apache-2.0
"""Usual deviations as known from one cloud, against those that the known surface gives."""

from __future__ import annotations

import numpy as np
import pytest

from mc4ad_model.deviation.one_cloud import calibration_of_one_cloud
from mc4ad_model.deviation.statistics import Anchors, calibration_of

COUNT, CLOUDS = 400, 24


@pytest.fixture(scope="module")
def anchors() -> Anchors:
    """Return places on a sheet in the plane z = 0."""
    places = np.random.default_rng(0).uniform(-0.7, 0.7, size=(COUNT, 3)) * (1, 1, 0)
    return Anchors.at(places, np.tile((0.0, 0.0, 1.0), (COUNT, 1)))


def drawn(truth: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a stored cloud's statistics (A, 6) of spread 1 about the truth, and those of clouds
    that are drawn from it, (K, A, 6)."""
    rng = np.random.default_rng(seed)
    stored = truth + rng.normal(size=(COUNT, 6))
    return stored, stored + rng.normal(size=(CLOUDS, COUNT, 6))


def error(mean: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(((mean - truth) ** 2).mean()))


def test_where_nothing_changes_the_neighbourhood_says_more_than_the_place(anchors):
    truth = np.tile(np.arange(6.0), (COUNT, 1))
    stored, measured = drawn(truth, 1)
    found = calibration_of_one_cloud(anchors, measured)
    assert error(found.mean, truth) < 0.55 * error(stored, truth)
    assert np.sqrt((found.spread**2).mean()) == pytest.approx(np.sqrt(1 + 0.4**2), rel=0.12)


def test_where_places_differ_a_place_speaks_for_itself(anchors):
    truth = np.random.default_rng(2).normal(scale=8, size=(COUNT, 6))
    stored, measured = drawn(truth, 3)
    found = calibration_of_one_cloud(anchors, measured)
    assert error(found.mean, truth) < 1.1 * error(stored, truth)
    assert np.sqrt((found.spread**2).mean()) == pytest.approx(np.sqrt(2), rel=0.12)


def test_an_edge_stays_one(anchors):
    """A step of ten spreads is not smoothed, and far from it the neighbourhood counts."""
    side = anchors.points[:, 0] > 0
    truth = np.where(side[:, None], 10.0, 0.0) * np.ones(6)
    stored, measured = drawn(truth, 4)
    found = calibration_of_one_cloud(anchors, measured)
    near = np.abs(anchors.points[:, 0]) < 0.05
    assert error(found.mean[near], truth[near]) < 2
    far = np.abs(anchors.points[:, 0]) > 0.4
    assert error(found.mean[far], truth[far]) < 0.6 * error(stored[far], truth[far])


def test_what_no_cloud_has_is_not_known(anchors):
    _, measured = drawn(np.zeros((COUNT, 6)), 5)
    measured[:, 7, 1] = np.nan
    measured[3, 9, 2] = np.nan
    found = calibration_of_one_cloud(anchors, measured)
    assert np.isnan(found.mean[7, 1]) and np.isfinite(found.mean).sum() == COUNT * 6 - 1
    assert np.isfinite(found.spread).all()
    assert np.isnan(calibration_of(anchors, measured).mean[7, 1])
