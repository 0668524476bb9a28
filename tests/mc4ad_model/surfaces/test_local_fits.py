# SPDX-License-Identifier: Apache-2.0
"""Quadrics through neighbourhoods, against a least-squares fit by hand and an exact quadric."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from mc4ad_model.surfaces.local_fits import FREEDOM, fit_quadrics


def bowl(count: int = 2000, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Draw points of z = x^2 / 2 - y^2 / 4 + x / 5."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-0.5, 0.5, size=(2, count))
    z = x**2 / 2 - y**2 / 4 + x / 5
    return np.column_stack([x, y, z]) + rng.normal(scale=noise, size=(count, 3))


def test_a_quadric_is_found_exactly_with_its_normal():
    points = bowl()
    where = np.flatnonzero((np.abs(points[:, :2]) < 0.3).all(axis=1))[:50]
    up = np.tile((0.0, 0.0, 1.0), (len(where), 1))
    fits = fit_quadrics(points, cKDTree(points), where, np.full(len(where), 0.1), up)
    np.testing.assert_allclose(fits.height, 0, atol=1e-5)
    np.testing.assert_allclose(fits.residuals, 0, atol=1e-5)
    x, y = points[where, 0], points[where, 1]
    expected = np.column_stack([-(x + 0.2), y / 2, np.ones(len(where))])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(fits.normals, expected, atol=1e-3)


def test_heights_are_those_of_least_squares():
    points = bowl(400, noise=0.01)
    tree, where = cKDTree(points), np.array([int(np.linalg.norm(points, axis=1).argmin())])
    width = 0.2
    fits = fit_quadrics(points, tree, where, np.array([width]), np.array([[0.0, 0.0, 1.0]]))
    offset = points - points[where]
    near = np.hypot(offset[:, 0], offset[:, 1]) <= width
    u, v, z = offset[near].T
    terms = np.column_stack([np.ones_like(u), u, v, u * u, u * v, v * v])
    solved, squares, *_ = np.linalg.lstsq(terms, z, rcond=None)
    assert fits.number[0] == near.sum()
    assert fits.height[0] == pytest.approx(solved[0], abs=1e-5)
    assert fits.variance()[0] == pytest.approx(squares[0] / (near.sum() - FREEDOM), rel=1e-3)


def test_the_variance_is_that_of_the_noise():
    points = bowl(4000, noise=0.02)
    fits = fit_quadrics(points, cKDTree(points), np.arange(500), np.full(500, 0.1))
    assert np.sqrt(fits.variance().mean()) == pytest.approx(0.02, rel=0.05)
    halves = [fits.variance(slice(start, None, 2)).mean() for start in (0, 1)]
    np.testing.assert_allclose(np.sqrt(halves), 0.02, rtol=0.07)


def test_a_second_wall_outside_of_the_cylinder_does_not_count():
    one = bowl(2000, noise=0.005)
    both = np.concatenate([one, one + np.array([0, 0, 0.15])])
    where, up = np.arange(100), np.tile((0.0, 0.0, 1.0), (100, 1))
    width = np.full(100, 0.05)
    alone = fit_quadrics(one, cKDTree(one), where, width, up)
    beside = fit_quadrics(both, cKDTree(both), where, width, up)
    middle = (np.abs(one[:100, :2]) < 0.4).all(axis=1)
    np.testing.assert_allclose(beside.height[middle], alone.height[middle], atol=0.006)
