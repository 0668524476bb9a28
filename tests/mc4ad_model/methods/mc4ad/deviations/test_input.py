# SPDX-License-Identifier: Apache-2.0
"""The input of a network on deviations."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from mc4ad_model.deviation.statistics import cylinder_statistics, nearest_anchors
from mc4ad_model.methods.mc4ad.architectures import INPUT_CHANNELS, NetworkConfig
from mc4ad_model.methods.mc4ad.deviations.input import TemplateVoxels
from tests.support.deviations import ANCHORS, NOISE, dented, normal_cloud, toy_deviations

SIZE = 0.25
CONFIG = NetworkConfig(input="deviation", voxel_size=SIZE)


@pytest.fixture(scope="module")
def voxels() -> TemplateVoxels:
    return TemplateVoxels(toy_deviations().each[1], CONFIG, NOISE)


def described(voxels: TemplateVoxels, cloud: np.ndarray) -> np.ndarray:
    return voxels.features(voxels.deviation.narrow_scores(cloud))


def members(voxels: TemplateVoxels, voxel: int) -> np.ndarray:
    """Say which places lie in a voxel, by its corner."""
    low = voxels.coordinates[voxel] * SIZE
    points = voxels.deviation.anchors.points
    return ((points >= low) & (points < low + SIZE)).all(axis=1)


def test_voxels_are_all_those_with_a_place_in_them(voxels):
    assert voxels.coordinates.dtype == np.int32
    assert sum(members(voxels, v).sum() for v in range(len(voxels))) == ANCHORS
    assert all(members(voxels, v).any() for v in range(len(voxels)))


def test_features_are_means_over_each_voxel(voxels):
    """Against a plain loop, channel by channel as the module's docstring has them."""
    cloud = normal_cloud(2)
    dented(cloud)
    found, one = described(voxels, cloud), toy_deviations().each[1]
    assert found.shape == (len(voxels), INPUT_CHANNELS["deviation"])
    assert found.dtype == np.float32 and np.isfinite(found).all()
    normals, points = one.anchors.normals, one.anchors.points
    scores = one.narrow_scores(cloud)
    narrow, wide = (np.clip(z, -10, 10) for z in (scores, one.wide_scores(scores)))
    measured = np.nan_to_num(cylinder_statistics(one.anchors, cloud)[:, 4] - one.narrow.mean[:, 4])
    offset = (measured / NOISE)[:, None] * normals
    around = one.neighbourhoods.mean(offset)
    for v in range(len(voxels)):
        own = members(voxels, v)
        assert own.any()
        expected = [
            narrow[own].mean(axis=0),
            wide[own].mean(axis=0),
            np.clip(4 * offset, -8, 8)[own].mean(axis=0),
            np.clip(10 * around, -8, 8)[own].mean(axis=0),
            normals[own].mean(axis=0),
            points[own].mean(axis=0),
            [np.log(own.sum()) - 0.5],
            np.nan_to_num(one.narrow.mean[:, 3:])[own].mean(axis=0) * (0.05, 10, 10),
        ]
        np.testing.assert_allclose(found[v], np.concatenate(expected), rtol=1e-4, atol=1e-4)


def test_groups_that_a_network_is_not_given_are_zero(voxels):
    cloud = normal_cloud(2)
    dented(cloud)
    whole = described(voxels, cloud)
    shown = np.zeros(whole.shape[1], dtype=int)
    for group in CONFIG.given:
        only = NetworkConfig(input="deviation", voxel_size=SIZE, given=(group,))
        found = described(TemplateVoxels(voxels.deviation, only, NOISE), cloud)
        kept = found.any(axis=0)
        assert kept.any() and np.array_equal(found[:, kept], whole[:, kept])
        shown += kept
    assert np.array_equal(shown, np.ones_like(shown))


def test_a_cloud_changes_nothing_but_deviations(voxels):
    cloud = normal_cloud(2)
    before = described(voxels, cloud)
    assert dented(cloud).any()
    changed = (described(voxels, cloud) != before).any(axis=0)
    assert changed[:18].all() and not changed[18:].any()


def test_offsets_point_where_the_surface_went(voxels):
    """A cloud that is moved up: along the normal of the top it is above, of the sides unmoved."""
    moved = described(voxels, normal_cloud(2) + np.array([0, 0, 0.05]))
    normal = moved[:, 18:21]
    for first in (12, 15):
        along = (moved[:, first : first + 3] * normal).sum(axis=1)
        assert along[normal[:, 2] > 0.9].min() > 1
        assert along[normal[:, 2] < -0.9].max() < -1
        assert abs(np.median(along[np.abs(normal[:, 2]) < 0.1])) < 0.5


def test_even_a_cloud_far_away_is_described_by_finite_numbers(voxels):
    found = described(voxels, normal_cloud(2) + 50)
    assert np.isfinite(found).all() and np.abs(found[:, :18]).max() <= 10


def test_points_get_values_of_the_voxels_around_them(voxels):
    cloud = normal_cloud(3)
    values = np.random.default_rng(0).normal(size=(len(voxels), 3))
    around = nearest_anchors(voxels.deviation.anchors, cloud)
    found, nearest = voxels.at_points(values, around), voxels.nearest(cloud)
    assert nearest.shape == (len(cloud),)
    places = voxels.deviation.anchors.points
    for i in range(0, len(cloud), 100):
        order = np.argsort(np.linalg.norm(places - cloud[i], axis=1))
        assert members(voxels, nearest[i])[order[0]]
        expected = values[voxels.voxel_of_anchor[order[:8]]].mean(axis=0)
        np.testing.assert_allclose(found[i], expected, atol=1e-12)
    one = voxels.at_points(values[:, 0], around)
    assert one.shape == (len(cloud),) and np.allclose(one, found[:, 0])
