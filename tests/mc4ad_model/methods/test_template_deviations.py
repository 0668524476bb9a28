# SPDX-License-Identifier: Apache-2.0
"""How normal clouds deviate from templates, found, kept, and compared with."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from intravariance.errors import InputError
from mc4ad_model.deviation.statistics import deviations
from mc4ad_model.methods.template_deviations import (
    TemplateDeviation,
    TemplateDeviations,
    noise_of,
    product_of,
)
from tests.support.deviations import (
    ANCHORS,
    NOISE,
    dented,
    normal_cloud,
    small,
    toy_clouds,
    toy_deviations,
    turned,
    two_toys,
)

BRICK = 1  # of the sorted ids


def both(one: TemplateDeviation, cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return narrow and wide z-scores."""
    narrow = one.narrow_scores(cloud)
    return narrow, one.wide_scores(narrow)


def test_each_template_has_places_on_its_surface():
    found = toy_deviations()
    assert found.ids == ["long_ball", "tall_brick"]
    assert found.noise_sigma == NOISE
    for one in found.each:
        assert one.anchors.points.shape == one.anchors.normals.shape == (ANCHORS, 3)
        assert one.narrow.mean.shape == one.wide.spread.shape == (ANCHORS, 6)
        assert (one.narrow.spread > 0).all() and (one.wide.spread > 0).all()
    inside = np.abs(found.each[BRICK].anchors.points) / (0.3939, 0.4727, 0.7878)
    np.testing.assert_allclose(inside.max(axis=1), 1, atol=1e-3)


def test_normal_clouds_have_z_scores_of_chance_narrow_and_wide():
    """Eight clouds leave mean and spread uncertain: a little more than 1."""
    one = toy_deviations().each[BRICK]
    clouds = [toy_deviations().register(turned(normal_cloud(s), s))[1] for s in range(20, 28)]
    for z in zip(*(both(one, cloud) for cloud in clouds), strict=True):
        values = np.stack(z)
        assert values.shape == (8, ANCHORS, 6)
        assert np.abs(values.mean(axis=(0, 1))).max() < 0.25
        assert (np.abs(values.std(axis=(0, 1)) - 1.1) < 0.3).all()


def test_a_dent_stands_out_where_it_is_narrow_and_wide():
    one, cloud = toy_deviations().each[BRICK], normal_cloud(2)
    moved = dented(cloud)
    assert 30 < moved.sum() < 100
    place = one.anchors.points - (0, 0, 0.7878)
    near = np.linalg.norm(place, axis=1) < 0.2
    far = np.linalg.norm(place, axis=1) > 0.7
    for z in both(one, cloud):
        scores = deviations(z)
        assert scores[near].mean() > 4 * scores[far].mean()
        assert z[near, 4].mean() < -5  # the mean height in the wider cylinder
        assert abs(z[far, 4].mean()) < 0.5


def test_registering_brings_a_cloud_to_the_template():
    cloud = turned(normal_cloud(5))
    pose, moved = toy_deviations().register(cloud)
    assert pose.template == BRICK
    np.testing.assert_allclose(moved, cloud @ pose.rotation + pose.shift)
    assert moved.dtype == np.float64
    # the axes of a brick are told; which end is up is not
    np.testing.assert_allclose(
        np.sort(np.ptp(moved, axis=0)), np.sort(np.ptp(normal_cloud(5), axis=0)), atol=0.06
    )


def test_a_description_holds_what_registering_and_comparing_give():
    cloud = turned(normal_cloud(5))
    found = toy_deviations().describe(cloud)
    pose, moved = toy_deviations().register(cloud)
    assert found.pose.template == pose.template and np.array_equal(found.cloud, moved)
    assert found.deviation is toy_deviations().each[pose.template]
    assert np.array_equal(found.narrow, found.deviation.narrow_scores(moved))
    distance = np.linalg.norm(moved[::50, None] - found.deviation.anchors.points, axis=2)
    eight = np.sort(distance, axis=1)[:, :8]
    own = np.take_along_axis(distance, found.nearest[::50], axis=1)
    np.testing.assert_allclose(np.sort(own, axis=1), eight, atol=1e-12)


@pytest.mark.parametrize("times", [0.001, 0.1, 25.4, 1000.0])
def test_a_cloud_in_another_unit_is_refused_with_the_factor(times):
    """The factor is that to the template nearest in size, of two that differ by a third."""
    cloud = turned(normal_cloud(5)) * times
    with pytest.raises(InputError, match="expected the size of a template") as refused:
        toy_deviations().register(cloud)
    message = str(refused.value)
    found = re.search(r"found (\S+) times that.*multiply its coordinates by (\S+)$", message)
    assert found is not None
    factor, remedy = map(float, found.groups())
    assert factor == pytest.approx(times, rel=0.35)
    assert factor * remedy == pytest.approx(1, rel=0.01)


def test_what_is_kept_is_what_was_found():
    found = toy_deviations()
    again = TemplateDeviations.from_arrays(found.arrays(), found.description, Path("a"))
    assert again.ids == found.ids and again.noise_sigma == NOISE
    cloud = turned(normal_cloud(5))
    (pose, moved), (other, also_moved) = found.register(cloud), again.register(cloud)
    assert pose.template == other.template and np.array_equal(moved, also_moved)
    for one, two in zip(found.each, again.each, strict=True):
        for z, same in zip(both(one, moved), both(two, moved), strict=True):
            assert np.array_equal(z, same)


