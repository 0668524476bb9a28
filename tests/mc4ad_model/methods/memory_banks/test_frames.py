# SPDX-License-Identifier: Apache-2.0
"""The frames in which clouds are compared, and clouds that cannot be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from intravariance.errors import InputError
from mc4ad_model.methods.memory_banks.frames import Frames, check_cloud
from tests.support.deviations import normal_cloud, turned, two_toys


def test_the_own_frame_is_the_stored_one_around_the_centroid() -> None:
    frames = Frames.fit("own", two_toys(), 0)
    cloud = turned(normal_cloud(0))
    placed, note = frames.place(cloud)
    assert note is None
    assert np.abs(placed.mean(axis=0)).max() < 1e-6
    assert np.allclose(placed - placed[0], cloud - cloud[0], atol=1e-6)
    for stored, template in zip(
        frames.training_clouds(two_toys()), two_toys().templates, strict=True
    ):
        assert np.allclose(stored - stored[0], template.points - template.points[0], atol=1e-6)


def test_a_turned_cloud_is_registered_to_its_template() -> None:
    frames = Frames.fit("registered", two_toys(), 0)
    brick = next(t for t in two_toys().templates if t.id == "tall_brick")
    clouds = frames.training_clouds(two_toys())
    assert any(np.array_equal(cloud, brick.points.astype(float)) for cloud in clouds)
    placed, note = frames.place(turned(normal_cloud(0)))
    assert note is None
    assert np.median(cKDTree(brick.points).query(placed)[0]) < 0.06
    away = cKDTree(brick.points).query(turned(normal_cloud(0)))[0]
    assert np.quantile(away, 0.9) > 1.5 * np.quantile(cKDTree(brick.points).query(placed)[0], 0.9)


def test_the_first_template_takes_its_own_product_and_doubts_others() -> None:
    pytest.importorskip("open3d")
    other, first = (one.points for one in two_toys().templates)  # the ball comes before the brick
    frames = Frames.fit("first", two_toys(), 0)
    bank = frames.training_clouds(two_toys())
    assert np.array_equal(bank[1], first) and bank[0].shape == other.shape
    placed, note = frames.place(turned(first))
    assert note is None
    assert np.median(cKDTree(first).query(placed)[0]) < 0.06
    _, note = frames.place(turned(other))
    assert note is not None and "registered in doubt" in note


def test_products_of_other_sizes_than_the_first_are_placed_on_it_with_a_note() -> None:
    brick, ball = two_toys().templates
    small = replace(brick, points=brick.points * np.float32(0.5))
    templates = replace(two_toys(), templates=(small, ball))
    frames = Frames.fit("first", templates, 0)
    assert [len(cloud) for cloud in frames.training_clouds(templates)] == [len(ball.points)] * 2
    assert frames.place(turned(small.points))[1] is not None


@pytest.mark.parametrize("frame", ["own", "first", "registered"])
def test_a_cloud_in_another_unit_is_refused(frame) -> None:
    frames = Frames.fit(frame, two_toys(), 0)
    with pytest.raises(InputError, match="size of a template, found 10"):
        frames.place(10 * turned(normal_cloud(0)))


def test_clouds_that_cannot_be_described() -> None:
    cloud = np.zeros((5, 3))
    check_cloud(cloud, 5)
    with pytest.raises(InputError, match=r"category a: template b: expected at least 6.*found 5"):
        check_cloud(cloud, 6, "category a: template b")
    cloud[2, 1] = np.nan
    with pytest.raises(InputError, match="point cloud: expected finite"):
        check_cloud(cloud, 5)
