# SPDX-License-Identifier: Apache-2.0
"""From a cloud of the stored frame to scores and forces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from scipy.spatial.transform import Rotation

from intravariance.errors import InputError
from mc4ad_model.methods.calibrated_deviation import object_score
from mc4ad_model.methods.mc4ad.deviations.detector import CALIBRATION_CLOUDS, DeviationDetector
from tests.support.deviations import (
    POINTS,
    dented,
    normal_cloud,
    toy_deviations,
    turned,
    two_toys,
    untrained_detector,
)


@pytest.fixture(scope="module")
def detector() -> DeviationDetector:
    """Return one whose network was not trained: what it says depends on the cloud all the same."""
    return untrained_detector()


def test_what_a_prediction_holds(detector):
    found = detector.score(turned(normal_cloud(0)))
    assert found.points.shape == (POINTS,) and found.points.dtype == np.float32
    assert found.force.shape == (POINTS, 3) and found.force.dtype == np.float32
    assert isinstance(found.object, float) and np.isfinite(found.object)


def test_normal_clouds_have_object_scores_with_mean_0_and_spread_1(detector):
    scores = [
        detector.score(turned(normal_cloud(600 + seed, name), seed)).object
        for name in toy_deviations().ids
        for seed in range(16)
    ]
    # the calibration's own mean over 16 clouds is uncertain by a quarter
    assert abs(np.mean(scores)) < 0.75
    assert 0.5 < np.std(scores) < 1.7


def test_the_pose_of_a_cloud_does_not_matter_and_its_force_turns_with_it(detector):
    """Up to the error of the registration; the two ends of a brick are told by their dent."""
    cloud = normal_cloud(1)
    dented(cloud)
    cloud[cloud[:, 2] < -0.6, 0] *= 1.15  # a foot: no pose but one fits
    turns = [Rotation.from_quat(np.random.default_rng(s).normal(size=4)) for s in (1, 2)]
    first, second = (
        detector.score((turn.apply(cloud) + 0.03).astype(np.float32)) for turn in turns
    )
    assert np.corrcoef(first.points, second.points)[0, 1] > 0.98
    assert first.object == pytest.approx(second.object, rel=0.1, abs=0.3)
    back = [
        turn.inv().apply(found.force) for turn, found in zip(turns, (first, second), strict=True)
    ]
    size = np.linalg.norm(back[0], axis=1).mean()
    assert np.linalg.norm(back[0] - back[1], axis=1).mean() < 0.3 * size


def test_scores_do_not_depend_on_the_order_of_the_points(detector):
    cloud = turned(normal_cloud(1))
    order = np.random.default_rng(0).permutation(len(cloud))
    found, shuffled = detector.score(cloud), detector.score(cloud[order])
    assert np.corrcoef(shuffled.points, found.points[order])[0, 1] > 0.98


def test_what_is_kept_scores_as_what_was_calibrated(detector):
    again = DeviationDetector.from_arrays(
        detector.network, detector.arrays(), detector.deviations.description, Path("a")
    )
    cloud = turned(normal_cloud(3))
    first, second = detector.score(cloud), again.score(cloud)
    assert first.object == second.object
    assert np.array_equal(first.points, second.points)
    assert np.array_equal(first.force, second.force)


@pytest.mark.parametrize("value", [None, np.zeros((1, CALIBRATION_CLOUDS)), np.zeros((2, 3))])
def test_evidence_of_other_templates_is_refused(detector, value):
    arrays = {name: a for name, a in detector.arrays().items() if name != "normal_scores"}
    if value is not None:
        arrays["normal_scores"] = value
    with pytest.raises(InputError, match=r"a\.json: expected the evidence in normal clouds"):
        DeviationDetector.from_arrays(
            detector.network, arrays, detector.deviations.description, Path("a")
        )


def test_calibration_depends_on_the_seed_alone(detector):
    bare = DeviationDetector(detector.network, toy_deviations())
    again, other = (bare.evidence_of_normal_clouds(two_toys(), seed) for seed in (0, 1))
    assert np.array_equal(again, detector.normal_evidence)
    assert not np.array_equal(other, detector.normal_evidence)


def test_clouds_do_not_depend_on_those_scored_before(detector):
    """The data kept of a template's voxels are the same for every cloud."""
    clouds = [turned(normal_cloud(7, name)) for name in toy_deviations().ids]
    fresh = DeviationDetector(detector.network, toy_deviations(), detector.normal_evidence)
    alone = fresh.score(clouds[1])
    found = [detector.score(cloud) for cloud in (*clouds, clouds[1])]
    assert np.array_equal(found[1].points, alone.points)
    assert np.array_equal(found[2].points, alone.points)
    assert found[2].object == alone.object


def test_runs_without_the_statistic_score_objects_by_the_network_alone(detector):
    """As version 0.1.0 saved them."""
    arrays = detector.arrays()
    arrays["normal_scores"] = arrays["normal_scores"][..., :2]
    old = DeviationDetector.from_arrays(
        detector.network, arrays, detector.deviations.description, Path("a")
    )
    cloud = turned(normal_cloud(8))
    described = detector.deviations.describe(cloud)
    _, evidence, whole = old._found(described.pose.template, described.narrow)
    usual = arrays["normal_scores"]
    spread = np.maximum(np.sqrt(usual.var(axis=1, ddof=1).mean(axis=0)), 0.01)
    expected = ((whole, evidence.max()) - usual[described.pose.template].mean(axis=0)) / spread
    assert old.score(cloud).object == pytest.approx(expected.mean())
    assert old.score(cloud).object != detector.score(cloud).object


def test_a_network_that_says_the_same_of_all_normal_clouds_still_scores(detector):
    usual = detector.normal_evidence.copy()
    usual[..., 0] = usual[..., 0].mean()
    constant = DeviationDetector(detector.network, detector.deviations, usual)
    assert np.isfinite(constant.score(turned(normal_cloud(8))).object)


def test_a_dent_raises_the_score_by_its_statistic_too(detector):
    """The network was not trained: what it says of a dent is arbitrary, and the same without it."""
    moved = normal_cloud(9)
    assert dented(moved).any()
    described = [detector.deviations.describe(turned(c)) for c in (normal_cloud(9), moved)]
    parts = [detector._normal(d.pose.template, d.cloud) for d in described]
    assert parts[1][2] > 1.3 * parts[0][2]
    assert [part[2] for part in parts] == [object_score(d.narrow, d.wide) for d in described]
