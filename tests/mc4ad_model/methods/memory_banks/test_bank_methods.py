# SPDX-License-Identifier: Apache-2.0
"""Behaviour that all methods with a memory bank share, on a scanned torus."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("open3d")

from intravariance.errors import InputError
from intravariance.seeds import generator
from mc4ad_model.methods import method_class
from mc4ad_model.methods.memory_banks.bank_method import BankMethod
from tests.mc4ad_model.methods.memory_banks.toruses import in_the_dent, scanned, torus

RADII = ("normal_radius=0.15", "feature_radius=0.3", "feature_neighbours=40")
# settings for clouds of 1,500 points
SMALL: dict[str, tuple[str, tuple[str, ...]]] = {
    "btf-fpfh": ("btf", RADII),
    "btf-raw": ("btf", ("features=raw",)),
    "patchcore-fpfh": ("patchcore", (*RADII, "bank_size=500")),
    "patchcore-fpfh_raw": ("patchcore", (*RADII, "bank_size=500", "features=fpfh_raw")),
    "simple3d": (
        "simple3d",
        (
            "feature_neighbours=[20,30,40]", "centres=500", "centre_neighbours=12",
            "bank_share=0.3", "smoothing_centres=300",
        ),
    ),
}  # fmt: skip


def made(variant: str, *changes: str) -> BankMethod:
    name, settings = SMALL[variant]
    kind = method_class(name)
    found = kind(kind.Settings.load(None, [*settings, *changes]))
    assert isinstance(found, BankMethod)
    return found


def fitted(variant: str, *changes: str, seed: int = 0) -> BankMethod:
    method = made(variant, *changes)
    method.check(scanned())
    method.fit(scanned(), generator(seed, "x"))
    return method


@pytest.mark.parametrize("variant", SMALL)
def test_a_dent_scores_above_the_rest_of_the_cloud(variant: str) -> None:
    method, dented = fitted(variant), torus(7, dent=0.15)
    normal, found = method.score(torus(6)), method.score(dented)
    inside = in_the_dent(dented)
    assert 20 < inside.sum() < 150
    assert found.points[inside].mean() > 1.25 * found.points[~inside].mean()
    assert normal.points[inside].mean() < found.points[inside].mean()
    assert normal.object is not None and found.object is not None
    assert normal.object < found.object


@pytest.mark.parametrize("variant", ["btf-raw", "patchcore-fpfh_raw"])
def test_a_turned_dent_is_found_after_registration(variant: str) -> None:
    turn, dented = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]), torus(7, dent=0.15)
    posed = (dented @ turn + (0.1, 0.05, -0.1)).astype(np.float32)
    own = fitted(variant).score(posed)
    registered = fitted(variant, "frame=registered").score(posed)
    inside = in_the_dent(dented)
    assert registered.points[inside].mean() > 1.25 * registered.points[~inside].mean()
    assert own.points.mean() > 5 * registered.points.mean()


def test_clouds_are_registered_to_the_first_template_again_after_saving(tmp_path) -> None:
    variant, change = "patchcore-fpfh_raw", "frame=first"
    method, again = fitted(variant, change), made(variant, change)
    method.save(tmp_path)
    again.load(tmp_path)
    assert np.array_equal(again.score(torus(7)).points, method.score(torus(7)).points)
    assert not np.array_equal(fitted(variant).score(torus(7)).points, method.score(torus(7)).points)


@pytest.mark.parametrize("variant", SMALL)
def test_the_same_seed_gives_the_same_bytes(variant: str, tmp_path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        fitted(variant, seed=3).save(tmp_path / name)
    for file in ("bank.json", "bank.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_bank_of_other_settings_is_refused(tmp_path) -> None:
    fitted("btf-raw").save(tmp_path)
    for variant, changes, named in (
        ("btf-fpfh", (), r"'features': 33.*found.*'features': 3"),
        ("btf-raw", ("frame=registered",), r"frame = 'own', not 'registered'"),
        ("patchcore-fpfh", (), "expected arrays"),
    ):
        with pytest.raises(InputError, match=rf"bank\.json: .*{named}"):
            made(variant, *changes).load(tmp_path)


@pytest.mark.parametrize(
    ("variant", "fewest"), [("btf-fpfh", 40), ("patchcore-fpfh", 40), ("simple3d", 40)]
)
def test_clouds_smaller_than_a_neighbourhood_are_refused(variant: str, fewest: int) -> None:
    method = fitted(variant)
    for count in (1, fewest - 1):
        with pytest.raises(InputError, match=f"at least {fewest} points.*found {count}"):
            method.score(torus(0)[:count])
    small = replace(scanned().templates[1], points=torus(0)[:20])
    with pytest.raises(InputError, match=r"category torus: template scan_1: .*found 20"):
        method.check(replace(scanned(), templates=(scanned().templates[0], small)))


@pytest.mark.parametrize("variant", ["btf-raw", "simple3d"])
@pytest.mark.parametrize("frame", ["own", "registered"])
def test_clouds_that_are_not_finite_or_of_another_unit_are_refused(variant, frame) -> None:
    method, cloud = fitted(variant, f"frame={frame}"), torus(0)
    with pytest.raises(InputError, match="size of a template"):
        method.score(1000 * cloud)
    cloud[3] = np.inf
    with pytest.raises(InputError, match="expected finite coordinates"):
        method.score(cloud)


def test_a_cloud_of_one_point_is_compared_by_its_coordinates_only() -> None:
    with pytest.raises(InputError, match="size of a template, found 0"):
        fitted("btf-raw").score(torus(0)[:1])


@pytest.mark.parametrize("name", ["btf", "patchcore", "simple3d"])
def test_products_of_another_scale_are_refused(name: str) -> None:
    kind = method_class(name)
    large = replace(scanned().templates[0], points=torus(0) * 100)
    with pytest.raises(InputError, match=r"template scan_0 reaches 9\d\.\d from 0.*iv import"):
        kind(kind.Settings.load()).check(replace(scanned(), templates=(large,)))


def test_variants_have_folders_of_their_own() -> None:
    labels = [made(v, f"frame={f}").settings.label for v in SMALL for f in ("own", "registered")]
    assert len(set(labels)) == len(labels)
