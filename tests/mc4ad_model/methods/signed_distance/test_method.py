# SPDX-License-Identifier: Apache-2.0
"""Signed distance as a method: where a product was dented, and what it cannot be fitted to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("open3d")

from intravariance.auroc import auroc
from intravariance.errors import InputError
from intravariance.seeds import generator
from mc4ad_model.methods.saved_files import load_arrays, save_arrays
from mc4ad_model.methods.signed_distance.method import SignedDistance, SignedDistanceSettings
from mc4ad_model.methods.templates import Templates, surface_points
from tests.support.deviations import dented, normal_cloud, toy_clouds, turned, two_toys
from tests.support.runs import cpu

EXACT = ("field=exact",)
REGISTERED = (*EXACT, "frame=registered")
SMALL = ("steps=300", "width=32", "layers=3", "frequencies=3", "learning_rate=3e-3")


def fitted(templates: Templates, *changes: str) -> SignedDistance:
    method = SignedDistance(SignedDistanceSettings.load(None, changes), cpu())
    method.fit(templates, generator(0, "test"))
    return method


@pytest.mark.parametrize("changes", [EXACT, REGISTERED, ("frame=registered", *SMALL)])
def test_a_dent_is_found_without_noise(changes: tuple[str, ...]) -> None:
    templates = replace(two_toys(), noise_sigma=0.0)
    method = fitted(templates, *changes)
    cloud = surface_points(templates.templates[0], (2500, 2500), np.random.default_rng(3))[0]
    labels = dented(cloud)
    found = method.score(turned(cloud))
    assert found.object is None and (found.points >= 0).all()
    assert auroc(labels, found.points) > 0.9


def test_only_the_network_has_parameters() -> None:
    templates = two_toys()
    assert fitted(templates, *EXACT).parameters is None
    field = fitted(templates, *SMALL[1:], "steps=1")
    # 3 + 6 x 3 inputs, three layers of 32, one output; for each of two templates
    assert field.parameters == 2 * (22 * 32 + 2 * 33 * 32 + 33)


def test_labels_say_what_is_not_as_published() -> None:
    assert SignedDistanceSettings.load().label == "signed_distance-learned"
    assert SignedDistanceSettings.load(None, REGISTERED).label == "signed_distance-exact-registered"


def test_templates_without_a_mesh_are_refused() -> None:
    with pytest.raises(InputError, match=r"template tall_brick has no mesh .*registered_distance"):
        fitted(toy_clouds(), *EXACT)


def test_fields_of_other_settings_are_refused(tmp_path: Path) -> None:
    fitted(two_toys(), *SMALL[1:], "steps=1").save(tmp_path)
    other = SignedDistanceSettings.load(None, ["width=16", "layers=3", "frequencies=3"])
    with pytest.raises(InputError, match="saved with other settings"):
        SignedDistance(other, cpu()).load(tmp_path)
    with pytest.raises(InputError, match="saved with field = 'learned'"):
        SignedDistance(SignedDistanceSettings.load(None, EXACT), cpu()).load(tmp_path)


@pytest.mark.parametrize("changes", [EXACT, REGISTERED])
def test_clouds_that_are_not_finite_or_of_another_scale_are_refused(changes) -> None:
    method, cloud = fitted(two_toys(), *changes), normal_cloud(1).astype(np.float32)
    with pytest.raises(InputError, match="times"):
        method.score(20 * cloud)
    for factor in (1e30, 1e-30):
        with pytest.raises(InputError, match="times"):
            method.score((factor * cloud).astype(np.float32))
    cloud[3, 1] = np.nan
    with pytest.raises(InputError, match="finite"):
        method.score(cloud)


@pytest.mark.parametrize(
    "points", [np.full((50, 3), np.nan, np.float32), np.zeros((0, 3), np.float32)]
)
def test_saved_points_that_are_none_are_refused(points: np.ndarray, tmp_path: Path) -> None:
    fitted(two_toys(), *REGISTERED).save(tmp_path)
    arrays, description = load_arrays(tmp_path / "fields")
    save_arrays(tmp_path / "fields", {**arrays, "long_ball/points": points}, description)
    again = SignedDistance(SignedDistanceSettings.load(None, REGISTERED), cpu())
    with pytest.raises(InputError, match=r"expected the points \(S, 3\)"):
        again.load(tmp_path)
    save_arrays(tmp_path / "fields", arrays, {**description, "fitted_on": None})
    with pytest.raises(InputError, match="fitted_on: expected a table"):
        again.load(tmp_path)
