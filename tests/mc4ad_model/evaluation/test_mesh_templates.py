# SPDX-License-Identifier: Apache-2.0
"""Imported meshes as templates, and scans of known noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from intravariance.errors import InputError
from mc4ad_model.evaluation.normal_products import calibration_clouds, conditions_of
from mc4ad_model.methods.templates import read_templates, track_of
from tests.support.box_scans import SIZE, tree
from tests.support.unlabelled_trees import import_scans


def test_the_noise_of_scans_is_that_of_their_unit(tmp_path: Path) -> None:
    root = tree(tmp_path / "boxes", "obj")
    with pytest.raises(InputError, match="imported with meshes as templates and `--scan-noise`"):
        conditions_of(import_scans(root, tmp_path / "a.h5"), "boxes")
    dataset = import_scans(root, tmp_path / "b.h5", scan_noise=0.2)
    assert track_of(dataset) == "meshes"
    sigma = 0.2 / (np.linalg.norm(SIZE) / 2)
    conditions, data = conditions_of(dataset, "boxes"), read_templates(dataset, "boxes")
    assert conditions.noise_sigma == pytest.approx(sigma, rel=1e-5)
    assert data.noise_sigma == conditions.noise_sigma
    (cloud,) = calibration_clouds(data, conditions, 1, 0)
    assert conditions.points == (90, 110)
    assert 90 <= len(cloud) <= 110
    radius = np.linalg.norm(cloud - cloud.mean(axis=0), axis=1).max()
    assert radius == pytest.approx(1, abs=0.2)
    clouds = import_scans(root, tmp_path / "c.h5", scan_noise=0.2, normalise="none")
    assert conditions_of(clouds, "boxes").noise_sigma == 0.2
