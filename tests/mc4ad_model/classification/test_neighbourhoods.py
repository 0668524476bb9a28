# SPDX-License-Identifier: Apache-2.0
"""Centres, neighbours and interpolation against the obvious loops, in any order of the points."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from mc4ad_model.classification.neighbourhoods import (
    centres,
    gather,
    interpolate,
    nearest,
    within,
)

CLOUDS = np.random.default_rng(0).normal(size=(3, 50, 3)).astype(np.float32)
POINTS = torch.from_numpy(CLOUDS)


def test_centres_are_farthest_from_those_before_and_the_first_from_the_mean() -> None:
    for cloud, found in zip(CLOUDS, centres(POINTS, 12).numpy(), strict=True):
        gaps = np.linalg.norm(cloud[:, None] - cloud, axis=2)
        assert found[0] == np.linalg.norm(cloud - cloud.mean(axis=0), axis=1).argmax()
        for k in range(1, 12):
            assert found[k] == gaps[:, found[:k]].min(axis=1).argmax()


def test_centres_do_not_depend_on_the_order_of_points() -> None:
    order = np.random.default_rng(1).permutation(50)
    found = centres(POINTS[:, order], 12)
    assert torch.equal(torch.from_numpy(order)[found], centres(POINTS, 12))
    assert centres(POINTS, 80).sort().values.tolist() == [list(range(50))] * 3


@pytest.mark.parametrize("radius", [0.3, 1.0])
def test_neighbours_against_brute_force(radius: float) -> None:
    queries = POINTS[:, :9] + 0.01
    near, ball = nearest(queries, POINTS, 7), within(queries, POINTS, radius, 7)
    assert near.shape == ball.shape == (3, 9, 7)
    for b in range(3):
        for m in range(9):
            gap = np.linalg.norm(CLOUDS[b] - queries[b, m].numpy(), axis=1)
            order = np.argsort(gap)[:7]
            assert near[b, m].tolist() == order.tolist()
            inside = [i if gap[i] <= radius else order[0] for i in order]
            assert ball[b, m].tolist() == inside
    assert nearest(queries, POINTS, 70).shape == (3, 9, 50)


def test_gathered_rows_and_their_gradients() -> None:
    values = torch.randn(3, 50, 4, dtype=torch.float64, requires_grad=True)
    index = nearest(POINTS[:, :6], POINTS, 5)
    found = gather(values, index)
    expected = torch.stack([value[rows] for value, rows in zip(values, index, strict=True)])
    assert torch.equal(found, expected)
    factors = torch.randn_like(found)
    (ours,) = torch.autograd.grad((found * factors).sum(), values)
    (theirs,) = torch.autograd.grad((expected * factors).sum(), values)
    assert torch.allclose(ours, theirs)


def test_interpolation_weighs_by_the_inverse_squared_distance() -> None:
    coarse = torch.tensor([[[1.0, 0, 0], [0, 2.0, 0], [0, 0, -4.0], [9.0, 9, 9]]])
    values = torch.tensor([[[1.0], [2.0], [3.0], [100.0]]])
    fine = torch.cat([torch.zeros(1, 1, 3), coarse[:, 1:2]], dim=1)
    found = interpolate(fine, coarse, values)
    weights = np.array([1, 1 / 4, 1 / 16])
    assert float(found[0, 0]) == pytest.approx(float(weights @ [1, 2, 3] / weights.sum()))
    assert float(found[0, 1]) == pytest.approx(2.0)  # on a coarse point
    assert interpolate(fine, coarse[:, :1], values[:, :1]).flatten().tolist() == [1.0, 1.0]
