# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from intravariance.errors import InputError
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.realism.measures import (
    QUANTITIES,
    Measures,
    labelled_region,
    measure_defect,
    profile,
    surface_variation,
)
from tests.support.samples import sphere_points

HEIGHT, REACH = 0.2, 0.6


def a_cloud(
    points: np.ndarray,
    normals: np.ndarray,
    labels: np.ndarray,
    displacement: np.ndarray | None = None,
) -> LabelledCloud:
    return LabelledCloud(
        name="thing",
        category="ball",
        subcategory="round_ball",
        defect="bulge",
        source="dataset",
        points=points.astype(np.float32),
        normals=normals.astype(np.float32),
        labels=labels.astype(np.uint8),
        displacement=None if displacement is None else displacement.astype(np.float32),
    )


def bumpy_sphere(
    sign: float = 1.0, count: int = 6000, sigma: float = 0.0
) -> tuple[LabelledCloud, LabelledCloud]:
    """Make a sphere with a bump, a cone in the distance from the north pole, and one without."""
    rng = np.random.default_rng(0)
    ball, other = (sphere_points(count, rng) for _ in range(2))
    distance = np.linalg.norm(ball - (0, 0, 1), axis=1)
    height = HEIGHT * np.clip(1 - distance / REACH, 0, None)
    height[height <= 0.002] = 0
    displacement = sign * height[:, None] * ball
    noise = rng.normal(scale=sigma, size=(2, count, 3)) if sigma else np.zeros((2, count, 3))
    cloud = a_cloud(ball + displacement + noise[0], ball, height > 0, displacement)
    return cloud, a_cloud(other + noise[1], other, np.zeros(count), np.zeros_like(other))


@pytest.mark.parametrize("sigma", [0.0, 0.0447])
@pytest.mark.parametrize(("sign", "angle"), [(1, 0), (-1, 180)])
def test_a_bump_of_known_shape(sign: float, angle: float, sigma: float) -> None:
    cloud, pristine = bumpy_sphere(sign, sigma=sigma)
    found = measure_defect(cloud, pristine)
    # the mean of a cone over a disc is a third of its height
    assert found.magnitude_mean == pytest.approx(HEIGHT / 3, rel=0.05)
    assert found.magnitude_max == pytest.approx(HEIGHT, rel=0.05)
    # a cap of the unit sphere within a chord of d has the share d^2 / 4
    assert found.area_share == pytest.approx(REACH**2 / 4, rel=0.1)
    assert found.elongation == pytest.approx(1, abs=0.1)
    assert found.angle is not None and found.angle_spread is not None
    assert abs(found.angle - angle) < (2 if sigma == 0 else 6)
    assert found.angle_spread < 8
    # inner half: 1 - 2/3 * 1/2 = 2/3 of the height; outer half: (1/3 - 2/3 / 4) / (3/4) = 2/9
    tolerance = 0.02 if sigma == 0 else 0.05
    assert found.centre_share == pytest.approx((2 / 3) / (2 / 3 + 2 / 9), abs=tolerance)


def test_the_profile_of_a_cone_is_a_straight_line() -> None:
    cloud, _ = bumpy_sphere(count=20_000)
    np.testing.assert_allclose(profile(cloud), np.linspace(0.95, 0.05, 10), atol=0.03)
    assert np.isnan(profile(replace(cloud, displacement=None))).all()


def test_a_move_along_the_surface_has_a_right_angle_and_no_centre() -> None:
    cloud, pristine = bumpy_sphere()
    along = np.cross((0.0, 1.0, 0.0), cloud.normals)
    along *= 0.05 * cloud.labels[:, None] / np.linalg.norm(along, axis=1, keepdims=True)
    ball = cloud.points - cloud.displacement
    found = measure_defect(a_cloud(ball + along, ball, cloud.labels, along), pristine)
    assert found.angle == pytest.approx(90, abs=2)
    assert found.magnitude_mean == pytest.approx(0.05, rel=1e-4)
    assert found.centre_share == pytest.approx(0.5, abs=1e-5)


def test_both_sides_of_a_thin_wall_that_bulges_move_out_and_in() -> None:
    rng = np.random.default_rng(1)
    u, v = rng.uniform(-1, 1, size=(2, 8000))
    front = np.arange(8000) % 2 == 0
    wall = np.stack([u, v, np.where(front, 0.01, -0.01)], axis=1)
    normals = np.where(front, 1.0, -1.0)[:, None] * (0.0, 0.0, 1.0)
    labels = np.hypot(u, v) < 0.4
    displacement = labels[:, None] * np.array((0.0, 0.0, 0.1))
    noise = rng.normal(scale=0.03, size=(2, 8000, 3))  # the sides overlap
    pristine = a_cloud(wall + noise[1], normals, np.zeros(8000))
    found = measure_defect(
        a_cloud(wall + displacement + noise[0], normals, labels, displacement), pristine
    )
    assert found.angle_spread == pytest.approx(180, abs=1)


