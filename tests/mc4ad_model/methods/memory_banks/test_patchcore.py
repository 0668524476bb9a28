# SPDX-License-Identifier: Apache-2.0
"""PatchCore's banks, and the two ways to bring its branches together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("open3d")

from intravariance.errors import InputError
from intravariance.seeds import generator
from mc4ad_model.methods.memory_banks.nearest import nearest
from mc4ad_model.methods.memory_banks.patchcore import PatchCore, PatchCoreSettings
from tests.mc4ad_model.methods.memory_banks.toruses import POINTS, scanned, torus


def fitted(**changes) -> PatchCore:
    radii = {"normal_radius": 0.15, "feature_radius": 0.3, "feature_neighbours": 40}
    method = PatchCore(PatchCoreSettings(**radii, **{"bank_size": 400, **changes}))
    method.fit(scanned(), generator(0, "x"))
    return method


def test_scores_are_squared_distances_and_the_largest_is_the_objects() -> None:
    method, whole = fitted(), fitted(bank_size=10_000)
    assert method.bank["fpfh"].shape == (400, 33)
    assert len(whole.bank["fpfh"]) == 2 * POINTS
    assert len(np.unique(method.bank["fpfh"], axis=0)) > 390
    cloud = torus(3)
    found, full = method.score(cloud), whole.score(cloud)
    assert found.object == pytest.approx(found.points.max())
    assert (full.points <= found.points * 1.0001).all()
    described = method.described(method.placed(cloud)[0])["fpfh"].features
    distances, _ = nearest(described, method.bank["fpfh"])
    assert found.points == pytest.approx(distances**2, rel=1e-5)
    # the templates' own points are in a bank that is large enough
    own = whole.score(scanned().templates[0].points)
    assert own.points.max() < 1e-3 * full.points.max()


def test_ranges_are_those_of_the_templates_points_without_themselves() -> None:
    method = fitted(features="fpfh_raw", bank_size=10_000)
    low, high = method.bank["raw/range"][0]
    points = np.concatenate([t.points - t.points.mean(axis=0) for t in scanned().templates])
    gaps = cKDTree(points).query(points, 2)[0][:, 1]  # from the nearest other point
    assert low == pytest.approx(gaps.min() ** 2, rel=0.1, abs=1e-7)
    assert high == pytest.approx(gaps.max() ** 2, rel=0.01)


def test_the_test_sets_ranges_give_scores_from_0_to_1() -> None:
    clouds = [torus(seed, dent=0.1 * (seed % 2)) for seed in range(3)]
    method = fitted(features="fpfh_raw", normalisation="test_set")
    with pytest.raises(InputError, match=r'normalisation = "test_set".*iv evaluate'):
        method.score(clouds[0])
    method.look_at(clouds)
    found = [method.score(cloud) for cloud in clouds]
    points = np.concatenate([one.points for one in found])
    assert 0 <= points.min() < points.max() <= 1
    objects = [one.object for one in found]
    assert min(objects) >= 0 and max(objects) <= 1
    trained = fitted(features="fpfh_raw")
    trained.look_at(clouds)
    expected = fitted(features="fpfh_raw").score(clouds[0])
    assert np.array_equal(trained.score(clouds[0]).points, expected.points)
    # both are the same two branches, weighed differently: each rises with either branch
    assert np.corrcoef(found[0].points, expected.points)[0, 1] > 0.8
