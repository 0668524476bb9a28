# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
import multiprocessing
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from intravariance.looking.cloud import CloudSource, LabelledCloud
from intravariance.looking.realism.comparison import (
    ALL,
    TWO_SAMPLE,
    GeneratorComparison,
    MeasuredDefect,
    _nearest,
    compare_generators,
    examine,
    grouped,
    suspicious,
)
from intravariance.looking.realism.figure import figure
from intravariance.looking.realism.measures import QUANTITIES
from intravariance.looking.realism.tables import CSV_FIELDS, csv_rows, markdown
from intravariance.looking.realism.two_sample import TwoSample
from intravariance.seeds import generator
from tests.support.samples import sphere_points

pytest.importorskip("open3d")
COUNT = 1500


def bumpy(
    number: int, defect: str, source: CloudSource, height: float, category: str = "ball"
) -> tuple[LabelledCloud, LabelledCloud]:
    """Make a sphere with a bump of a height that varies a little, and one without."""
    rng = generator(0, defect, category, str(number))
    pair = []
    for lifted in (True, False):
        ball = sphere_points(COUNT, rng)
        distance = np.linalg.norm(ball - sphere_points(1, rng), axis=1)
        lift = height * rng.uniform(0.8, 1.2) * np.clip(1 - distance / 0.5, 0, None)
        lift[(np.abs(lift) <= 0.002) | (not lifted)] = 0
        noise = 0.01 * rng.normal(size=ball.shape)
        pair.append(
            LabelledCloud(
                name=f"{defect}_{category}_{number}",
                category=category,
                subcategory=category,
                defect=defect if lifted else "normal",
                source=source,
                points=(ball * (1 + lift[:, None]) + noise).astype(np.float32),
                normals=ball.astype(np.float32),
                labels=(lift != 0).astype(np.uint8),
                displacement=(lift[:, None] * ball).astype(np.float32),
            )
        )
    return pair[0], pair[1]


def examined(
    number: int, defect: str, source: CloudSource, height: float, category: str
) -> MeasuredDefect:
    cloud, pristine = bumpy(number, defect, source, height, category)
    return examine(cloud, pristine, generator(0, cloud.name), radius=0.25)


@pytest.fixture(scope="module")
def objects() -> list[MeasuredDefect]:
    """Make bulges and concavities, generators of bulges and dents, and one that ran elsewhere."""
    kinds: Sequence[tuple[str, CloudSource, float, str]] = (
        ("bulge", "dataset", 0.15, "ball"),
        ("concavity", "dataset", -0.15, "ball"),
        ("make_bulge", "generator", 0.15, "ball"),
        ("make_dent", "generator", -0.15, "ball"),
        ("elsewhere", "generator", 0.15, "bead"),
    )
    return [examined(number, *kind) for kind in kinds for number in range(10)]


def test_the_right_generator_is_nearest(objects: list[MeasuredDefect]) -> None:
    result = compare_generators(objects, np.random.default_rng(0))
    at = {(item.generator, item.defect): item for item in result.comparisons}
    assert list(dict.fromkeys(item.defect for item in result.comparisons)) == [
        "bulge", "concavity", ALL,
    ]  # fmt: skip
    best = {(item.defect, item.criterion): item for item in result.nearest}
    for defect, made in (("bulge", "make_bulge"), ("concavity", "make_dent")):
        for criterion in (TWO_SAMPLE, "angle"):
            assert best[defect, criterion].generator == made
            assert best[defect, criterion].clear or criterion == TWO_SAMPLE
        match = at[made, defect]
        assert match.two_sample is not None and 0.3 < match.two_sample.auroc < 0.7
        assert match.control is not None and 0.3 < match.control.auroc < 0.7
        size = match.distances["magnitude_max"]
        assert size is not None and size.value < 3 * size.reference
    wrong = at["make_dent", "bulge"].distances["angle"]
    assert wrong is not None and wrong.value == pytest.approx(180, abs=15)
    both = at["make_bulge", ALL]
    assert (both.n_real, both.n_pseudo) == (20, 10)


def paired(objects: list[MeasuredDefect], made: str, real: str) -> list[MeasuredDefect]:
    """Make the objects of a generator counterparts of those of a defect type."""
    return [
        replace(
            item,
            descriptors=replace(item.descriptors, group=item.name.replace(made, real)),
        )
        if item.defect == made
        else item
        for item in objects
    ]


def test_a_defect_type_is_compared_with_its_own_counterparts(objects: list[MeasuredDefect]) -> None:
    some = [item for item in objects if item.defect in ("bulge", "concavity", "make_bulge")]
    result = compare_generators(paired(some, "make_bulge", "bulge"), np.random.default_rng(0))
    counts = {item.defect: (item.n_real, item.n_pseudo) for item in result.comparisons}
    assert counts == {"bulge": (10, 10), "concavity": (10, 10), ALL: (20, 10)}
    some = [item for item in some if item.defect != "bulge" or item.name[-1] in "12345"]
    result = compare_generators(paired(some, "make_bulge", "bulge"), np.random.default_rng(0))
    counts = {item.defect: (item.n_real, item.n_pseudo) for item in result.comparisons}
    assert counts["bulge"] == (5, 5)


