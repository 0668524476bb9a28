# SPDX-License-Identifier: Apache-2.0
"""Groups against the obvious search, and Open3D's farthest points."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from mc4ad_model.methods.point_mae.groups import farthest_points, group_points

CLOUD = np.random.default_rng(0).normal(size=(200, 3))


def test_each_centre_is_farthest_from_those_before_it() -> None:
    found = farthest_points(CLOUD, 30)
    gaps = np.linalg.norm(CLOUD[:, None] - CLOUD, axis=2)
    assert found[0] == 0
    for k in range(1, 30):
        assert found[k] == gaps[:, found[:k]].min(axis=1).argmax()


def test_centres_are_those_of_open3d() -> None:
    open3d = pytest.importorskip("open3d")
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(CLOUD))
    theirs = np.asarray(cloud.farthest_point_down_sample(30).points)
    ours = CLOUD[farthest_points(CLOUD, 30)]
    assert {tuple(p) for p in theirs} == {tuple(p) for p in ours}


@pytest.mark.parametrize("count", [20, 200, 1000])
def test_a_group_has_the_nearest_points_of_its_centre(count: int) -> None:
    groups, centres = group_points(CLOUD, count, 12)
    assert groups.shape == (min(count, 200), 12, 3) and groups.dtype == np.float32
    assert np.array_equal(groups[:, 0], np.zeros_like(centres))
    for group, centre in zip(groups, centres, strict=True):
        near = np.sort(np.linalg.norm(CLOUD - centre, axis=1))[:12]
        assert np.linalg.norm(group, axis=1) == pytest.approx(near, abs=1e-5)


def test_points_that_coincide_give_as_many_groups() -> None:
    groups, _ = group_points(np.ones((40, 3)), 8, 40)
    assert np.array_equal(groups, np.zeros((8, 40, 3)))
