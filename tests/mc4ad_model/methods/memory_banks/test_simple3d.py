# SPDX-License-Identifier: Apache-2.0
"""Simple3D's descriptors, bank and object score."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("open3d")

from intravariance.errors import InputError
from intravariance.seeds import generator
from mc4ad_model.methods.memory_banks.fpfh import Neighbourhood, fpfh
from mc4ad_model.methods.memory_banks.simple3d import Simple3D, Simple3DSettings
from tests.mc4ad_model.methods.memory_banks.toruses import POINTS, scanned, torus

SMALL = {"centres": 300, "centre_neighbours": 20, "smoothing_centres": 100, "top_points": 30}


def fitted(**changes) -> Simple3D:
    scales = {"feature_neighbours": (20, 40, 40)}
    method = Simple3D(Simple3DSettings(**{**scales, **SMALL, **changes}))
    method.fit(scanned(), generator(0, "x"))
    return method


def test_a_descriptor_is_the_mean_around_its_centre_of_scales_side_by_side() -> None:
    method = fitted()
    cloud = method.placed(torus(1))[0]
    centres, found = method._described(cloud)
    assert centres.shape == (300, 3) and found.shape == (300, 99)
    assert np.array_equal(found[:, 33:66], found[:, 66:])
    small, large = fpfh(cloud, Neighbourhood(10), [Neighbourhood(20), Neighbourhood(40)])
    near = np.argsort(np.linalg.norm(cloud - centres[5], axis=1))[:20]
    expected = np.concatenate([small[near].mean(axis=0), *2 * [large[near].mean(axis=0)]])
    assert found[5] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_bank_is_a_share_of_all_centres_and_the_object_the_highest_points() -> None:
    method = fitted(bank_share=0.1)
    assert method.bank["features"].shape == (60, 99)
    found = method.score(torus(1))
    assert found.points.shape == (POINTS,)
    assert found.object == pytest.approx(np.sort(found.points)[-30:].mean(), rel=1e-5)
    assert fitted(bank_share=1.0).score(torus(1)).points.mean() < found.points.mean()


def test_scores_are_smooth() -> None:
    rough = fitted(smoothing_neighbours=1, smoothing_centres=POINTS).score(torus(1)).points
    smooth = fitted().score(torus(1)).points
    assert smooth.std() < rough.std() and abs(smooth.mean() - rough.mean()) < rough.std()


@pytest.mark.parametrize("scales", ["[]", "[0]", "[40.5]", "40"])
def test_scales_that_are_none_are_refused(scales: str) -> None:
    with pytest.raises(InputError, match="feature_neighbours"):
        Simple3DSettings.load(None, [f"feature_neighbours={scales}"])