def test_a_control_that_is_told_apart_is_suspicious(objects: list[MeasuredDefect]) -> None:
    some = [item for item in objects if item.defect in ("bulge", "make_bulge")]
    assert suspicious(compare_generators(some, np.random.default_rng(0))) == []
    other = [
        replace(
            item,
            descriptors=replace(item.descriptors, control=item.descriptors.control[:, ::-1].copy()),
        )
        if item.defect == "make_bulge"
        else item
        for item in some
    ]
    found = suspicious(compare_generators(other, np.random.default_rng(0)))
    assert [item.defect for item in found] == [ALL]


def test_below_a_half_is_as_far_from_real_as_above() -> None:
    low = TwoSample(auroc=0.2, low=0.1, high=0.3, radius=0.15, n_real=9, n_pseudo=9)
    near = TwoSample(auroc=0.55, low=0.45, high=0.65, radius=0.15, n_real=9, n_pseudo=9)
    rows = [
        GeneratorComparison(name, "bulge", 9, 9, test, None, dict.fromkeys(QUANTITIES))
        for name, test in (("twin", low), ("good", near))
    ]
    (best,) = _nearest(rows)
    assert (best.generator, best.value, best.clear) == ("good", 0.55, True)


def test_a_generator_is_compared_within_its_categories(objects: list[MeasuredDefect]) -> None:
    result = compare_generators(objects, np.random.default_rng(0))
    apart = [item for item in result.comparisons if item.generator == "elsewhere"]
    assert {item.n_real for item in apart} == {0}
    assert all(item.two_sample is None for item in apart)
    assert all(found is None for item in apart for found in item.distances.values())


def test_the_order_of_objects_changes_nothing(objects: list[MeasuredDefect]) -> None:
    some = [item for item in objects if item.defect in ("bulge", "make_bulge")]
    first = compare_generators(some, np.random.default_rng(1), folds=3)
    assert first == compare_generators(some[::-1], np.random.default_rng(1), folds=3)


def test_real_comes_before_pseudo_and_in_the_vocabularys_order(
    objects: list[MeasuredDefect],
) -> None:
    assert list(grouped(objects[::-1])) == [
        "bulge", "concavity", "elsewhere", "make_bulge", "make_dent",
    ]  # fmt: skip


def test_writers_agree(objects: list[MeasuredDefect]) -> None:
    result = compare_generators(objects, np.random.default_rng(0))
    rows = csv_rows(result)
    assert len(rows) == 3 * 3 * (2 + len(QUANTITIES))
    assert all(tuple(row) == CSV_FIELDS for row in rows)
    found = json.loads(json.dumps(asdict(result), allow_nan=False))
    text = markdown(result)
    for comparison in found["comparisons"]:
        mine = {
            row["measure"]: row
            for row in rows
            if (row["generator"], row["defect"]) == (comparison["generator"], comparison["defect"])
        }
        test = comparison["two_sample"]
        assert mine["two_sample"]["value"] == (test and test["auroc"])
        assert mine["two_sample"]["reference"] == (test and 0.5)
        for name, distance in comparison["distances"].items():
            for key in ("value", "low", "high", "reference"):
                assert mine[name][key] == (distance and distance[key])
            assert mine[name]["unit"] == QUANTITIES[name].unit
        if test:
            assert f"{test['auroc']:.2f} ({test['low']:.2f} to {test['high']:.2f})" in text
    for title in ("Largest displacement [radii]", "FPFH radius 0.25", "Nearest generator"):
        assert title in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {5}  # three columns and a head in each table


def test_no_generator_and_no_real_defect(objects: list[MeasuredDefect]) -> None:
    for some in ([], objects[:10], objects[20:30]):
        result = compare_generators(some, np.random.default_rng(0))
        assert result.comparisons == () and result.nearest == ()
        assert csv_rows(result) == []
        assert "Nearest" in markdown(result)


def test_the_picture_shows_the_groups(objects: list[MeasuredDefect]) -> None:
    picture = figure(objects, dpi=50)
    image = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    assert image.shape[1] == 650
    assert picture == figure(objects[::-1], dpi=50)
    # a group more is more ink of its own colour
    fewer = figure([item for item in objects if item.defect != "make_dent"], dpi=50)
    less = np.asarray(Image.open(io.BytesIO(fewer)).convert("RGB")).astype(int)
    assert _greenish(image) > 3 * _greenish(less)
    assert Image.open(io.BytesIO(figure([], dpi=50))).width == 650


def _greenish(image: np.ndarray) -> int:
    red, green, blue = image.transpose(2, 0, 1)
    return int(((green - red > 40) & (green - blue > 10)).sum())


def test_objects_are_made_in_worker_processes() -> None:
    """A process of its own sends back exactly what is made here."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        sent = pool.apply(examined, (0, "bulge", "dataset", 0.15, "ball"))
    here = examined(0, "bulge", "dataset", 0.15, "ball")
    assert sent.measures == here.measures
    np.testing.assert_array_equal(sent.profile, here.profile)
    np.testing.assert_array_equal(sent.descriptors.defect, here.descriptors.defect)


def test_a_scan_has_the_figures_that_need_no_pristine_surface() -> None:
    cloud, _ = bumpy(0, "bulge", "scan", 0.15)
    scan = LabelledCloud(
        "scan", "ball", "ball", "bulge", "scan", cloud.points, cloud.normals, cloud.labels
    )
    found = examine(scan, None, np.random.default_rng(0))
    assert found.measures.area_share == pytest.approx(float(cloud.labels.mean()))
    assert found.measures.angle is found.measures.curvature_change is None
    assert np.isnan(found.profile).all()
