# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from intravariance.geometry.viewing import look_from
from intravariance.looking.colours import (
    label_colours,
    scale_colours,
)
from intravariance.looking.rendering import render
from intravariance.looking.splats import splat_radius, surface_spacing
from tests.support.samples import sphere_points

FRONT = look_from((0, -1, 0))
directions = arrays(np.float64, 3, elements=st.floats(-1, 1)).filter(
    lambda v: np.linalg.norm(v) > 0.1
)


def sphere(count: int = 4000) -> np.ndarray:
    return sphere_points(count, np.random.default_rng(0))


def is_orange(picture: np.ndarray) -> np.ndarray:
    """Return the pixels that show labels: orange, or the dark red of exposed surface."""
    red, blue = picture[..., 0].astype(int), picture[..., 2].astype(int)
    return red - blue > 40


def is_blank(picture: np.ndarray) -> np.ndarray:
    return (picture == 255).all(axis=2)


@given(direction=directions)
def test_camera_axes_are_a_right_handed_rotation(direction: np.ndarray) -> None:
    camera = look_from(direction)
    np.testing.assert_allclose(camera @ camera.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(camera) == pytest.approx(1)
    np.testing.assert_allclose(camera[2], direction / np.linalg.norm(direction))


def test_camera_from_the_front_and_from_above() -> None:
    np.testing.assert_allclose(FRONT, [(1, 0, 0), (0, 0, 1), (0, -1, 0)], atol=1e-15)
    np.testing.assert_allclose(look_from((0, 0, 2)), np.eye(3), atol=1e-15)  # along up: +y is up


@settings(max_examples=10, deadline=None)
@given(axis=directions, angle=st.floats(0, 2 * np.pi))
def test_turning_object_and_camera_together_changes_nothing(axis: np.ndarray, angle: float) -> None:
    points = sphere(300) * (1.0, 0.6, 0.8)
    normals = sphere(300)
    turn = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
    colours = label_colours(np.arange(300) % 2)
    camera = look_from((0.3, -1, 0.5))
    radius = 0.2  # given, because rounding could choose another median neighbour
    still = render(points, normals, colours, camera, 64, radius=radius)
    turned = render(points @ turn.T, normals @ turn.T, colours, camera @ turn.T, 64, radius=radius)
    # rounding may tip single pixels at the edges of splats
    assert (np.abs(still.astype(int) - turned) > 2).mean() < 0.01


def test_a_sphere_is_a_solid_disc() -> None:
    points = sphere()
    picture = render(points, points, label_colours(np.zeros(len(points))), FRONT, 200)
    y, x = np.mgrid[:200, :200] + 0.5
    filled = ~is_blank(picture)
    # the silhouette, to within a splat, is a circle; nothing in it is bare
    radius = np.hypot(x - 100, y - 100)
    assert filled[radius < 80].all()
    assert not filled[radius > 90].any()


def test_a_hole_through_a_wall_stays_open() -> None:
    u, v = np.random.default_rng(3).uniform(-1, 1, size=(2, 6000))
    wall = np.stack([u, np.zeros_like(u), v], axis=1)
    reach = splat_radius(wall, np.tile((0.0, -1.0, 0.0), (len(wall), 1)))
    wall = wall[np.hypot(u, v) > 4 * reach]
    normals = np.tile((0.0, -1.0, 0.0), (len(wall), 1))
    blank = is_blank(render(wall, normals, label_colours(np.zeros(len(wall))), FRONT, 200))
    assert blank[96:104, 96:104].all()
    distance = np.hypot(*(np.mgrid[:200, :200] - 99.5))
    assert blank[(distance > 30) & (distance < 80)].mean() < 0.001


def test_labels_show_on_the_side_where_they_are_and_not_through_the_object() -> None:
    points = sphere()
    colours = label_colours(points[:, 1] < -0.8)  # towards -y, the front
    front = is_orange(render(points, points, colours, FRONT, 100))
    assert front[45:55, 45:55].all()
    assert not front[:15].any()
    assert not is_orange(render(points, points, colours, look_from((0, 1, 0)), 100)).any()


def test_left_right_up_down() -> None:
    points = sphere()
    right = is_orange(render(points, points, label_colours(points[:, 0] > 0.6), FRONT, 100))
    top = is_orange(render(points, points, label_colours(points[:, 2] > 0.6), FRONT, 100))
    assert right[:, 50:].any() and not right[:, :50].any()
    assert top[:50].any() and not top[50:].any()


@pytest.mark.parametrize("nearer_first", [True, False])
def test_a_nearer_wall_hides_a_farther_one(nearer_first: bool) -> None:
    u, v = np.mgrid[-1:1:30j, -1:1:30j].reshape(2, -1)
    near = np.stack([u / 2, np.full_like(u, -0.5), v / 2], axis=1)
    far = np.stack([u, np.full_like(u, 0.5), v], axis=1)
    walls = [near, far] if nearer_first else [far, near]
    points = np.concatenate(walls)
    normals = np.tile((0.0, -1.0, 0.0), (len(points), 1))
    labels = points[:, 1] < 0
    picture = render(points, normals, label_colours(labels), FRONT, 100)
    orange = is_orange(picture)
    assert orange[35:65, 35:65].all()
    assert not orange[:20].any() and not is_blank(picture[10:20, 10:90]).any()


def test_a_layer_averages_noise_away() -> None:
    rng = np.random.default_rng(1)
    points = sphere(8000)
    noisy = points + 0.0447 * rng.normal(size=points.shape)
    plain = label_colours(np.zeros(len(points)))
    clean = render(points, points, plain, FRONT, 100).astype(float)[30:70, 30:70]
    error = [
        np.abs(render(noisy, points, plain, FRONT, 100, layer)[30:70, 30:70] - clean).mean()
        for layer in (0.0, 0.134)
    ]
    assert error[1] < 0.7 * error[0]


def test_equal_input_gives_equal_bytes() -> None:
    points = sphere(500)
    colours = scale_colours(points[:, 2], 0.0, 1.0)
    first = render(points, points, colours, FRONT, 80)
    assert first.tobytes() == render(points.copy(), points, colours, FRONT, 80).tobytes()
    assert first.shape == (80, 80, 3) and first.dtype == np.uint8
    # the order of the points does not matter beyond rounding
    order = np.random.default_rng(2).permutation(500)
    radius = splat_radius(points, points)
    a = render(points, points, colours, FRONT, 80, radius=radius)
    b = render(points[order], points[order], colours[order], FRONT, 80, radius=radius)
    assert np.abs(a.astype(int) - b).max() <= 1


def test_a_groove_is_darker_than_the_surface_around_it() -> None:
    u, v = np.random.default_rng(4).uniform(-1, 1, size=(2, 20_000))
    inside = np.abs(u) < 0.08
    plate = np.stack([u, np.where(inside, 0.1, 0.0), v], axis=1)
    normals = np.tile((0.0, -1.0, 0.0), (len(plate), 1))
    picture = render(plate, normals, label_colours(np.ones(len(plate))), FRONT, 200).mean(axis=2)
    assert picture[60:140, 98:102].mean() < 0.75 * picture[60:140, 40:60].mean()


def test_no_points_one_point_and_one_seen_from_behind() -> None:
    nothing = np.zeros((0, 3))
    assert is_blank(render(nothing, nothing, nothing, FRONT, 64)).all()
    point, towards = np.full((1, 3), 0.3), np.array([(0.0, -1.0, 0.0)])
    one = render(point, towards, label_colours(np.ones(1)), FRONT, 64)
    assert is_orange(one)[32, 32]
    assert is_blank(render(point, -towards, label_colours(np.ones(1)), FRONT, 64)).all()


def test_coincident_points_do_not_break_it() -> None:
    points, normals = np.zeros((20, 3)), np.tile((0.0, -1.0, 0.0), (20, 1))
    assert splat_radius(points, normals) > 0
    assert not is_blank(render(points, normals, label_colours(np.ones(20)), FRONT, 64)).all()


@pytest.mark.parametrize("count", [1000, 4000, 16000])
def test_splat_radius_follows_the_density(count: int) -> None:
    points = sphere(count)
    # a disc holds the point itself and 8 neighbours: 8 = density * pi * r^2, density = n / (4 pi)
    expected = np.sqrt(8 * 4 / count)
    assert splat_radius(points, points) == pytest.approx(expected, rel=0.12)


def test_splat_radius_ignores_the_other_side_of_a_thin_wall() -> None:
    outside = sphere(3000)
    wall = np.concatenate([outside, 0.99 * sphere_points(3000, np.random.default_rng(5))])
    normals = np.concatenate([outside, -wall[3000:] / 0.99])
    alone = splat_radius(outside, outside)
    assert splat_radius(wall, normals) == pytest.approx(alone, rel=0.15)


@pytest.mark.parametrize("count", [500, 3000])
@pytest.mark.parametrize("noise", [0.0, 0.002, 0.0447, 0.1])
def test_noise_is_taken_out_of_the_spacing_on_the_surface(count: int, noise: float) -> None:
    points = sphere(count)
    noisy = points + noise * np.random.default_rng(1).normal(size=points.shape)
    expected = np.sqrt(4 * np.pi / count)  # side of the square that holds one point
    assert surface_spacing(noisy, points, noise) == pytest.approx(expected, rel=0.08)


def test_the_spacing_of_a_grid_is_about_its_own_and_of_one_point_infinite() -> None:
    x, y = np.meshgrid(np.arange(30.0), np.arange(30.0))
    grid = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1)
    normals = np.tile((0.0, 0.0, 1.0), (len(grid), 1))
    assert surface_spacing(grid, normals) == pytest.approx(1.0, abs=0.15)
    assert surface_spacing(grid[:1], normals[:1]) == np.inf
    apart = normals[:2] * [[1.0], [-1.0]]  # facing ways that do not cover each other
    assert surface_spacing(grid[:2], apart, 0.1) == np.inf


def test_a_scale_is_shaded_less() -> None:
    points = sphere()
    grey = label_colours(np.zeros(len(points)))
    darkest = [
        render(points, points, grey, FRONT, 100, relief=relief)[35:65, 35:65].min()
        for relief in (1.0, 0.5, 0.0)
    ]
    assert darkest[0] < darkest[1] < darkest[2]
