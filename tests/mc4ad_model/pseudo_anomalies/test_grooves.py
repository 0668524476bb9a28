# SPDX-License-Identifier: Apache-2.0
"""Grooves along straight paths against wedges in closed form, and paths on curved surfaces."""

from __future__ import annotations

import numpy as np
import pytest

from mc4ad_model.pseudo_anomalies.grooves import STEP, Path, carve, groove, trace
from mc4ad_model.pseudo_anomalies.product import Product
from tests.mc4ad_model.pseudo_anomalies.shapes import HALF, SHELL, as_expected, in_box

TOP = HALF[2]


def straight_path(count: int = 21) -> Path:
    """Along x in the middle of the box's top."""
    places = np.zeros((count, 3))
    places[:, 0] = (np.arange(count) - (count - 1) / 2) * STEP
    places[:, 2] = TOP
    up, ahead = (np.tile(axis, (count, 1)) for axis in ([0.0, 0, 1], [1.0, 0, 0]))
    return Path(places, up, ahead, np.ones(count))


def test_a_groove_is_a_wedge(box: Product) -> None:
    points, _ = box.sample(60_000, np.random.default_rng(1))
    width, depth = 0.12, 0.2
    path = straight_path()
    change = carve(box, points, np.random.default_rng(2), path, width, depth)
    end = path.points[-1, 0]
    along, aside, height = np.abs(points[:, 0]), np.abs(points[:, 1]), points[:, 2]
    top = np.isclose(height, TOP)
    assert np.array_equal(change.gone, top & (aside < width / 2) & (along < end + STEP))
    deep = TOP - change.exposed[:, 2]
    assert deep.min() > 0.0025  # inside
    assert deep.max() < depth
    flank = width / 2 * (1 - deep / depth)
    off = np.abs(change.exposed[:, 1]) - flank
    assert np.abs(off).max() < 0.03
    assert off.std() < 0.007
    assert np.abs(change.exposed[:, 0]).max() <= end + STEP / 2
    # flanks face up and to the middle, at a right angle to the way down
    down = np.array([-width / 2, -depth]) / np.hypot(width / 2, depth)
    side = np.sign(change.exposed[:, 1])
    clear = np.abs(change.exposed[:, 1]) > 0.03
    assert np.allclose(change.normals[:, 0], 0)
    slope = (side * change.normals[:, 1] * down[0] + change.normals[:, 2] * down[1])[clear]
    assert np.abs(slope).max() < 1e-9
    assert (change.normals[:, 2] > 0).all()
    assert (side * change.normals[:, 1] < 0)[clear].all()
    area = 2 * 21 * STEP * np.hypot(width / 2, depth) * (1 - 0.003 / depth)
    assert as_expected(len(change.exposed), 60_000 / box.area * area)


def test_a_groove_goes_through_a_thin_wall(shell: Product) -> None:
    points, _ = shell.sample(20_000, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    start = int(np.linalg.norm(shell.points, axis=1).argmax())
    steps = trace(shell, start, np.array([1.0, 0.3, 0.2]), 0.9, rng)
    path = Path(steps[:, 0], steps[:, 1], steps[:, 2], np.ones(len(steps)))
    gone = points[carve(shell, points, rng, path, 0.12, 0.25).gone]
    radius = np.linalg.norm(gone, axis=1)
    outer, inner = (radius > np.mean(SHELL)).sum(), (radius < np.mean(SHELL)).sum()
    # 0.1 of 0.25 deep, and as much nearer to the middle: narrower and shorter
    assert inner / outer == pytest.approx(0.6 * SHELL[0] / SHELL[1], rel=0.3)
    shallow = points[carve(shell, points, rng, path, 0.12, 0.08).gone]
    assert np.linalg.norm(shallow, axis=1).min() > np.mean(SHELL)


def test_paths_stay_on_the_surface(shell: Product) -> None:
    rng = np.random.default_rng(3)
    for start in rng.integers(len(shell.points), size=10):
        steps = trace(shell, int(start), rng.standard_normal(3), 0.6, rng)
        assert len(steps) == 21
        radius = np.linalg.norm(steps[:, 0], axis=1)
        wall = SHELL[int(radius[0] > np.mean(SHELL))]
        assert np.abs(radius - wall).max() < 0.01
        assert np.allclose(np.linalg.norm(np.diff(steps[:, 0], axis=0), axis=1), STEP, atol=0.004)
        assert np.abs((steps[:, 1] * steps[:, 2]).sum(axis=1)).max() < 1e-9
        assert np.allclose(np.linalg.norm(steps[:, 2], axis=1), 1)


def test_paths_end_at_sharp_edges(box: Product) -> None:
    start = int(np.linalg.norm(box.points - [HALF[0] - 0.1, 0, TOP], axis=1).argmin())
    steps = trace(box, start, np.array([1.0, 0, 0]), 1.0, np.random.default_rng(4))
    assert 2 <= len(steps) < 12
    assert np.allclose(steps[:, 0, 2], TOP)


@pytest.mark.parametrize("seed", range(6))
def test_grooves_are_within_their_sizes(product: Product, seed: int) -> None:
    points, _ = product.sample(6000, np.random.default_rng(seed))
    change = groove(
        product, points, np.random.default_rng(seed), (0.8, 0.8), (0.1, 0.1), (0.2, 0.2)
    )
    assert change.gone.any()
    assert change.gone.mean() < 0.1
    if not product.closed:
        assert len(change.exposed) == 0
        return
    depth, _ = product.tree.query(change.exposed)
    assert depth.max() < 0.2
    gone = points[change.gone]
    away = np.linalg.norm(change.exposed[:, None] - gone[None], axis=2).min(axis=1)
    assert away.max() < np.hypot(0.2, 0.1) + 0.1  # and the spacing of the points


def test_grooves_in_a_box_stay_in_it(box: Product) -> None:
    points, _ = box.sample(3000, np.random.default_rng(1))
    for seed in range(10):
        change = groove(
            box, points, np.random.default_rng(seed), (0.5, 1.5), (0.03, 0.15), (0.05, 0.25)
        )
        assert in_box(change.exposed).all()


def test_a_path_of_one_place_is_a_notch(box: Product) -> None:
    points, _ = box.sample(6000, np.random.default_rng(1))
    change = groove(box, points, np.random.default_rng(2), (0.001, 0.001), (0.1, 0.1), (0.1, 0.1))
    gone = points[change.gone]
    assert 0 < len(gone) < 60
