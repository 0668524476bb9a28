# SPDX-License-Identifier: Apache-2.0
"""Samples of every kind: labels, displacement, density and randomness, by their definitions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from annotations.vocabulary import DISPLACEMENT_THRESHOLD, RIM_WIDTH
from intravariance.errors import InputError
from mc4ad_model.methods.settings import read_section
from mc4ad_model.pseudo_anomalies.mixture import MixtureConfig, make_sample
from mc4ad_model.pseudo_anomalies.names import KINDS
from mc4ad_model.pseudo_anomalies.product import Product
from tests.mc4ad_model.pseudo_anomalies.shapes import HALF, SHELL, as_expected

COUNT = 1500
LARGE = MixtureConfig(bite_radius=(0.15, 0.26))  # no bite falls between the points


@pytest.mark.parametrize("kind", KINDS)
def test_labels_follow_from_what_was_done(product: Product, kind: str) -> None:
    for seed in range(2):
        sample = make_sample(product, COUNT, LARGE, np.random.default_rng(seed), kind)
        pristine, _ = product.sample(COUNT, np.random.default_rng(seed))
        assert sample.kind == kind
        assert sample.points.shape == sample.displacement.shape == (len(sample.labels), 3)
        assert np.allclose(np.linalg.norm(sample.normals, axis=1), 1)
        assert sample.normals.shape == sample.points.shape
        kept = COUNT - len(sample.removed)
        moved = np.linalg.norm(sample.displacement, axis=1) > DISPLACEMENT_THRESHOLD
        expected = moved | (np.arange(len(moved)) >= kept)  # exposed points come last
        if len(sample.removed):
            away = np.linalg.norm(sample.points[:kept, None] - sample.removed, axis=2).min(axis=1)
            expected[:kept] |= away < RIM_WIDTH
        assert np.array_equal(sample.labels, expected)
        # on an open sheet, points may all be farther than a rim from those that went
        assert (sample.labels.any() or len(sample.removed) > 0) == (kind != "normal")
        was = sample.points - sample.displacement
        assert np.abs(product.tree.query(was[kept:])[0]).max(initial=0) < 1e-12
        together = np.concatenate([was[:kept], sample.removed])
        assert np.allclose(together[np.lexsort(together.T)], pristine[np.lexsort(pristine.T)])


@pytest.mark.parametrize("kind", ["bite", "cut", "groove"])
def test_exposed_points_belong_to_the_nearest_surface(product: Product, kind: str) -> None:
    sample = make_sample(product, COUNT, MixtureConfig(), np.random.default_rng(1), kind)
    kept = COUNT - len(sample.removed)
    exposed, displacement = sample.points[kept:], sample.displacement[kept:]
    distance, _ = product.tree.query(exposed)
    assert np.allclose(np.linalg.norm(displacement, axis=1), distance)
    assert not sample.displacement[:kept].any()
    assert (len(exposed) > 0) == product.closed
    if product.closed:
        inward = (displacement * product.normals[product.tree.query(exposed)[1]]).sum(axis=1)
        assert (inward < 0).all()


@pytest.mark.parametrize("kind", [*KINDS, None])
def test_the_same_state_gives_the_same_sample(product: Product, kind: str | None) -> None:
    first, second = (
        make_sample(product, 400, MixtureConfig(), np.random.default_rng(5), kind) for _ in range(2)
    )
    for name, value in vars(first).items():
        assert np.array_equal(value, getattr(second, name))


def test_the_number_follows_the_area(box: Product) -> None:
    """A cut through a box at a known level: as many points as area, before and after."""
    config = MixtureConfig(cut_depth=(0.2, 0.2))
    rng = np.random.default_rng(6)
    ratios = []
    for _ in range(12):
        sample = make_sample(box, 4000, config, rng, "cut")
        density = 4000 / box.area
        # the exposed section is flat and convex: its area is that of its hull
        exposed = sample.points[4000 - len(sample.removed) :]
        offset = exposed - exposed.mean(axis=0)
        _, _, axes = np.linalg.svd(offset, full_matrices=False)
        hull = ConvexHull(offset @ axes[:2].T)
        ratios.append(len(exposed) / (density * hull.volume))
    assert np.mean(ratios) == pytest.approx(1, abs=0.08)


def test_kinds_come_as_often_as_they_should(sheet: Product) -> None:
    rng = np.random.default_rng(7)
    config = MixtureConfig(normal=1, swelling=2, turn=0, bite=0, cut=1, groove=0)
    kinds = [make_sample(sheet, 20, config, rng).kind for _ in range(400)]
    assert set(kinds) == {"normal", "swelling", "cut"}
    assert as_expected(kinds.count("swelling"), 200)
    assert as_expected(kinds.count("cut"), 100)


def test_a_cloud_serves_as_well(shell: Product) -> None:
    cloud = Product.from_cloud(*shell.sample(6000, np.random.default_rng(8)))
    for kind in KINDS:
        sample = make_sample(cloud, COUNT, LARGE, np.random.default_rng(9), kind)
        assert sample.labels.any() == (kind != "normal")
        assert np.linalg.norm(sample.points, axis=1).max() < SHELL[1] + 0.3


def test_the_default_sizes_fit_the_unit_sphere(box: Product) -> None:
    rng = np.random.default_rng(10)
    for _ in range(30):
        sample = make_sample(box, 1000, MixtureConfig(), rng)
        assert np.linalg.norm(sample.displacement, axis=1).max() < 0.5
        assert np.linalg.norm(sample.points, axis=1).max() < np.linalg.norm(HALF) + 0.5
        assert 0.6 < len(sample.points) / 1000 < 1.4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bite": -1}, "bite = -1: expected a value greater than or equal to 0"),
        ({"bite": "often"}, "bite = 'often': expected a valid number"),
        ({"bites": 1}, "unknown bites; expected some of normal, swelling"),
        ({"cut_depth": [0.3, 0.1]}, r"cut_depth = \[0.3, 0.1\]: expected the smaller number first"),
        ({"cut_depth": [0.3, 1.0]}, r"cut_depth = \[0.3, 1.0\]: expected numbers below 1"),
        ({"bite_radius": [0, 0.1]}, "bite_radius.0 = 0: expected a value greater than 0"),
        ({"bite_radius": [0.1]}, r"expected two numbers, \[low, high\]"),
        ({"swelling_outward": 1.5}, "swelling_outward = 1.5: expected a number from 0 to 1"),
        ({kind: 0 for kind in KINDS}, "normal, .* groove are all 0: expected at least one above 0"),
    ],
)
def test_settings_that_cannot_be_are_said(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_section(MixtureConfig, values, "mixture")


def test_settings_are_read_back(box: Product) -> None:
    config = read_section(MixtureConfig, {"bite_radius": [0.1, 0.2], "normal": 0}, "mixture")
    assert config == replace(MixtureConfig(), bite_radius=(0.1, 0.2), normal=0.0)
    assert make_sample(box, 100, config, np.random.default_rng(0)).kind != "normal"
