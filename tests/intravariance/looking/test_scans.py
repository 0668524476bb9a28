# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intravariance.cloud_files import PointCloud
from intravariance.looking.scans import (
    scan_cloud,
    to_unit_ball,
)
from tests.support.samples import sphere_points


def ball(count: int = 4000) -> np.ndarray:
    return sphere_points(count, np.random.default_rng(0))


@settings(max_examples=40, deadline=None)
@given(size=st.floats(1e-20, 1e25), shift=st.floats(-5, 5))
def test_the_unit_ball_forgets_scale_and_place(size: float, shift: float) -> None:
    points = np.random.default_rng(1).normal(size=(50, 3))
    expected, radius = to_unit_ball(points)
    found, larger = to_unit_ball(size * (points + shift))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert larger == pytest.approx(size * radius, rel=1e-9)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-9)
    assert np.linalg.norm(found, axis=1).max() == pytest.approx(1)


def test_a_single_place_has_no_size() -> None:
    points, radius = to_unit_ball(np.full((4, 3), 7.0))
    assert radius == 1 and not points.any()


def test_scan_cloud_says_what_it_changed() -> None:
    scan = PointCloud(100 + 5 * ball())
    cloud, notes = scan_cloud(scan, "part")
    assert (cloud.defect, cloud.source, cloud.displacement) == ("unlabelled", "scan", None)
    assert len(cloud.points) == 4000 and not cloud.labels.any()
    assert [note.split()[0] for note in notes] == ["scaled", "normals"]
    assert not any("estimated" in note for note in scan_cloud(PointCloud(ball(), ball()), "a")[1])


def test_scan_cloud_thins_points_labels_and_scores_together() -> None:
    points = ball()
    labels = (points[:, 0] > 0.9).astype(np.uint8)
    scan = PointCloud(points, points, labels)
    scores = points[:, 0].astype(np.float32)
    cloud, notes = scan_cloud(scan, "part", "toys", 500, scores)
    assert len(cloud.points) == 500 and "500 of 4,000 points shown" in notes[1]
    assert cloud.scores is not None
    np.testing.assert_array_equal(cloud.labels, cloud.scores > np.float32(0.9))
    np.testing.assert_allclose(cloud.normals[:, 0], cloud.scores)
    assert (cloud.defect, cloud.category) == ("anomalous", "toys")
    again, _ = scan_cloud(scan, "part", "toys", 500, scores)
    other, _ = scan_cloud(scan, "another", "toys", 500, scores)
    np.testing.assert_array_equal(cloud.points, again.points)
    assert not np.array_equal(cloud.points, other.points)
    normal, _ = scan_cloud(PointCloud(points, points, np.zeros_like(labels)), "good")
    assert normal.normal


def test_normals_that_point_inwards_are_turned_and_that_is_said() -> None:
    points = ball()
    cloud, notes = scan_cloud(PointCloud(points, -points), "a")
    assert "turned outwards" in notes[-1]
    assert (cloud.normals * cloud.points).sum(axis=1).min() > 0.9
