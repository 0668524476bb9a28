# SPDX-License-Identifier: Apache-2.0
"""Images of clouds against shapes whose images are known, and against a z-buffer written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mc4ad_model.methods.projections.rendering import (
    REACH,
    directions_around,
    disc_radius,
    render,
    slices,
)

FRONT = np.eye(3)


def sphere(count: int, radius: float, seed: int = 0) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return points * (radius / np.linalg.norm(points, axis=1, keepdims=True))


def centres(size: int) -> np.ndarray:
    """Return (size, size, 2) x and y of the pixels' middles, the highest row first."""
    steps = ((np.arange(size) + 0.5) / size * 2 - 1) * REACH
    return np.stack(np.meshgrid(steps, -steps), axis=2)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_a_sphere_is_a_disc_of_known_heights_and_shades_from_every_side(seed) -> None:
    turn = FRONT if seed is None else Rotation.random(random_state=seed).as_matrix()
    points, size = sphere(20_000, 0.8), 128
    view = render(points, points / 0.8, turn, size)
    flat = (centres(size) ** 2).sum(axis=2)
    within, outside = flat < 0.6**2, flat > (0.8 + disc_radius(20_000) + 3 * REACH / size) ** 2
    inside = within & (view.height > 0)  # through a gap the far side is seen
    assert inside.sum() > 0.98 * within.sum()
    height = np.sqrt(0.8**2 - flat[inside])
    assert np.abs(view.height[inside] - height).max() < 0.09  # a disc's radius, on that slope
    assert np.abs(view.height[inside] - height).mean() < 0.02
    assert np.abs(view.shades[inside] - 0.5 * height / 0.8).max() < 0.06
    assert np.isneginf(view.height[outside]).all() and (view.shades[outside] == 1).all()
    toward = points @ turn[2]
    # on steeper slopes a neighbour's disc may hide a point
    assert view.seen[toward > 0.6].all() and view.seen[toward < -0.2].mean() < 0.02


def test_points_land_in_their_pixels_with_x_to_the_right_and_y_up() -> None:
    size = 8  # a pixel is wider than a disc
    points = np.array([[0.55, 0.0, 0.2], [-0.3, 0.9, -0.4], [0.0, -1.2, 0.0], [1.3, 0, 0]])
    view = render(points, np.tile([0.6, 0.0, -0.8], (4, 1)), FRONT, size)
    pixel = 2 * REACH / size
    expected = {(int((REACH - y) // pixel), int((x + REACH) // pixel)): z for x, y, z in points[:3]}
    assert set(zip(*np.nonzero(np.isfinite(view.height)), strict=True)) == set(expected)
    for at, z in expected.items():
        assert view.height[at] == z
        assert view.shades[at] == pytest.approx(0.4)  # the sign of a normal does not matter
    assert view.seen.tolist() == [True, True, True, False]  # the last lies outside
    assert np.allclose(view.places, points[:, :2] / REACH)


def test_what_is_hidden_does_not_change_the_image() -> None:
    steps = np.linspace(-0.4, 0.4, 60)
    plate = np.stack([*map(np.ravel, np.meshgrid(steps, steps)), np.zeros(3600)], axis=1)
    behind = np.array([[0.0, 0.1, -0.5], [0.2, 0.2, -0.2]])
    normals = np.tile([0.0, 0.0, 1.0], (len(plate), 1))
    alone = render(plate, normals, FRONT, 48)
    both = render(np.concatenate([behind, plate]), np.concatenate([normals[:2] - 0.3, normals]),
                  FRONT, 48)  # fmt: skip
    assert np.array_equal(alone.shades, both.shades)
    assert np.array_equal(alone.height, both.height)
    assert both.seen.tolist() == [False, False, *[True] * len(plate)]
    all_points, around = np.concatenate([behind, plate]), np.diag([-1.0, 1.0, -1.0])
    from_behind = render(all_points, np.tile([0.0, 0.0, 1.0], (len(all_points), 1)), around, 48)
    assert from_behind.seen[:2].all()


def test_it_is_what_a_loop_over_points_and_pixels_draws() -> None:
    rng, size = np.random.default_rng(3), 40
    points, normals = rng.uniform(-1.4, 1.4, (300, 3)), sphere(300, 1.0, seed=4)
    turn = Rotation.random(random_state=2).as_matrix()
    height, shades = np.full((size, size), -np.inf), np.ones((size, size))
    radius = disc_radius(300) * size / (2 * REACH)
    for point, normal in zip(points, normals, strict=True):
        x, y, z = turn @ point
        column, row = np.floor(np.array([x + REACH, REACH - y]) * size / (2 * REACH)).astype(int)
        if not (0 <= column < size and 0 <= row < size):
            continue
        for i in range(max(row - 4, 0), min(row + 5, size)):
            for j in range(max(column - 4, 0), min(column + 5, size)):
                if (i - row) ** 2 + (j - column) ** 2 <= radius**2 and z > height[i, j]:
                    height[i, j], shades[i, j] = z, 0.5 * abs(turn[2] @ normal)
    found = render(points, normals, turn, size)
    assert np.allclose(found.height, height, atol=1e-12)
    assert np.allclose(found.shades, shades, atol=1e-6)


@pytest.mark.parametrize("count", [1, 12, 27])
def test_directions_are_upright_rotations_all_around(count: int) -> None:
    frames = directions_around(count)
    assert np.allclose(np.einsum("nij,nkj->nik", frames, frames), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(frames), 1)
    assert (frames[:, 1, 2] >= 0).all() and np.allclose(frames[:, 0, 2], 0)
    if count > 1:
        eyes = frames[:, 2]
        cosines = eyes @ eyes.T - 2 * np.eye(count)
        even = np.sqrt(4 * np.pi / count)  # side of a square with its share of the sphere
        assert (np.arccos(cosines.max(axis=1)) > 0.7 * even).all()
        far = np.arccos((sphere(2000, 1.0) @ eyes.T).max(axis=1))
        assert far.max() < even


def test_slices_are_bright_near_their_planes_and_show_their_halves() -> None:
    points = np.array(
        [[0, 0, 0], [1, 0, 1], [0, 2, 4], [1, 2, 2.5], [1, 2, 1.5], [0.5, 1, 3]], dtype=float
    )
    top, bottom, upper, lower = slices(points, 3)
    # rows are y, columns are x
    assert np.allclose(top, [[0, 0, 0.25], [0, 0.75, 0], [1, 0, 0.625]])
    assert np.allclose(bottom, [[1, 0, 0.75], [0, 0.25, 0], [0, 0, 0.625]])  # 1.5 hides 2.5
    assert np.allclose(upper, [[0, 0, 0], [0, 0.5, 0], [0, 0, 0.75]])
    assert np.allclose(lower, [[0, 0, 0.5], [0, 0, 0], [0, 0, 0.75]])


def test_slices_of_a_flat_cloud_are_finite() -> None:
    flat = np.random.default_rng(0).uniform(size=(50, 3)) * (1, 1, 0)
    assert np.isfinite(slices(flat, 8)).all()
    assert slices(flat, 8).max() == 1
