# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from intravariance.errors import BackendUnavailable
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.realism.two_sample import (
    Descriptors,
    _chances,
    describe_shape,
    fpfh,
    load_open3d,
    two_sample_test,
)
from tests.support.samples import sphere_points

open3d = pytest.importorskip("open3d")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def bumpy(seed: int, height: float = 0.1, sigma: float = 0.01, count: int = 3000) -> LabelledCloud:
    """Make a sphere with a smooth bump somewhere."""
    draw = rng(seed)
    ball = sphere_points(count, draw)
    centre = sphere_points(1, draw)
    distance = np.linalg.norm(ball - centre, axis=1)
    lift = height * np.clip(1 - (distance / 0.4) ** 2, 0, None) ** 2
    lift[np.abs(lift) <= 0.002] = 0
    points = ball * (1 + lift[:, None]) + sigma * draw.normal(size=ball.shape)
    return LabelledCloud(
        name=f"ball_{height:g}_{seed}",
        category="ball",
        subcategory="round_ball",
        defect="bulge",
        source="dataset",
        points=points.astype(np.float32),
        normals=ball.astype(np.float32),
        labels=(lift != 0).astype(np.uint8),
        displacement=(lift[:, None] * ball).astype(np.float32),
    )


def drawn(
    count: int, shift: float, seed: int, category: str = "ball", points: int = 20
) -> list[Descriptors]:
    """Draw objects with Gaussian rows and an offset each; the first column is shifted."""
    draw = rng(seed)
    objects = []
    for number in range(count):
        rows = draw.normal(size=(2, points, 33)) + 0.5 * draw.normal(size=(2, 1, 33))
        rows[0, :, 0] += shift
        defect, control = rows.astype(np.float32)
        name = f"{category}{seed}_{number}"
        objects.append(Descriptors(name, category, defect, control, 0.15, name))
    return objects


def test_a_missing_system_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open3d.py").write_text(
        "raise OSError('libusb-1.0.so.0: cannot open shared object file')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "open3d")
    with pytest.raises(BackendUnavailable, match=r"libusb-1.0.so.0.*apt-get install libusb"):
        load_open3d()


def test_descriptors_are_those_of_the_whole_cloud() -> None:
    cloud = bumpy(0)
    points, normals = cloud.points.astype(float), cloud.normals.astype(float)
    queries = rng().permutation(3000)[:50]
    found = fpfh(points, normals, queries, 0.3)
    whole = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    whole.estimate_normals(open3d.geometry.KDTreeSearchParamRadius(0.2))
    whole.orient_normals_to_align_with_direction()
    estimated = np.asarray(whole.normals)
    estimated *= np.sign((estimated * points).sum(axis=1, keepdims=True))  # a sphere's point out
    whole.normals = open3d.utility.Vector3dVector(estimated)
    expected = open3d.pipelines.registration.compute_fpfh_feature(
        whole, open3d.geometry.KDTreeSearchParamRadius(0.3)
    ).data.T
    np.testing.assert_allclose(found, expected[queries], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.reshape(-1, 3, 11).sum(axis=2), 200, rtol=1e-4)


@pytest.mark.parametrize("radius", [0.1, 0.15, 0.3, 1.5])
def test_descriptors_are_the_same_without_points_that_they_do_not_see(radius: float) -> None:
    cloud = bumpy(3, sigma=0.03)
    points, normals = cloud.points.astype(float), cloud.normals.astype(float)
    queries = rng(1).choice(np.flatnonzero(points[:, 2] > 0.8), 40, replace=False)
    everywhere = fpfh(points, normals, np.arange(len(points)), radius)  # nothing is left out
    np.testing.assert_array_equal(fpfh(points, normals, queries, radius), everywhere[queries])


def test_described_are_the_defect_and_a_patch_that_cannot_see_it() -> None:
    cloud = bumpy(1)
    made = describe_shape(cloud, rng(), radius=0.15, limit=30)
    assert made.defect.shape == made.control.shape == (30, 33)
    assert (made.name, made.category, made.radius) == (cloud.name, "ball", 0.15)
    assert made.group == cloud.name
    assert describe_shape(cloud, rng(), limit=3, group="another").group == "another"
    again = describe_shape(cloud, rng(), radius=0.15, limit=30)
    np.testing.assert_array_equal(made.defect, again.defect)
    # without the defect the control is the same: it does not see it
    still = replace(cloud, points=cloud.points - cloud.displacement)
    healed = describe_shape(still, rng(), radius=0.15, limit=30)
    np.testing.assert_array_equal(made.control, healed.control)
    assert np.abs(made.defect - healed.defect).max() > 1


def test_a_defect_all_over_leaves_no_control_and_a_small_one_has_few_points() -> None:
    cloud = bumpy(2)
    everywhere = describe_shape(
        replace(cloud, labels=np.ones(3000, dtype=np.uint8)), rng(), limit=30
    )
    assert everywhere.defect.shape == (30, 33) and everywhere.control.shape == (0, 33)
    labels = np.zeros(3000, dtype=np.uint8)
    labels[:3] = 1
    assert describe_shape(replace(cloud, labels=labels), rng()).defect.shape == (3, 33)


