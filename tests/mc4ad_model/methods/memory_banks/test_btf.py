# SPDX-License-Identifier: Apache-2.0
"""BTF's scores of points and of objects, written out."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("open3d")

from intravariance.seeds import generator
from mc4ad_model.methods.memory_banks.btf import BTF, BTFSettings, weighed_score
from tests.mc4ad_model.methods.memory_banks.toruses import POINTS, scanned, torus


def fitted(**settings) -> BTF:
    method = BTF(BTFSettings(**settings))
    method.fit(scanned(), generator(0, "x"))
    return method


def distances_to(bank, cloud):
    return np.linalg.norm(cloud[:, None].astype(float) - bank[None], axis=2)


def test_raw_scores_are_distances_from_all_centred_template_points() -> None:
    cloud = torus(3)[:600]
    found = fitted(features="raw").score(cloud)
    bank = np.concatenate([t.points - t.points.mean(axis=0) for t in scanned().templates])
    distances = distances_to(bank, cloud - cloud.mean(axis=0))
    assert found.points == pytest.approx(distances.min(axis=1), abs=1e-5)
    worst = int(distances.min(axis=1).argmax())
    entry = int(distances[worst].argmin())
    near = np.argsort(np.linalg.norm(bank - bank[entry], axis=1))[:3]
    assert near[0] == entry
    # in the units of Real3D-AD's clouds, on which the weight depends
    exponents = np.exp(17.7 * distances[worst][near[1:]] / np.sqrt(3))
    share = np.exp(17.7 * distances[worst].min() / np.sqrt(3)) / exponents.sum()
    assert found.object == pytest.approx(distances[worst].min() * (1 - share), rel=1e-3)


def test_steps_thin_the_bank_and_the_queries() -> None:
    cloud = torus(3)[:630]  # the last 30 make no whole step
    whole, thin = fitted(features="raw"), fitted(features="raw", bank_step=11, query_step=50)
    assert len(thin.bank["features"]) == 2 * (POINTS // 11)
    found = thin.score(cloud).points
    assert (found >= whole.score(cloud).points - 1e-6)[:600:50].all()
    centred = cloud - cloud.mean(axis=0)
    expected = distances_to(thin.bank["features"], centred[:600:50]).min(axis=1)
    nearest = distances_to(centred[:600:50], centred).argmin(axis=1)
    assert found == pytest.approx(expected[nearest], abs=1e-5)


def test_an_entry_among_near_ones_weighs_less() -> None:
    query = np.array([1.0, 0, 0])
    crowd = np.array([[0.0, 0, 0], [0, 0.01, 0], [0, 0, 0.01], [50, 0, 0]])
    lonely = np.array([[0.0, 0, 0], [30, 0.0, 0], [0, 30, 0.0], [50, 0, 0]])
    assert weighed_score(1.0, query, crowd, 0) == pytest.approx(0.5, abs=0.01)
    assert weighed_score(1.0, query, lonely, 0) == pytest.approx(1.0, abs=0.01)
    assert weighed_score(1.0, query, crowd[:1], 0) == 1.0
    assert weighed_score(1.0, query, lonely, 0, units=1e-6) == pytest.approx(0.5, abs=1e-3)
    assert weighed_score(1.0, query, crowd, 0, constant=1e9) == pytest.approx(1.0)
    # distances of which no exponential is finite
    assert 0 < weighed_score(1e4, 1e4 * query, 1e4 * crowd, 0) <= 1e4
