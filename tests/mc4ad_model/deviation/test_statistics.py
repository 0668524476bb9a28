# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from intravariance.geometry.sampling import sample_surface
from mc4ad_model.deviation.statistics import (
    HALF_HEIGHT,
    RADII,
    calibrate,
    cylinder_statistics,
    density_change,
    deviations,
    nearest_anchors,
    object_score,
    place_anchors,
    point_scores,
    z_scores,
)
from tests.support.samples import product

SIGMA = 0.03
MESH = product("tall_brick")


def cloud(seed: int, count: int = 3000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = sample_surface(MESH, count, rng).points
    return points + rng.normal(scale=SIGMA, size=points.shape)


@pytest.fixture(scope="module")
def calibration():
    anchors = place_anchors(MESH, np.random.default_rng(0), 300)
    return calibrate(anchors, [cloud(seed) for seed in range(8)])


def test_blocks_hold_every_anchor_once(calibration):
    blocks = calibration.anchors.blocks
    assert sorted(np.concatenate(blocks)) == list(range(300))
    assert max(map(len, blocks)) <= 32


def test_cylinders_are_those_of_a_plain_loop(calibration):
    anchors, points = calibration.anchors, cloud(9)
    found = cylinder_statistics(anchors, points)
    for place in range(0, 300, 7):
        offset = points - anchors.points[place]
        height = (offset * anchors.normals[place]).sum(axis=1)
        across = np.linalg.norm(offset - height[:, None] * anchors.normals[place], axis=1)
        for i, radius in enumerate(RADII):
            inside = height[(np.abs(height) <= HALF_HEIGHT) & (across <= radius)]
            expected = [2 * np.sqrt(len(inside) * 10_000 / len(points)), np.nan, np.nan]
            if len(inside):
                expected[1] = inside.mean()
            if len(inside) > 1:
                expected[2] = inside.std()
            np.testing.assert_allclose(found[place, 3 * i : 3 * i + 3], expected, atol=1e-6)


def test_clouds_without_a_defect_have_the_z_scores_of_chance(calibration):
    z = np.stack([z_scores(calibration, cloud(seed)) for seed in range(20, 30)])
    assert z.shape == (10, 300, 6)
    assert np.abs(z.mean(axis=(0, 1))).max() < 0.15
    assert 0.9 < z.std() < 1.35  # eight clouds leave the mean and the spread uncertain


def test_what_is_pushed_in_stands_out_where_it_is(calibration):
    normal, points = cloud(40), cloud(41)
    near = np.linalg.norm(points - points[:, 2].max() * np.array([0, 0, 1]), axis=1) < 0.25
    points[near, 2] -= 0.12
    scores = deviations(z_scores(calibration, points))
    usual = deviations(z_scores(calibration, normal))
    assert object_score(scores) > 1.5 * max(object_score(usual), 1)
    on_points = point_scores(scores, nearest_anchors(calibration.anchors, points))
    assert on_points[near].mean() > 1.5 * on_points[~near].mean()


def test_missing_points_stand_out_too_though_none_lies_far_away(calibration):
    points = cloud(42, 4000)
    kept = points[np.linalg.norm(points - points[0], axis=1) > 0.2]
    scores = [object_score(deviations(z_scores(calibration, p))) for p in (kept, cloud(43))]
    assert scores[0] > 1.5 * scores[1]


def test_density_tells_how_much_the_surface_grew(calibration):
    """A quarter of the points elsewhere is what a surface larger by a third looks like."""
    points = cloud(50, 12_000)
    assert abs(density_change(calibration, points)) < 0.05
    points[::4] += 10
    assert density_change(calibration, points) == pytest.approx(np.log(0.75), abs=0.05)


def test_a_cloud_far_away_has_scores_all_the_same(calibration):
    z = z_scores(calibration, cloud(0) + 50)
    assert np.isfinite(z).all() and object_score(deviations(z)) > 3


def test_pooled_variance_keeps_spreads_away_from_zero():
    """Clouds that agree by chance at an anchor do not make it certain."""
    anchors = place_anchors(MESH, np.random.default_rng(0), 100)
    same = cloud(3)
    spread = calibrate(anchors, [same, same, cloud(4)]).spread
    assert (spread > 0).all()
    own = calibrate(anchors, [cloud(seed) for seed in range(40)]).spread
    assert spread.mean(axis=0) == pytest.approx(own.mean(axis=0), rel=0.4)