def test_bumps_and_dents_are_told_apart_and_bumps_and_bumps_are_not() -> None:
    bumps = [describe_shape(bumpy(seed, 0.25), rng(seed), 0.2, 24) for seed in range(24)]
    dents = [describe_shape(bumpy(seed, -0.25), rng(seed), 0.2, 24) for seed in range(24, 36)]
    differ = two_sample_test(bumps[:12], dents, rng())
    alike = two_sample_test(bumps[:12], bumps[12:], rng())
    control = two_sample_test(bumps[:12], dents, rng(), part="control")
    assert differ is not None and alike is not None and control is not None
    assert differ.auroc > 0.75 and differ.low > 0.7
    assert 0.35 < alike.auroc < 0.65
    assert 0.35 < control.auroc < 0.65
    assert (differ.n_real, differ.n_pseudo, differ.radius) == (12, 12, 0.2)


def test_equal_groups_are_at_chance_on_average() -> None:
    found = [
        two_sample_test(drawn(9, 0, 2 * k), drawn(14, 0, 2 * k + 1), rng(), resamples=200)
        for k in range(12)
    ]
    areas = [item.auroc for item in found if item]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.05)
    assert sum(item.low <= 0.5 <= item.high for item in found if item) >= 9


def counterparts(seed: int) -> tuple[list[Descriptors], list[Descriptors]]:
    """Draw real and pseudo objects from one distribution, in pairs; products look alike."""
    draw = rng(seed)
    sides: tuple[list[Descriptors], list[Descriptors]] = ([], [])
    for product in range(6):
        look = draw.normal(size=33)
        for number in range(3):
            for side, objects in enumerate(sides):
                rows = look + 0.5 * draw.normal(size=33) + draw.normal(size=(12, 33))
                name = f"{product}_{number}"
                rows = rows.astype(np.float32)
                objects.append(
                    Descriptors(f"{name}_{side}", f"c{product % 2}", rows, rows[:0], 0.15, name)
                )
    return sides


def test_counterparts_on_the_same_products_are_at_chance() -> None:
    """A real object that is held out apart from its counterpart is taken for a pseudo one.

    The classifier has seen more pseudo-defects of its product than real ones.
    """
    found, apart = [], []
    for seed in range(10):
        real, pseudo = counterparts(seed)
        found.append(two_sample_test(real, pseudo, rng(), repeats=1, resamples=200))
        alone = [replace(item, group=item.name) for item in pseudo]
        apart.append(two_sample_test(real, alone, rng(), repeats=1, resamples=10))
    areas, biased = ([item.auroc for item in some if item] for some in (found, apart))
    assert np.mean(areas) == pytest.approx(0.5, abs=0.04)
    assert np.mean(biased) < 0.45  # or this test could not fail
    assert sum(item.low <= 0.5 <= item.high for item in found if item) >= 8


def test_shifted_groups_reach_what_the_shift_allows() -> None:
    # row-wise: the difference of two values has variance 2 (1 + 0.25), the mean is 4
    found = two_sample_test(drawn(30, 0, 0), drawn(30, 4, 1), rng())
    assert found is not None
    assert found.auroc == pytest.approx(0.994, abs=0.02)
    assert found.low <= found.auroc <= found.high


def test_the_order_of_objects_changes_nothing() -> None:
    real, pseudo = drawn(8, 0, 0), drawn(6, 1, 1)
    found = two_sample_test(real, pseudo, rng())
    assert found == two_sample_test(real[::-1], [*pseudo[3:], *pseudo[:3]], rng())


def test_a_difference_between_categories_is_none_between_defects() -> None:
    """One category is far away, and is the most of one side and the least of the other."""
    far = [
        replace(item, defect=item.defect + 10)
        for item in (*drawn(16, 0, 0, "far"), *drawn(5, 0, 1, "far"))
    ]
    near = [*drawn(5, 0, 2, "near"), *drawn(16, 0, 3, "near")]
    found = two_sample_test([*far[:16], *near[:5]], [*far[16:], *near[5:]], rng())
    assert found is not None
    assert 0.38 < found.auroc < 0.62


def test_an_object_with_many_points_weighs_as_much_as_one_with_few() -> None:
    few, many = drawn(10, 0, 0, points=5), drawn(10, 0, 1, points=5)
    repeated = [replace(item, defect=np.tile(item.defect, (6, 1))) for item in many[:3]]
    found = two_sample_test(few, many, rng())
    again = two_sample_test(few, [*repeated, *many[3:]], rng())
    assert found is not None and again is not None
    assert again.auroc == pytest.approx(found.auroc, abs=1e-3)


def test_chances_are_the_auroc_of_each_pair() -> None:
    draw = rng(5)
    higher = [draw.integers(0, 6, size=n).astype(float) for n in (1, 4, 7)]
    lower = [draw.integers(0, 6, size=n).astype(float) for n in (3, 2)]
    expected = [
        [roc_auc_score([1] * len(a) + [0] * len(b), [*a, *b]) for b in lower] for a in higher
    ]
    np.testing.assert_allclose(_chances(higher, lower), expected)


def test_too_few_objects_no_common_category_and_different_radii() -> None:
    assert two_sample_test(drawn(3, 0, 0), drawn(9, 0, 1), rng()) is None
    assert two_sample_test([], [], rng()) is None
    assert two_sample_test(drawn(9, 0, 0, "cup"), drawn(9, 0, 1, "jug"), rng()) is None
    blind = [replace(item, control=item.control[:0]) for item in drawn(9, 0, 0)]
    assert two_sample_test(blind, drawn(9, 0, 1), rng(), part="control") is None
    assert two_sample_test(blind, drawn(9, 0, 1), rng()) is not None
    wide = [replace(item, radius=0.3) for item in drawn(9, 0, 0)]
    with pytest.raises(ValueError, match="different radii"):
        two_sample_test(wide, drawn(9, 0, 1), rng())
    assert two_sample_test(drawn(4, 0, 0), drawn(4, 0, 1), rng()) is not None
