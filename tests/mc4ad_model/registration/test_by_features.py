# SPDX-License-Identifier: Apache-2.0
"""Registration by features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

pytest.importorskip("open3d")

from intravariance.errors import InputError
from intravariance.geometry.sampling import sample_surface
from mc4ad_model.registration.by_features import FeatureMatching, FeatureRegistration
from tests.support.samples import product

MATCHING = FeatureMatching(0.05, 2.4, 5, 1.5, 2, to_plane=True)
PRODUCTS = ("flat_brick", "long_ball")


def points(name: str, seed: int, count: int = 1500) -> np.ndarray:
    return sample_surface(product(name), count, np.random.default_rng(seed)).points


@pytest.mark.parametrize(
    "matching",
    [
        replace(MATCHING, to_plane=False),
        replace(MATCHING, coarse="fast_global"),
        replace(MATCHING, icp=None),
    ],
)
def test_a_turned_product_is_brought_back_onto_its_template(matching: FeatureMatching) -> None:
    registration = FeatureRegistration([points(name, 0) for name in PRODUCTS], matching)
    for number, name in enumerate(PRODUCTS):
        turn = Rotation.from_rotvec([0.4, -0.9, 1.3]).as_matrix()
        cloud = points(name, 1) @ turn + [0.1, -0.2, 0.05]
        pose = registration.register(cloud)
        assert pose.template == number
        found = cloud @ pose.rotation + pose.shift
        distances = cKDTree(points(name, 2, 20_000)).query(found)[0]
        assert distances.mean() < 0.03
        again = registration.register(cloud)
        np.testing.assert_allclose(again.rotation, pose.rotation, atol=1e-9)


def test_clouds_that_are_not_finite_are_refused() -> None:
    registration = FeatureRegistration([points("flat_brick", 0)], MATCHING)
    with pytest.raises(InputError, match="finite"):
        registration.register(np.full((100, 3), np.inf))
