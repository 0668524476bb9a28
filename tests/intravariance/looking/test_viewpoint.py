# SPDX-License-Identifier: Apache-2.0
"""Which side a defect is seen from: shapes whose best side a person knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from intravariance.geometry.viewing import look_from
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.viewpoint import FRONT, view
from tests.intravariance.looking.test_panels import ball, bulge


def plate(height: np.ndarray) -> LabelledCloud:
    """Make a thin upright plate (front -y) whose places (S, 2) lie `height` (S,) towards -y."""
    u, v = places().T
    moved = np.tile(np.stack([0 * u, -height, 0 * u], axis=1), (2, 1)).astype(np.float32)
    side = np.repeat([-1.0, 1.0], len(u))
    flat = np.stack([np.tile(u, 2), 0.04 * side, np.tile(v, 2)], axis=1)
    normals = np.stack([0 * side, side, 0 * side], axis=1)
    return replace(
        ball(),
        defect="bending",
        points=flat.astype(np.float32) + moved,
        normals=normals.astype(np.float32),
        labels=(np.abs(moved[:, 1]) > 0).astype(np.uint8),
        displacement=moved,
    )


def places() -> np.ndarray:
    return np.random.default_rng(3).uniform((-0.5, -0.9), (0.5, 0.9), size=(4000, 2))


def marked(labels: np.ndarray) -> LabelledCloud:
    """Label a ball of which nothing else is known."""
    return replace(ball(), labels=labels.astype(np.uint8), displacement=None, defect="anomalous")


def test_without_labels_it_is_the_front() -> None:
    assert np.allclose(view(ball()), look_from(FRONT))


def test_labels_alone_are_faced() -> None:
    points = ball().points
    for side in ((1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0)):
        assert view(marked(points @ np.array(side) > 0.9))[2] @ side > np.cos(np.deg2rad(35))
    assert view(marked(points[:, 2] > 0.8))[2, 2] == pytest.approx(np.sin(np.deg2rad(50)))


def test_what_lies_underneath_is_seen_from_below() -> None:
    camera = view(marked(ball().points[:, 2] < -0.8))
    assert camera[2, 2] == pytest.approx(np.sin(np.deg2rad(-25)))


def test_a_bend_is_seen_from_the_side() -> None:
    bent = plate(0.6 * np.clip(places()[:, 1], 0, None) ** 2)
    assert abs(view(bent)[2, 1]) < 0.6
    # a plate whose labels alone are known is faced
    flat = plate(np.zeros(4000))
    upper = (flat.points[:, 2] > 0).astype(np.uint8)
    assert abs(view(replace(flat, labels=upper, displacement=None))[2, 1]) > 0.8


@pytest.mark.parametrize("side", [(1, 0, 0), (-1, 0, 0), (0, 1, 0)])
def test_a_dent_is_faced(side: tuple[int, int, int]) -> None:
    dent = bulge(reach=-0.3, side=side)
    assert view(dent)[2] @ side > 0.5


def test_the_same_view_whatever_the_order_of_the_points_and_with_noise() -> None:
    cloud = bulge(side=(1, 0, 0))
    noise = 0.03 * np.random.default_rng(1).normal(size=cloud.points.shape)
    noisy = replace(cloud, points=cloud.points + noise.astype(np.float32))
    assert view(noisy)[2] @ view(cloud)[2] > np.cos(np.deg2rad(45))
    order = np.random.default_rng(2).permutation(len(cloud.points))
    names = ("points", "normals", "labels", "displacement", "scores")
    turned = replace(cloud, **{name: getattr(cloud, name)[order] for name in names})
    np.testing.assert_allclose(view(turned), view(cloud))
