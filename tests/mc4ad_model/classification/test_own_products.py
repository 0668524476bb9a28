# SPDX-License-Identifier: Apache-2.0
"""A dataset file as products to recognise and defects to find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
from scipy.spatial import cKDTree

from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError
from mc4ad_model.classification.own_products import OwnProducts
from mc4ad_model.classification.plan import PLANS, TASKS
from mc4ad_model.classification.tasks import unit_cloud
from tests.support.samples import make_dataset, product, small_specification

PLAN = replace(PLANS["small"], points=64, part_points=96, clouds=3)
# in alphabetical order of category and product
NAMES = [("ball", "long_ball"), ("ball", "round_ball"), ("brick", "flat_brick"),
         ("brick", "tall_brick")]  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("products") / "small.h5"
    return open_dataset(make_dataset(path, small_specification((300, 400), 4, 2), sigma=0.002))


def test_shapes_and_counts(dataset: Dataset) -> None:
    source = OwnProducts(dataset)
    assert source.tasks == TASKS and source.digest == dataset.digest
    clouds = source.load("recognition", PLAN, 0)
    assert clouds.train.points.shape == (12, 64, 3) and clouds.train.points.dtype == np.float32
    assert np.bincount(clouds.train.classes).tolist() == [3, 3, 3, 3]
    tests = [r for r in dataset if r.split == "test"]
    assert clouds.test.classes.tolist() == [NAMES.index((r.category, r.subcategory)) for r in tests]
    assert (clouds.outputs, clouds.parts, clouds.test.parts) == (4, (), None)
    normals = source.load("recognition-normals", PLAN, 0)
    assert normals.train.points.shape == (12, 64, 6)
    assert np.array_equal(normals.train.points[..., :3], clouds.train.points)
    assert np.allclose(np.linalg.norm(normals.test.points[..., 3:], axis=2), 1, atol=1e-5)
    parts = source.load("segmentation", PLAN, 0)
    defective = [r for r in tests if r.defect != "normal"]
    assert parts.test.points.shape == (len(defective), 96, 3)
    assert (parts.outputs, parts.classes, parts.parts) == (2, 4, ((0, 1),) * 4)


def test_clouds_lie_on_their_product_in_its_own_pose(dataset: Dataset) -> None:
    """This holds for both splits: the pose of a test cloud is undone, for its normals too."""
    task = OwnProducts(dataset).load("recognition-normals", PLAN, 0)
    normal = [r.defect == "normal" for r in dataset if r.split == "test"]
    for clouds, chosen in ((task.train, None), (task.test, np.array(normal))):
        points, classes = clouds.points[chosen], clouds.classes[chosen]
        for cloud, number in zip(points.reshape(-1, 64, 6), classes.reshape(-1), strict=True):
            mesh = product(NAMES[number][1])
            corners = mesh.vertices[mesh.faces].astype(np.float64)
            surface, facing = (
                corners.mean(axis=1),
                np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]),
            )
            # a choice of 64 points has a mean of its own, and an extent
            gap, near = cKDTree(unit_cloud(surface)).query(cloud[:, :3])
            assert np.median(gap) < 0.2
            facing /= np.linalg.norm(facing, axis=1, keepdims=True)
            assert np.mean((facing[near] * cloud[:, 3:]).sum(axis=1) > 0.5) > 0.6


def test_labels_are_those_of_the_file(dataset: Dataset) -> None:
    task = OwnProducts(dataset).load("segmentation", replace(PLAN, part_points=300), 0)
    assert task.test.parts is not None and task.train.parts is not None
    defective = [r for r in dataset if r.split == "test" and r.defect != "normal"]
    for record, parts in zip(defective, task.test.parts, strict=True):
        # 300 of 300 to 400 points, so nearly the same share
        assert parts.mean() == pytest.approx(record.n_anomalous / record.n_points, abs=0.1)
        assert 0 < parts.mean() < 1
    assert task.train.parts.any() and not task.train.parts.all()


def test_the_seed_decides_what_is_learnt_from_and_nothing_of_the_test(dataset: Dataset) -> None:
    source = OwnProducts(dataset)
    first, again, other = (source.load("segmentation", PLAN, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.train.points, again.train.points)
    assert not np.array_equal(first.train.points, other.train.points)
    assert np.array_equal(first.test.points, other.test.points)


def test_remarks_name_the_file_and_its_counts(dataset: Dataset) -> None:
    text = " ".join(OwnProducts(dataset).remarks)
    for words in (
        "small.h5",
        dataset.digest,
        "noise 0.002",
        "4 products",
        "16 test clouds",
        "8 of",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    ("category", "message"),
    [
        (Category("ball", ("round_ball",), 1, 2, {"bulge": 1}), "expected at least two products"),
        (Category("ball", ("round_ball", "long_ball"), 1, 2, {"bulge": 2}), "has no template"),
        (Category("ball", ("round_ball", "long_ball"), 2, 2, {}), "expected defective samples"),
    ],
)
def test_a_file_that_has_no_task_is_refused(
    category: Category, message: str, tmp_path: Path
) -> None:
    specification = Specification("small", "Small", (100, 120), (category,))
    made = make_dataset(tmp_path / "small.h5", specification)
    with open_dataset(made) as dataset, pytest.raises(InputError, match=message):
        OwnProducts(dataset)
