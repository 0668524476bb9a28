# SPDX-License-Identifier: Apache-2.0
"""Calibrated deviation on a toy; that it is saved and loaded is tested with all methods."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from intravariance.errors import InputError
from intravariance.seeds import generator
from mc4ad_model.methods.calibrated_deviation import CalibratedDeviation, DeviationSettings
from tests.support.deviations import dented, normal_cloud, small, turned, two_toys


@pytest.fixture(scope="module")
def method() -> CalibratedDeviation:
    made = CalibratedDeviation(DeviationSettings())
    with small():
        made.fit(two_toys(), generator(0, "x"))
    return made


def test_a_dented_cloud_scores_above_normal_ones_and_highest_at_its_dent(method):
    normal = [method.score(turned(normal_cloud(seed), seed)).object for seed in range(8)]
    for seed in range(8, 11):
        cloud = normal_cloud(seed)
        moved = dented(cloud, 0.25)
        found = method.score(turned(cloud, seed))
        assert found.force is None
        assert found.object > 1.5 * max(normal)
        assert found.points[moved].mean() > 2 * found.points[~moved].mean()


def test_missing_material_is_seen_too(method):
    cloud = normal_cloud(4)
    gone = np.linalg.norm(cloud - (0, 0, 0.78), axis=1) < 0.25
    normal = method.score(turned(normal_cloud(5))).object
    assert method.score(turned(cloud[~gone])).object > 1.5 * normal


def test_a_file_of_another_kind_is_named(method, tmp_path):
    method.save(tmp_path)
    for name in ("json", "safetensors"):
        path = tmp_path / f"deviations.{name}"
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(InputError, match=r"deviations\.(json|safetensors)"):
            CalibratedDeviation(DeviationSettings()).load(tmp_path)
        method.save(tmp_path)