@pytest.mark.parametrize("ratio", [1.0, 2.0, 5.0])
def test_an_ellipse_has_the_ratio_of_its_axes_whatever_else_is_labelled(ratio: float) -> None:
    rng = np.random.default_rng(2)
    plane = np.column_stack([rng.uniform(-1, 1, size=(30_000, 2)), np.zeros(30_000)])
    x = plane[:, 0] * np.cos(0.3) + plane[:, 1] * np.sin(0.3)
    y = plane[:, 1] * np.cos(0.3) - plane[:, 0] * np.sin(0.3)
    ellipse = (x / 0.6) ** 2 + (y * ratio / 0.6) ** 2 < 1
    speck = np.linalg.norm(plane[:, :2] - (0.9, -0.9), axis=1) < 0.05
    cloud = a_cloud(plane, np.tile((0.0, 0.0, 1.0), (30_000, 1)), ellipse | speck)
    np.testing.assert_array_equal(labelled_region(cloud), ellipse)
    assert measure_defect(cloud, None).elongation == pytest.approx(ratio, rel=0.05)


def test_surface_variation_of_a_plane_of_space_and_of_noise() -> None:
    rng = np.random.default_rng(3)
    plane = np.column_stack([rng.uniform(-1, 1, size=(20_000, 2)), np.zeros(20_000)])
    middle = np.zeros((1, 3))
    assert surface_variation(plane, middle, 0.3)[0] == pytest.approx(0, abs=1e-12)
    space = rng.uniform(-1, 1, size=(20_000, 3))
    assert surface_variation(space, middle, 0.6)[0] == pytest.approx(1 / 3, abs=0.02)
    assert np.isnan(surface_variation(plane, middle + 5, 0.3)).all()
    assert np.isnan(surface_variation(np.zeros((9, 3)), middle, 0.3)).all()
    # an independent referee, point by point
    queries = space[:20]
    expected = []
    for query in queries:
        near = space[np.linalg.norm(space - query, axis=1) <= 0.3]
        values = np.linalg.svd(near - near.mean(axis=0), compute_uv=False) ** 2
        expected.append(values[2] / values.sum())
    np.testing.assert_allclose(surface_variation(space, queries, 0.3), expected, rtol=1e-9)


def test_noise_cancels_in_the_change_of_surface_variation() -> None:
    noisy, pristine = bumpy_sphere(sigma=0.0447)
    still = replace(noisy, points=noisy.points - noisy.displacement, displacement=None)
    change = measure_defect(still, pristine).curvature_change
    level = surface_variation(pristine.points, pristine.points[:500], 0.15).mean()
    assert change is not None and level > 0.1
    assert abs(change) < 0.07 * level
    # a tear: the halves of the sphere drawn apart
    ball = pristine.points
    edge = np.abs(ball[:, 2]) < 0.15
    torn = a_cloud(ball + edge[:, None] * np.sign(ball[:, 2:]) * 0.1, pristine.normals, edge)
    opened = measure_defect(torn, pristine).curvature_change
    assert opened is not None and opened > 0.02


def test_a_cut_moves_nothing_and_still_has_a_shape() -> None:
    _, pristine = bumpy_sphere()
    points = pristine.points.copy()
    cut = points[:, 2] > 0.8
    points[cut, 2] = 0.8
    displacement = np.where(cut[:, None], np.nan, 0.0) * np.ones((1, 3))
    rim = ~cut & (points[:, 2] > 0.77)
    found = measure_defect(a_cloud(points, pristine.normals, cut | rim, displacement), pristine)
    assert found.magnitude_mean is found.magnitude_max is found.angle is found.centre_share is None
    assert found.area_share == pytest.approx((1 - 0.77) / 2, rel=0.1)
    assert found.elongation == pytest.approx(1, abs=0.1)
    assert found.curvature_change is not None


@settings(max_examples=8, deadline=None)
@given(
    turn=st.tuples(*[st.floats(-3, 3)] * 3),
    shift=st.tuples(*[st.floats(-1, 1)] * 3),
    seed=st.integers(0, 99),
)
def test_rigid_motion_and_the_order_of_points_change_nothing(
    turn: tuple[float, ...], shift: tuple[float, ...], seed: int
) -> None:
    pair = bumpy_sphere(count=1500, sigma=0.01)
    rotation = Rotation.from_rotvec(turn)
    order = np.random.default_rng(seed).permutation(1500)
    moved = [
        a_cloud(
            (rotation.apply(item.points) + shift)[order],
            rotation.apply(item.normals)[order],
            item.labels[order],
            rotation.apply(item.displacement)[order],
        )
        for item in pair
    ]
    before, after = measure_defect(*pair), measure_defect(*moved)
    for field in fields(Measures):
        # float32 coordinates: single points at a radius may come or go
        first, second = getattr(before, field.name), getattr(after, field.name)
        assert second == pytest.approx(first, rel=5e-3, abs=2e-4), field.name
    np.testing.assert_allclose(profile(pair[0]), profile(moved[0]), atol=0.02)


def test_few_labelled_points_and_none() -> None:
    cloud, pristine = bumpy_sphere(count=1500)
    for count in (1, 2, 5):
        labels = np.zeros(1500, dtype=np.uint8)
        labels[np.flatnonzero(cloud.labels)[:count]] = 1
        found = measure_defect(replace(cloud, labels=labels), pristine)
        assert found.elongation is found.angle is found.centre_share is None
        assert found.area_share == count / 1500
        assert found.magnitude_max is not None
    clean = replace(cloud, labels=np.zeros(1500, dtype=np.uint8))
    for function in (lambda c: measure_defect(c, None), profile):
        with pytest.raises(InputError, match="thing: no point is labelled"):
            function(clean)


def test_every_measure_is_described() -> None:
    assert list(QUANTITIES) == [field.name for field in fields(Measures)]
