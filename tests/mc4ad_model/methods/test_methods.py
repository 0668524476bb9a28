# SPDX-License-Identifier: Apache-2.0
"""Every method behind the same protocol, and the controls and the registered distance in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from intravariance.errors import InputError
from intravariance.geometry.sampling import sample_surface
from intravariance.seeds import generator, seed_of
from mc4ad_model.methods import METHODS, method_class, method_names
from mc4ad_model.methods.controls import Constant
from mc4ad_model.methods.method import FittedOn, Method
from mc4ad_model.methods.registered_distance import DistanceSettings, RegisteredDistance
from tests.support.encoders import encoder_settings
from tests.support.extensions import package
from tests.support.runs import cpu, tiny, toys
from tests.support.samples import product

TRAINED = ("mc4ad", "po3ad", "af3ad")
PRESETS = (*TRAINED, "imrnet", "r3d_ad")  # what has presets
SHORT = ["points=200", "steps=3", "batch=2"]
NEED_OPEN3D = (
    "btf", "patchcore", "simple3d", "m3dm", "reg3d_ad", "signed_distance", "cpmf", "ismp",
)  # fmt: skip


def made(name: str) -> Method:
    """Return a method that is fitted within a second."""
    if name in (
        "btf",
        "patchcore",
        "simple3d",
        "m3dm",
        "reg3d_ad",
        "signed_distance",
        "cpmf",
        "ismp",
    ):
        pytest.importorskip("open3d")
    kind = method_class(name)
    changes = {
        "signed_distance": ["steps=5", "width=16", "frame=registered"],
        "m3dm": encoder_settings(),
        "reg3d_ad": encoder_settings(),
        "imrnet": [*encoder_settings(20, 16), *SHORT, "groups=12", "clouds=2"],
        "r3d_ad": [*SHORT, "width=8", "code=4", "diffusion_steps=4"],
        "cpmf": ["views=3", "image_size=32", "steps=4", "width=4", "centres=100"],
        "ismp": [*encoder_settings(), "image_size=32", "steps=4", "width=4"],
    }
    own = tiny() if name in TRAINED else kind.Settings.load(None, changes.get(name, []))
    return kind(own, cpu())


def cloud(name: str = "flat_brick", seed: int = 0, noise: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    points = sample_surface(product(name), 600, rng).points
    return (points + rng.normal(scale=noise, size=points.shape)).astype(np.float32)


# --- all of them


@pytest.mark.parametrize("name", METHODS)
def test_what_is_saved_scores_as_what_was_fitted(name: str, tmp_path: Path) -> None:
    first, again = made(name), made(name)
    first.check(toys())
    first.fit(toys(), generator(7, "training", "toys"))
    assert first.fitted_on == FittedOn("toys", 7, "digest")
    first.save(tmp_path)
    assert (tmp_path / first.files[0]).is_file()
    assert {p for pattern in first.files for p in tmp_path.glob(pattern)} == set(tmp_path.iterdir())
    again.load(tmp_path)
    assert again.fitted_on == first.fitted_on
    assert again.parameters == first.parameters
    points = cloud()
    before = points.copy()
    for one in (first.score(points), again.score(points)):
        expected = first.score(points)
        assert np.array_equal(points, before)
        assert one.points.shape == (600,) and one.points.dtype == np.float32
        assert np.array_equal(one.points, expected.points)
        assert one.object == expected.object
        assert (one.force is None) == (expected.force is None)
        if one.force is not None:
            assert one.force.shape == (600, 3) and one.force.dtype == np.float32
            assert np.array_equal(one.force, expected.force)


@pytest.mark.parametrize("name", METHODS)
def test_settings_go_through_plain_values(name: str) -> None:
    kind = method_class(name).Settings
    settings = kind.load()
    assert kind.from_mapping(settings.to_mapping(), "test") == settings


@pytest.mark.parametrize("name", METHODS)
def test_a_damaged_or_missing_file_is_the_users_to_mend(name: str, tmp_path: Path) -> None:
    method = made(name)
    method.fit(toys(), generator(0, "x"))
    method.save(tmp_path)
    path = tmp_path / method.files[0]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=path.name):
        made(name).load(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=path.name):
        made(name).load(tmp_path)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in PRESETS])
@pytest.mark.parametrize(
    ("preset", "changes", "named"),
    [
        ("quick", (), "--preset quick: this method has no presets"),
        (None, ("colour=3",), "unknown colour"),
        (None, ("colour",), "--set colour: expected KEY=VALUE"),
    ],
)
def test_settings_that_a_method_does_not_have(name, preset, changes, named) -> None:
    with pytest.raises(InputError, match=named):
        method_class(name).Settings.load(preset, changes)


def test_an_installed_package_adds_a_method_and_replaces_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = dict.fromkeys(("mine", "mc4ad"), "mc4ad_model.methods.controls:Constant")
    monkeypatch.syspath_prepend(package(tmp_path, "intravariance.methods", entries))
    assert method_names() == [*METHODS, "mine"]
    assert method_class("mine") is Constant
    with pytest.raises(InputError, match=r"'mc4ad' of the package more-methods 1.5.*rename it"):
        method_class("mc4ad")
    with pytest.raises(InputError, match=r"method 'yours': expected one of mc4ad, .*mine"):
        method_class("yours")


@pytest.mark.parametrize("seed", [0, 7, 2**70])
def test_the_seed_of_a_generator_is_the_users(seed: int) -> None:
    assert seed_of(generator(seed, "any", "purpose")) == seed
    assert seed_of(np.random.default_rng(seed)) == seed


# --- those that register


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("registered_distance", ()),
        ("area", ()),
        ("btf", ("features=raw", "frame=registered")),
        ("signed_distance", ("field=exact", "frame=registered")),
        ("r3d_ad", ("frame=registered", *SHORT, "width=8", "code=4", "diffusion_steps=4")),
        ("po3ad", ("data.frame=registered", "data.rotation=none")),
    ],
)
def test_a_cloud_that_fits_no_template_is_noted_and_another_unit_refused(name, changes) -> None:
    if name in NEED_OPEN3D:
        pytest.importorskip("open3d")
    kind = method_class(name)
    method = kind(tiny(*changes) if name in TRAINED else kind.Settings.load(None, changes), cpu())
    method.fit(toys(noise=0.03), generator(0, "x"))
    rod = cloud(noise=0.03) * np.float32([1.3, 0.3, 0.7])
    note = method.score(rod).note
    assert note is not None and note.startswith("fits no template: ")
    assert method.score(cloud(noise=0.03)).note is None
    with pytest.raises(InputError, match="expected the size of a template"):
        method.score(10 * cloud())


# --- the controls


def fitted(name: str, seed: int = 0) -> Method:
    method = made(name)
    method.fit(toys(), generator(seed, "x"))
    return method


def test_constant_scores_are_all_equal() -> None:
    found = fitted("constant").score(cloud())
    assert not found.points.any() and found.object is None and found.force is None


def test_random_scores_depend_on_the_seed_and_the_cloud_alone() -> None:
    method, other = fitted("random"), fitted("random", seed=1)
    first, again = method.score(cloud()), method.score(cloud())
    assert np.array_equal(first.points, again.points) and first.object == again.object
    for different in (method.score(cloud(seed=1)), other.score(cloud())):
        assert not np.array_equal(first.points, different.points)
        assert first.object != different.object
    assert 0.4 < first.points.mean() < 0.6


# --- registration alone


def registered(**settings: int) -> RegisteredDistance:
    method = RegisteredDistance(DistanceSettings(**settings))
    method.fit(toys(), generator(0, "x"))
    return method


def test_the_score_is_the_distance_from_the_surface_and_the_force_points_along_it() -> None:
    """A brick with a raised patch, in any pose; each point's own offset."""
    points = cloud().astype(np.float64)
    raised = points[:, 2] > points[:, 2].max() - 1e-3
    raised &= np.linalg.norm(points[:, :2] - points[raised][0, :2], axis=1) < 0.2
    assert 5 < raised.sum() < 100
    points[raised] += (0, 0, 0.1)
    turn = Rotation.random(random_state=3).as_matrix()
    posed = (points @ turn + (0.2, -0.1, 0.1)).astype(np.float32)
    found = registered(neighbours=1).score(posed)
    assert found.points[raised] == pytest.approx(0.1, abs=0.02)
    assert np.median(found.points[~raised]) < 0.02
    assert found.force is not None
    assert np.allclose(found.force[raised], (0, 0, 0.1) @ turn, atol=0.03)
    assert np.linalg.norm(found.force, axis=1) == pytest.approx(found.points, abs=1e-6)


@pytest.mark.parametrize("count", [0, 1, 39])
def test_clouds_smaller_than_a_neighbourhood_are_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"at least 40 points.*found {count}"):
        registered().score(cloud()[:count])


def test_the_force_is_the_mean_over_neighbours() -> None:
    points = cloud(noise=0.03)
    alone, smooth = registered(neighbours=1).score(points), registered(neighbours=9).score(points)
    assert alone.force is not None and smooth.force is not None
    _, near = cKDTree(points).query(points, 9)
    assert np.allclose(smooth.force, alone.force[near].mean(axis=1), atol=1e-6)
    assert smooth.points.mean() < 0.7 * alone.points.mean()


def test_products_of_another_scale_are_refused() -> None:
    small = toys()
    template = replace(small.templates[0], mesh=None, points=small.templates[0].points * 0.1)
    with pytest.raises(InputError, match=r"toys: template long_ball reaches 0\.1.*iv import"):
        registered().check(replace(small, templates=(template,)))
