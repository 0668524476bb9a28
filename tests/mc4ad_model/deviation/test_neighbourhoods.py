# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from mc4ad_model.deviation.neighbourhoods import RADIUS, Neighbourhoods
from mc4ad_model.deviation.statistics import Anchors, place_anchors
from tests.support.samples import product


@pytest.fixture(scope="module")
def anchors():
    return place_anchors(product("flat_brick"), np.random.default_rng(0), 300)


def test_means_are_those_of_a_plain_loop(anchors):
    values = np.random.default_rng(1).normal(size=(300, 4))
    found = Neighbourhoods(anchors).mean(values)
    for place in range(300):
        near = np.linalg.norm(anchors.points - anchors.points[place], axis=1) <= RADIUS
        near &= anchors.normals @ anchors.normals[place] > 0.3
        np.testing.assert_allclose(found[place], values[near].mean(axis=0), atol=1e-12)


def test_the_other_side_of_a_wall_is_no_neighbour():
    rng = np.random.default_rng(0)
    side = np.column_stack([rng.uniform(-1, 1, (200, 2)), np.zeros(200)])
    up = np.tile([0.0, 0.0, 1.0], (200, 1))
    both = Anchors.at(np.vstack([side, side - (0, 0, 0.02)]), np.vstack([up, -up]))
    values = np.repeat([1.0, -1.0], 200)[:, None]
    np.testing.assert_allclose(Neighbourhoods(both).mean(values), values)


def test_a_place_without_neighbours_keeps_its_value():
    alone = Anchors.at(np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([[0.0, 0, 1], [0, 0, 1]]))
    values = np.array([[3.0], [5.0]])
    assert np.array_equal(Neighbourhoods(alone).mean(values), values)
