# SPDX-License-Identifier: Apache-2.0
"""Swellings against their formula, turns against rigid motions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mc4ad_model.pseudo_anomalies.deformations import rotate, smooth_step, swelling, turn
from mc4ad_model.pseudo_anomalies.product import Product
from tests.mc4ad_model.pseudo_anomalies.shapes import SHELL


@pytest.mark.parametrize("seed", range(6))
def test_a_swelling_follows_its_formula(product: Product, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, normals = product.sample(3000, rng)
    moved = swelling(points, normals, rng, (0.3, 0.3), (0.08, 0.08), 1.0)
    size = np.linalg.norm(moved, axis=1)
    centre = size.argmax()
    assert size[centre] == pytest.approx(0.08)
    assert moved[centre] @ normals[centre] == pytest.approx(0.08)  # outwards
    distance = np.linalg.norm(points - points[centre], axis=1)
    assert not moved[distance >= 0.3].any()
    near = (distance < 0.3) & (normals @ normals[centre] > -0.2)
    assert np.allclose(size[near], 0.08 * (1 - (distance[near] / 0.3) ** 2) ** 1.5)
    assert not moved[~near].any()


def test_a_dent_leaves_the_other_side_of_a_wall(shell: Product) -> None:
    rng = np.random.default_rng(1)
    points, normals = shell.sample(3000, rng)
    moved = swelling(points, normals, rng, (0.3, 0.3), (0.08, 0.08), 0.0)
    outer = np.linalg.norm(points, axis=1) > np.mean(SHELL)
    size = np.linalg.norm(moved, axis=1)
    centre = size.argmax()
    assert moved[centre] @ normals[centre] == pytest.approx(-0.08)
    assert not moved[outer != outer[centre]].any()


def test_sizes_are_drawn_from_their_ranges(box: Product) -> None:
    rng = np.random.default_rng(2)
    points, normals = box.sample(2000, rng)
    heights = [
        np.linalg.norm(swelling(points, normals, rng, (0.1, 0.4), (0.02, 0.2), 0.5), axis=1).max()
        for _ in range(200)
    ]
    assert 0.02 <= min(heights) < 0.03
    assert 0.15 < max(heights) <= 0.2 + 1e-9
    assert np.median(heights) == pytest.approx(np.sqrt(0.02 * 0.2), rel=0.25)  # log-uniform


def test_rotate_is_a_rotation() -> None:
    rng = np.random.default_rng(3)
    points, centre = rng.normal(size=(50, 3)), rng.normal(size=3)
    axis = np.array([2, -1, 2]) / 3
    angle = rng.uniform(-3, 3, size=50)
    expected = Rotation.from_rotvec(angle[:, None] * axis).apply(points - centre) + centre
    assert np.allclose(points + rotate(points, axis, centre, angle), expected)


def test_the_step_is_smooth() -> None:
    step = smooth_step(np.linspace(-1, 2, 3001))
    assert not step[:1001].any()
    assert (step[2000:] == 1).all()
    assert step[1500] == pytest.approx(0.5)
    assert np.abs(np.diff(step)).max() < 0.0016  # steepest in the middle: 1.5


def rigid_residual(points: NDArray[np.float64], moved: NDArray[np.float64]) -> float:
    """Return how far (N, 3) points are at most from `moved` after the best rigid motion."""
    source, target = points - points.mean(axis=0), moved - moved.mean(axis=0)
    turned, _ = Rotation.align_vectors(target, source)
    return float(np.abs(turned.apply(source) - target).max())


def test_a_turn_is_rigid_beyond_its_ramp_and_nothing_before_it(product: Product) -> None:
    points, _ = product.sample(2000, np.random.default_rng(4))
    rigid = 0
    for seed in range(40):
        moved = turn(points, np.random.default_rng(seed), (0.1, 0.1))
        size = np.linalg.norm(moved, axis=1)
        assert 0.13 < (size == 0).mean() < 0.99  # a part stays
        assert np.quantile(size[size > 0], 0.98) < 0.11
        for axis in range(3):
            order = points[:, axis].argsort()
            for end in (order[:100], order[-100:]):
                if size[end].min() > 1e-3:  # turned, all of it
                    rigid += rigid_residual(points[end], points[end] + moved[end]) < 1e-6
    assert rigid > 5  # those whose direction is that axis, and whose ramp is short enough


def test_every_turn_moves_something_though_an_end_is_flat(box: Product) -> None:
    points, _ = box.sample(2000, np.random.default_rng(6))
    flat = points * [1, 1, 0.05]  # most points lie on the two large faces
    for seed in range(60):
        assert turn(flat, np.random.default_rng(seed), (0.1, 0.1)).any()


def test_a_flat_sheet_does_not_turn_across_itself() -> None:
    plane = np.random.default_rng(7).uniform(-1, 1, size=(500, 3)) * [1, 1, 0]
    for seed in range(30):
        assert np.isfinite(turn(plane, np.random.default_rng(seed), (0.1, 0.1))).all()
