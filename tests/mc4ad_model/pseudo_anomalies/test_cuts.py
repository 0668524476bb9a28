# SPDX-License-Identifier: Apache-2.0
"""Cuts against what a ball and a plane take of boxes and shells in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mc4ad_model.pseudo_anomalies.cuts import bite, cut, cut_by_ball, cut_by_plane
from mc4ad_model.pseudo_anomalies.product import Product
from tests.mc4ad_model.pseudo_anomalies.shapes import (
    HALF,
    SHELL,
    as_expected,
    even_sphere,
    in_box,
)

CORNER = HALF * [1, 1, 1]
EDGE = HALF * [1, 0, 1]
FACE = np.array([0.1, 0.0, HALF[2] - 0.05])


@pytest.mark.parametrize("centre", [CORNER, EDGE, FACE])
def test_a_ball_exposes_its_surface_inside_of_the_solid(
    box: Product, centre: NDArray[np.float64]
) -> None:
    points, _ = box.sample(30_000, np.random.default_rng(1))
    change = cut_by_ball(box, points, np.random.default_rng(2), centre, 0.3)
    assert np.array_equal(change.gone, np.linalg.norm(points - centre, axis=1) < 0.3)
    radius = np.linalg.norm(change.exposed - centre, axis=1)
    assert np.abs(radius - 0.3).max() < 5 * 0.06 * 0.3
    assert radius.std() == pytest.approx(0.06 * 0.3, rel=0.15)
    assert in_box(change.exposed).all()
    assert np.allclose(change.exposed + radius[:, None] * change.normals, centre)  # into the ball
    area = 4 * np.pi * 0.3**2 * in_box(centre + 0.3 * even_sphere(), -0.003).mean()
    assert as_expected(len(change.exposed), 30_000 / box.area * area)


def test_a_plane_exposes_the_section_of_a_box(box: Product) -> None:
    points, _ = box.sample(20_000, np.random.default_rng(1))
    along = np.array([1.0, 0, 0])
    change = cut_by_plane(box, points, np.random.default_rng(2), along, 0.35)
    assert np.array_equal(change.gone, points[:, 0] > 0.35)
    assert np.allclose(change.exposed[:, 0], 0.35)
    assert in_box(change.exposed).all()
    assert (change.normals == along).all()
    section = 4 * HALF[1] * HALF[2]
    assert as_expected(len(change.exposed), 20_000 / box.area * section)


def test_a_plane_exposes_the_wall_of_a_shell(shell: Product) -> None:
    points, _ = shell.sample(40_000, np.random.default_rng(1))
    along = np.array([0.6, 0, 0.8])
    change = cut_by_plane(shell, points, np.random.default_rng(2), along, 0.5)
    radius = np.linalg.norm(change.exposed, axis=1)
    assert SHELL[0] < radius.min()
    assert radius.max() < SHELL[1]
    assert np.allclose(change.exposed @ along, 0.5)
    ring = np.pi * (SHELL[1] ** 2 - SHELL[0] ** 2)
    # what is less than 0.003 under the surface is not counted as inside
    assert as_expected(len(change.exposed), 40_000 / shell.area * ring * 0.94)


def test_a_plane_beyond_the_product_does_nothing(box: Product) -> None:
    points, _ = box.sample(500, np.random.default_rng(1))
    change = cut_by_plane(box, points, np.random.default_rng(2), np.array([0, 0, 1.0]), 0.9)
    assert not change.gone.any()
    assert change.exposed.shape == (0, 3)


@pytest.mark.parametrize("seed", range(5))
def test_a_cut_takes_the_depth_that_was_asked_for(product: Product, seed: int) -> None:
    points, _ = product.sample(4000, np.random.default_rng(seed))
    change = cut(product, points, np.random.default_rng(seed), (0.2, 0.2))
    assert change.gone.any()
    assert not change.gone.all()
    # a plane parts what goes from what stays: along the difference of the means, or nearly
    direction = np.random.default_rng(seed).standard_normal(3)
    direction /= np.linalg.norm(direction)
    along = points @ direction
    level = along[~change.gone].max()
    assert level < along[change.gone].min()
    share = (along.max() - level) / np.ptp(along)
    assert share == pytest.approx(0.2, abs=0.03)
    if product.closed:
        assert np.allclose(change.exposed @ direction, level, atol=0.03)
    else:
        assert len(change.exposed) == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_bite_takes_no_more_than_its_ball(product: Product, seed: int) -> None:
    points, _ = product.sample(4000, np.random.default_rng(seed))
    change = bite(product, points, np.random.default_rng(seed), (0.25, 0.25))
    gone = points[change.gone]
    assert len(gone)
    assert np.linalg.norm(gone - gone[0], axis=1).max() < 0.5
    assert len(change.exposed) == 0 or product.closed
    if len(change.exposed):
        middle = gone.mean(axis=0)
        assert np.linalg.norm(change.exposed - middle, axis=1).max() < 0.25 * 2.5


def test_bites_prefer_edges(box: Product) -> None:
    def to_an_edge(places: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sort(HALF - np.abs(places), axis=1)[:, 1]

    points, _ = box.sample(4000, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    middles = [points[bite(box, points, rng, (0.1, 0.1)).gone].mean(axis=0) for _ in range(150)]
    assert to_an_edge(np.array(middles)).mean() < 0.6 * to_an_edge(points).mean()