def test_it_depends_on_the_seed_alone_and_not_on_the_order_of_templates():
    found = toy_deviations().arrays()
    turned_round = replace(two_toys(), templates=two_toys().templates[::-1])
    with small():
        again = TemplateDeviations.fit(turned_round, 0).arrays()
        other = TemplateDeviations.fit(two_toys(), 1).arrays()
    assert again.keys() == found.keys()
    assert all(np.array_equal(again[name], found[name]) for name in found)
    assert not np.array_equal(other["tall_brick/mean"], found["tall_brick/mean"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tall_brick/mean", None),
        ("tall_brick/surface", None),
        ("tall_brick/wide_spread", np.zeros((ANCHORS, 5))),
        ("tall_brick/points", np.zeros((ANCHORS - 1, 3))),
        ("tall_brick/normals", np.zeros(ANCHORS)),
    ],
)
def test_damaged_arrays_are_named(name, value):
    arrays = toy_deviations().arrays()
    arrays.pop(name, None)
    if value is not None:
        arrays[name] = value
    with pytest.raises(InputError, match=r"run/deviations\.json: expected .*'tall_brick'"):
        TemplateDeviations.from_arrays(arrays, {}, Path("run/deviations"))


@pytest.mark.parametrize("track", ["meshes", "clouds"])
def test_a_foreign_cloud_is_named_and_a_normal_or_a_dented_one_is_not(track):
    found = toy_deviations(track)
    again = TemplateDeviations.from_arrays(found.arrays(), found.description, Path("a"))
    moved = normal_cloud(31)
    dented(moved)
    assert found.describe(turned(normal_cloud(30))).note is None
    assert found.describe(turned(moved)).note is None
    rod = normal_cloud(32) * (0.4, 0.4, 1.3)
    note = found.describe(turned(rod)).note
    assert re.fullmatch(r"fits no template: \d\.\d\d nats a point less likely", note)
    assert again.describe(turned(rod)).note == note


def test_a_run_that_was_saved_without_fits_finds_them():
    arrays = toy_deviations().arrays()
    fits = arrays.pop("fits")
    old = TemplateDeviations.from_arrays(arrays, {"noise_sigma": NOISE}, Path("a"))
    assert old.track == "meshes"
    assert old.describe(turned(normal_cloud(30))).note is None
    note = old.describe(turned(normal_cloud(32) * (0.4, 0.4, 1.3))).note
    assert note is not None and note.startswith("fits no template")
    assert np.abs(old.arrays()["fits"][0] - fits[0]).max() < 0.05
    with pytest.raises(InputError, match=r"a\.json: expected the fits of 2 templates"):
        TemplateDeviations.from_arrays({**arrays, "fits": fits[:, :1]}, {}, Path("a"))


def test_no_templates_at_all():
    with pytest.raises(InputError, match=r"a\.json: expected at least one template"):
        TemplateDeviations.from_arrays({}, {}, Path("a"))


def test_a_track_that_there_is_not():
    arrays = toy_deviations().arrays()
    with pytest.raises(InputError, match=r"a\.json: track = 'rails', expected meshes or clouds"):
        TemplateDeviations.from_arrays(arrays, {"track": "rails"}, Path("a"))


def test_products_of_another_scale_are_refused():
    template = two_toys().templates[0]
    tiny = replace(template, mesh=None, points=0.1 * template.points)
    with pytest.raises(InputError, match=r"template tall_brick reaches 0\.1.*iv import"):
        TemplateDeviations.fit(replace(two_toys(), templates=(tiny,)), 0)


@pytest.mark.parametrize("templates", [two_toys(), toy_clouds()], ids=["mesh", "cloud"])
def test_a_product_for_pseudo_anomalies_is_made_of_the_mesh_or_of_the_estimated_surface(templates):
    known = templates.track == "meshes"
    product = product_of(templates, "tall_brick", 0)
    distance = (np.abs(product.points) / (0.3939, 0.4727, 0.7878)).max(axis=1) - 1
    assert (np.abs(distance).max() < 1e-3) == known
    assert np.abs(distance).mean() < 0.03
    # with its noise, a product is the stored cloud again, or as noisy as the file is
    noise = noise_of(templates, "tall_brick", product.points, np.random.default_rng(0))
    if known:
        assert noise.std() == pytest.approx(NOISE, rel=0.05)
    else:
        stored = templates.templates[0].points.astype(np.float64)
        assert cKDTree(stored).query(product.points + noise)[0].max() < 1e-6


def test_clouds_alone_tell_a_dent_from_chance():
    """One cloud of 2,500 points tells what is usual: a fresh one differs by as much."""
    found = toy_deviations("clouds")
    assert found.track == "clouds"
    own = found.each[BRICK]
    clouds = [found.register(turned(normal_cloud(s), s))[1] for s in range(20, 26)]
    usual = np.stack([own.narrow_scores(cloud) for cloud in clouds])
    assert 0.7 < usual.std() < 1.4
    moved = normal_cloud(2)
    dented(moved)
    near = np.linalg.norm(own.anchors.points - (0, 0, 0.7878), axis=1) < 0.2
    assert deviations(own.narrow_scores(moved))[near].mean() > 1.5 * np.sqrt((usual**2).mean())
