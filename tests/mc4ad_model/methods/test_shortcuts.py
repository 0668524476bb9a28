# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from intravariance.errors import InputError
from intravariance.geometry.sampling import sample_surface
from intravariance.seeds import generator
from mc4ad_model.methods.controls import NoSettings
from mc4ad_model.methods.shortcuts import Area, PointCount, Radius
from tests.support.runs import toys
from tests.support.samples import product


def test_the_number_of_points_is_the_score_of_an_object_and_says_nothing_of_points() -> None:
    method = PointCount(NoSettings())
    method.fit(toys(), generator(0, "x"))
    found = method.score(np.zeros((321, 3), dtype=np.float32))
    assert found.object == 321 and not found.points.any() and len(found.points) == 321


def test_the_radius_is_the_distance_from_the_centroid_wherever_the_cloud_lies() -> None:
    method = Radius(NoSettings())
    method.fit(toys(), generator(0, "x"))
    corners = np.array([[x, y, 0] for x in (-3, 3) for y in (-4, 4)] + [[0, 0, 0]])
    for shift in (0, 7):
        found = method.score((corners + shift).astype(np.float32))
        assert found.points.tolist() == [5, 5, 5, 5, 0] and found.object == 5
    for bad in (np.empty((0, 3)), np.full((3, 3), np.nan)):
        with pytest.raises(InputError, match="point cloud: expected"):
            method.score(bad.astype(np.float32))


@pytest.fixture(scope="module")
def area() -> Area:
    method = Area(NoSettings())
    method.fit(toys(noise=0.02), generator(0, "x"))
    return method


def cloud(kept: float, count: int = 8000) -> np.ndarray:
    """Return a brick of which a share of the surface is kept, in some pose, `count` points."""
    rng = np.random.default_rng(2)
    points = sample_surface(product("flat_brick"), round(count / kept), rng).points
    order = np.argsort(points[:, 0])
    points = points[order[: round(kept * len(order))]]
    points += rng.normal(scale=0.02, size=points.shape)
    turn = Rotation.random(random_state=1).as_matrix()
    return (points @ turn + (0.1, 0.2, -0.1)).astype(np.float32)


def test_the_whole_product_has_its_area_however_many_points_it_has(area: Area) -> None:
    for count in (4000, 12_000):
        found = area.score(cloud(1, count))
        assert found.object == pytest.approx(0, abs=0.06)
        assert not found.points.any() and len(found.points) == count


def test_missing_area_is_seen_however_many_points_there_are(area: Area) -> None:
    for count in (4000, 12_000):
        assert area.score(cloud(0.75, count)).object == pytest.approx(-np.log(0.75), abs=0.08)


def test_a_cloud_off_the_template_has_no_change_and_a_note(area: Area) -> None:
    directions = np.random.default_rng(0).normal(size=(25, 3))
    around = 1.1 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    found = area.score(around.astype(np.float32))
    assert found.object == 0 and found.note is not None
    assert area.score(cloud(1, 4000)).note is None


@pytest.mark.parametrize("count", [0, 1, 3, 10])
def test_clouds_that_have_no_density_are_refused(area: Area, count: int) -> None:
    with pytest.raises(InputError, match=f"at least 20 points.*found {count}"):
        area.score(cloud(1)[:count])
