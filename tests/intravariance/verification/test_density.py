# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from intravariance.geometry.sampling import sample_surface
from intravariance.geometry.template_surface import sample_template
from intravariance.verification.density import Coverage, TemplateDensity
from tests.support.samples import product

SIGMA = 0.0447


@pytest.fixture(scope="module")
def density() -> TemplateDensity:
    rng = np.random.default_rng(0)
    return TemplateDensity(sample_template(product("flat_brick"), rng).points, SIGMA, rng)


def cloud(count: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    points = sample_surface(product("flat_brick"), count, rng).points
    return points + rng.normal(scale=SIGMA, size=points.shape)


def covered(density: TemplateDensity, points: np.ndarray, labels: np.ndarray) -> Coverage:
    return density.coverage(points, labels.astype(np.uint8), cKDTree(points))


@pytest.mark.parametrize("count", [2_000, 9_000])
def test_a_whole_product_has_its_number_of_points(density: TemplateDensity, count: int) -> None:
    found = covered(density, cloud(count), np.zeros(count))
    assert found.far == pytest.approx(count, rel=0.04)
    assert found.median == pytest.approx(count, rel=0.04)


def test_what_is_missing_does_not_change_the_density_elsewhere(density: TemplateDensity) -> None:
    points = cloud(9_000)
    whole = points[:, 0] < 0.5  # an end bitten off, and as many points as before on what is left
    labels = points[whole][:, 0] > 0.45
    found = covered(density, points[whole], labels)
    assert whole.mean() < 0.85
    assert found.far == pytest.approx(9_000, rel=0.04)
    assert found.median == pytest.approx(9_000, rel=0.06)


def test_points_heaped_on_a_defect_do_not_count_elsewhere(density: TemplateDensity) -> None:
    points = np.concatenate([cloud(6_000), np.random.default_rng(2).normal(0.8, 0.1, (3_000, 3))])
    labels = np.arange(9_000) >= 6_000
    assert covered(density, points, labels).far == pytest.approx(6_000, rel=0.05)


def test_no_place_is_far_where_all_is_labelled(density: TemplateDensity) -> None:
    points = cloud(2_000)
    assert np.isnan(covered(density, points, np.ones(2_000)).far)
    # a cloud that is nowhere near its template has no density on it
    assert np.isnan(covered(density, points + 5, np.zeros(2_000)).median)
