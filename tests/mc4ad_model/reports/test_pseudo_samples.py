# SPDX-License-Identifier: Apache-2.0
"""Pseudo-anomalies as counterparts of a file's samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydantic")

from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError
from mc4ad_model.methods.mc4ad.anomalies import GENERATORS
from mc4ad_model.methods.mc4ad.configuration import AnomalyConfig
from mc4ad_model.reports.pseudo_samples import (
    PSEUDO_NAMES,
    deformed_normals,
    mixture_counterpart,
    pristine_counterpart,
    pseudo_counterpart,
    template_of,
)
from tests.support.samples import make_dataset, small_specification, sphere_points

CONFIG = AnomalyConfig(patches=8, candidates=4, magnitude=(0.1, 0.2))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("data") / "small.h5"
    return open_dataset(make_dataset(path, small_specification(points=(900, 1100)), sigma=0.001))


def test_the_template_is_of_the_samples_own_product(dataset: Dataset) -> None:
    for record in dataset:
        template = template_of(record, dataset)
        assert template.subcategory == record.subcategory
        assert template.parameters["base_mesh"] == record.parameters["base_mesh"]
        assert template.split == "train"


def test_a_template_without_a_mesh_gives_its_stored_points(tmp_path: Path) -> None:
    bare = open_dataset(
        make_dataset(tmp_path / "bare.h5", change=lambda sample, _: replace(sample, mesh=None))
    )
    record = bare.filter(defect="bulge")[0]
    template = template_of(record, bare)
    cloud = pseudo_counterpart(record, template, CONFIG, "norm_as_signed", 0.0, 0.01, seed=0)
    pristine = pristine_counterpart(record, template, 0.0, seed=0)
    assert len(cloud.points) == min(record.n_points, template.n_points)
    stored = {tuple(point) for point in np.round(template.points, 4)}
    assert {tuple(point) for point in np.round(cloud.points - cloud.displacement, 4)} <= stored
    assert {tuple(point) for point in np.round(pristine.points, 4)} <= stored
    assert cloud.labels.any()


def test_a_product_without_a_template_is_an_error(dataset: Dataset) -> None:
    record = dataset.filter(defect="bulge")[0]
    with pytest.raises(InputError, match=r"no template of ball, "):
        template_of(record, dataset.filter(split="test"))


def test_all_generators_deform_the_same_patch_of_the_same_cloud(dataset: Dataset) -> None:
    record = dataset.filter(defect="bulge")[0]
    template = template_of(record, dataset)
    made = {
        name: pseudo_counterpart(record, template, CONFIG, name, 0.0, 0.0, seed=3)
        for name in GENERATORS
    }
    pristine = [cloud.points - cloud.displacement for cloud in made.values()]
    for name, cloud in made.items():
        np.testing.assert_allclose(cloud.points - cloud.displacement, pristine[0], atol=1e-6)
        assert len(cloud.points) == record.n_points
        # one patch of eight, of which only the last collects what is left over
        assert 0 < cloud.labels.sum() <= record.n_points // 8
        assert cloud.moved.max() <= 0.2 + 1e-6
        np.testing.assert_array_equal(cloud.labels, cloud.moved > 0.002)
        assert (cloud.defect, cloud.source) == (name, "generator")


def test_seed_and_sample_decide_everything(dataset: Dataset) -> None:
    first, second = dataset.filter(defect="bulge")[0], dataset.filter(defect="bulge")[1]

    def made(record: object, seed: int) -> bytes:
        template = template_of(first, dataset)
        cloud = pseudo_counterpart(record, template, CONFIG, "norm_as", 0.01, 0.01, seed)
        return cloud.points.tobytes()

    assert made(first, 0) == made(first, 0)
    assert len({made(first, 0), made(first, 1), made(second, 0)}) == 3


def test_noise_has_the_files_size_and_normals_stay_without(dataset: Dataset) -> None:
    record = dataset.filter(defect="bulge", subcategory="round_ball")[0]
    cloud = pristine_counterpart(record, template_of(record, dataset), 0.05, seed=0)
    # on the ball noise along the normal is what changes the distance from its centre
    assert np.linalg.norm(cloud.points, axis=1).std() == pytest.approx(0.05, rel=0.1)
    np.testing.assert_allclose(np.linalg.norm(cloud.normals, axis=1), 1, atol=1e-6)
    assert not cloud.labels.any()
    assert cloud.normal


def ball(count: int, seed: int) -> np.ndarray:
    """Points of the unit sphere, which are their own normals."""
    return sphere_points(count, np.random.default_rng(seed))


def test_normals_of_a_smooth_bump_are_those_of_its_formula() -> None:
    points = ball(20_000, 1)
    z = points[:, 2]
    angle = np.arccos(z.clip(-1, 1))
    # radius r(t) = 1 + h (1 + cos(pi t / w)) / 2 within the angle w of the pole
    height, width = 0.1, 0.6
    inside = angle < width
    bump = np.where(inside, height * (1 + np.cos(np.pi * angle / width)) / 2, 0)
    slope = np.where(inside, -height * np.pi / width * np.sin(np.pi * angle / width) / 2, 0)
    # the normal of r(t) leans by r'(t) / r(t) against the direction of growing t
    across = np.stack([points[:, 0] * z, points[:, 1] * z, z**2 - 1], axis=1)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    expected = points - (slope / (1 + bump))[:, None] * across
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = deformed_normals(points, points, bump[:, None] * points)
    cosine = (found * expected).sum(axis=1)
    assert np.rad2deg(np.arccos(np.quantile(cosine[inside], 0.02).clip(-1, 1))) < 8
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-9)
    far = angle > width + 0.3
    np.testing.assert_array_equal(found[far], points[far])


def test_a_dent_pushed_through_keeps_its_side() -> None:
    """Both walls of a thin plate are moved together; each keeps facing away from the other."""
    rng = np.random.default_rng(0)
    flat = rng.uniform(-1, 1, size=(6000, 2))
    side = np.where(np.arange(6000) % 2, 1.0, -1.0)
    points = np.column_stack([flat, 0.01 * side])
    normals = np.column_stack([np.zeros((6000, 2)), side])
    displacement = np.zeros_like(points)
    displacement[:, 2] = 0.2 * np.exp(-(flat**2).sum(axis=1) / 0.1)
    found = deformed_normals(points, normals, displacement)
    assert ((found[:, 2] * side) > 0.3).all()
    on_top = side > 0
    # dz/dx of the displaced plate
    slope = -2 * flat[:, 0] / 0.1 * displacement[:, 2]
    expected = -slope / np.sqrt(1 + slope**2 + (flat[:, 1] / flat[:, 0] * slope) ** 2)
    error = np.abs(found[on_top, 0] - expected[on_top])
    assert np.quantile(error, 0.95) < 0.12


def test_nothing_moved_changes_no_normal() -> None:
    points = ball(100, 2)
    np.testing.assert_array_equal(deformed_normals(points, points, np.zeros((100, 3))), points)


@pytest.mark.parametrize("kind", ["swelling", "turn", "bite", "cut", "groove"])
def test_kinds_of_the_mixture_are_labelled_like_the_dataset(dataset: Dataset, kind: str) -> None:
    assert kind in PSEUDO_NAMES
    record = dataset.filter(defect="bulge")[0]
    template = template_of(record, dataset)
    cloud = pseudo_counterpart(record, template, CONFIG, kind, 0.0, 0.0, seed=3)
    again = pseudo_counterpart(record, template, CONFIG, kind, 0.0, 0.0, seed=3)
    np.testing.assert_array_equal(cloud.points, again.points)
    assert (cloud.defect, cloud.source) == (kind, "generator")
    labels = cloud.labels.astype(bool)
    assert labels.any()
    np.testing.assert_allclose(np.linalg.norm(cloud.normals, axis=1), 1, atol=1e-5)
    exposed = np.isnan(cloud.displacement).any(axis=1)
    assert labels[exposed].all()
    assert not cloud.displacement[~labels].any()
    moves = kind in ("swelling", "turn")
    assert exposed.any() != moves
    assert (len(cloud.points) == record.n_points) == moves
    assert cloud.displacement[labels & ~exposed].any() == moves


def test_a_defect_that_a_sparse_cloud_cannot_show_is_an_error(dataset: Dataset) -> None:
    record = dataset.filter(defect="bulge")[0]
    sparse = replace(record, n_points=0)
    with pytest.raises(InputError, match=r"none of 20 defects of the kind bite shows in 0 points"):
        mixture_counterpart(sparse, template_of(record, dataset), "bite", 0.0, 0.0, seed=3)
