# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import cKDTree
from scipy.stats import norm

from annotations.vocabulary import NORMAL
from intravariance.building.plan import SampleJob
from intravariance.dataset.schema import ARRAYS
from intravariance.dataset.specification_reader import load_group
from intravariance.dataset.store import Sample
from intravariance.verification.probes import PROBES, Measured, Probe, evaluate
from intravariance.verification.verify import verify
from tests.support.samples import (
    Change,
    make_dataset,
    make_sample,
    only_defective,
    small_specification,
    with_points,
)

SPECIFICATION = small_specification(positives=20, defects=10)
BLIND = {name for name, kind in PROBES.items() if kind.blind}
numbers = arrays(np.float64, st.integers(1, 20), elements=st.integers(-3, 3).map(float))


def measured(category: str, positive: np.ndarray, negative: np.ndarray) -> list[Measured]:
    return [
        Measured(category, defective, dict.fromkeys(PROBES, float(value)) | {"viewpoint": np.nan})
        for defective, values in ((True, positive), (False, negative))
        for value in values
    ]


def first_probe(items: list[Measured]) -> Probe:
    return evaluate(items, np.random.default_rng(0))[0]


def test_categories_are_weighted_by_their_pairs_and_not_mixed() -> None:
    # the second category lies far above the first, which must not matter
    items = measured("a", np.arange(10.0) + 100, np.arange(10.0))
    items += measured("b", np.arange(5.0) + 1000, np.arange(4.0) + 2000)
    probe = first_probe(items)
    assert probe.categories == {"a": 1.0, "b": 0.0}
    assert probe.auroc == pytest.approx(100 / 120)


def test_permutation_test_and_interval_against_the_normal_approximation() -> None:
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(0.5, size=60), rng.normal(size=50)
    probe = first_probe(measured("a", positive, negative))
    error = np.sqrt((60 + 50 + 1) / (12 * 60 * 50))
    assert probe.p_value == pytest.approx(2 * norm.sf(abs(probe.auroc - 0.5) / error), abs=0.004)
    assert (probe.high - probe.low) / 2 == pytest.approx(2.576 * error, rel=0.15)
    assert probe.low < probe.auroc < probe.high


def test_a_handful_of_samples_proves_nothing() -> None:
    assert first_probe(measured("a", np.array([1.0]), np.array([0.0]))).passed
    assert first_probe(measured("a", np.arange(3.0) + 9, np.arange(3.0))).passed


def test_a_probe_whose_interval_leaves_out_chance_passes_with_a_reason_alone() -> None:
    # a small effect in many samples; a larger one that may be chance, as one of many probes; none
    for offset, size in ((0.12, 1500), (0.95, 20), (0.0, 50)):
        quantiles = norm.ppf((np.arange(size) + 0.5) / size)
        items = measured("a", quantiles + offset, quantiles)
        if size > 100:  # of the other probes nothing is known: they take long
            others = dict.fromkeys(PROBES, float("nan"))
            items = [replace(i, values={**others, "points": i.values["points"]}) for i in items]
        probe = first_probe(items)
        assert probe.passed
        assert bool(probe.reason) == (not probe.low <= 0.5 <= probe.high)
        assert bool(probe.reason) == bool(offset)
    failed = first_probe(measured("a", np.arange(50.0) + 50, np.arange(50.0)))
    assert not failed.passed
    assert not failed.reason


def test_samples_without_a_number_are_left_out() -> None:
    items = measured("a", np.array([1.0, np.nan]), np.array([0.0]))
    assert first_probe(items).auroc == 1
    assert (
        evaluate(measured("a", np.array([np.nan]), np.array([0.0])), np.random.default_rng()) == []
    )


@pytest.mark.parametrize("viewpoint", [np.nan, 1.0])
def test_density_far_from_labels_is_not_judged_where_viewpoints_see_squarely(
    viewpoint: float,
) -> None:
    items = [
        replace(
            item, values={**item.values, "density": float(item.defective), "viewpoint": viewpoint}
        )
        for item in measured("a", np.zeros(20), np.zeros(20))
    ]
    probes = {probe.name: probe for probe in evaluate(items, np.random.default_rng(0))}
    assert probes["density"].auroc == 1
    assert probes["density"].passed is bool(np.isfinite(viewpoint))
    assert ("viewpoint" in probes) is bool(np.isfinite(viewpoint))


@pytest.mark.parametrize(("angle", "offset", "blind"), [(0, 0, False), (1, 0, True), (0, 1, True)])
def test_the_centroid_as_stored_may_tell_defects_in_canonical_poses_only(
    angle: float, offset: float, blind: bool
) -> None:
    posed = {"pose angle": angle, "pose offset": offset}
    items = [
        replace(item, values={**item.values, **posed, "stored centroid": float(item.defective)})
        for item in measured("a", np.zeros(20), np.zeros(20))
    ]
    probes = {probe.name: probe for probe in evaluate(items, np.random.default_rng(0))}
    assert probes["stored centroid"].auroc == 1
    assert probes["stored centroid"].blind is blind
    assert probes["stored centroid"].passed is not blind


# --- at the size of Group 2


def group2_sizes(rng: np.random.Generator, factor: float) -> list[Measured]:
    """Give Group 2's test samples an honest number of points, times a factor if defective."""
    specification = load_group(2).select()
    return [
        Measured(
            category.name,
            defect != NORMAL,
            dict.fromkeys(
                PROBES,
                rng.integers(*specification.points) * (1 if defect == NORMAL else factor),
            ),
        )
        for category in specification.categories
        for (split, defect), count in category.counts().items()
        for _ in range(count if split == "test" else 0)
    ]


def test_at_the_size_of_group_2_ten_percent_fewer_points_fail_and_honest_ones_pass() -> None:
    rng = np.random.default_rng(2)
    for _ in range(3):
        assert first_probe(group2_sizes(rng, 1)).passed
        assert not first_probe(group2_sizes(rng, 0.9)).passed


# --- whole files, honest and with each shortcut planted


def failing(path: Path) -> set[str]:
    report = verify(path)
    assert {probe.name for probe in report.probes} == set(PROBES) - {"viewpoint"}
    return {probe.name for probe in report.probes if not probe.passed}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_honest_file_has_no_shortcut(seed: int, tmp_path: Path) -> None:
    assert failing(make_dataset(tmp_path / "a.h5", SPECIFICATION, seed=seed)) == set()


def fewer_points(sample: Sample, rng: np.random.Generator) -> Sample:
    count = len(sample.points) * 4 // 5
    return replace(sample, **{name: getattr(sample, name)[:count] for name in ARRAYS})


def less_noise(sample: Sample, rng: np.random.Generator) -> Sample:
    job = SampleJob(
        sample.id, sample.category, sample.subcategory, "test", sample.defect, len(sample.points)
    )
    return make_sample(job, sigma=0.8 * 0.0447)


def shifted(sample: Sample, rng: np.random.Generator) -> Sample:
    return with_points(sample, sample.points + 0.03 * sample.pose[:3, 0])


def scaled(sample: Sample, rng: np.random.Generator) -> Sample:
    return with_points(sample, 1.03 * sample.points)


def upright(sample: Sample, rng: np.random.Generator) -> Sample:
    turned = {
        name: (getattr(sample, name) @ sample.pose[:3, :3]).astype(np.float32)
        for name in ("points", "normals", "displacement")
    }
    pose = np.eye(4)
    pose[:3, 3] = sample.pose[:3, 3] @ sample.pose[:3, :3]
    return replace(sample, pose=pose, **turned)


def far_put(sample: Sample, rng: np.random.Generator) -> Sample:
    """Put down farther from the origin than normal samples are."""
    pose = sample.pose.copy()
    pose[:3, 3] *= 1.6
    moved = sample.points + (pose - sample.pose)[:3, 3].astype(np.float32)
    return replace(with_points(sample, moved), pose=pose)


def evenly_spaced(sample: Sample, rng: np.random.Generator) -> Sample:
    """Push points away from their nearest neighbours, as a blue-noise sampler would."""
    points = sample.points.astype(np.float64)
    for _ in range(3):
        away = points - points[cKDTree(points).query(points, k=2)[1][:, 1]]
        points += 0.3 * away
    return with_points(sample, points)


def thinner_elsewhere(sample: Sample, rng: np.random.Generator) -> Sample:
    """Keep the number of points, but put a sixth of those elsewhere on the defect."""
    labelled, rest = np.flatnonzero(sample.labels), np.flatnonzero(sample.labels == 0)
    moved = rng.choice(rest, len(rest) // 6, replace=False)
    copied = np.arange(len(sample.labels))
    copied[moved] = rng.choice(labelled, len(moved))
    changed = {name: getattr(sample, name)[copied] for name in ARRAYS}
    changed["points"][moved] += rng.normal(scale=0.0447, size=(len(moved), 3)).astype(np.float32)
    return replace(sample, **changed)


@pytest.mark.parametrize(
    ("change", "probes"),
    [
        (fewer_points, {"points"}),
        (less_noise, {"noise"}),
        (shifted, {"frame shift"}),
        (scaled, {"scale"}),
        (upright, {"pose angle"}),
        (far_put, {"pose offset", "stored centroid", "stored radius"}),
        (evenly_spaced, {"spacing"}),
        (thinner_elsewhere, {"density"}),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_planted_shortcut_is_caught(change: Change, probes: set[str], tmp_path: Path) -> None:
    path = make_dataset(tmp_path / "a.h5", SPECIFICATION, change=only_defective(change))
    found = failing(path)
    assert probes <= found
    assert found <= BLIND


def test_a_sorted_file_is_caught(tmp_path: Path) -> None:
    def order(sample: Sample) -> tuple[str, bool, bool]:
        return sample.category, sample.split == "test", sample.defect != NORMAL

    assert failing(make_dataset(tmp_path / "a.h5", SPECIFICATION, order=order)) == {"order"}


def test_normal_samples_of_another_instance_are_caught(tmp_path: Path) -> None:
    """The leak of the paper's Group 2: its normal test samples are of other instances than its
    templates, its defective ones are not."""

    def other_instance(sample: Sample, rng: np.random.Generator) -> Sample:
        if sample.defect != NORMAL or sample.split == "train":
            return sample
        return with_points(sample, sample.points * np.float32([1, 1.25, 0.8]))

    path = make_dataset(tmp_path / "a.h5", SPECIFICATION, change=other_instance)
    report = verify(path)
    probe = next(p for p in report.probes if p.name == "raw distance")
    assert not probe.passed
    assert probe.auroc < 0.3, "defective samples are nearer to the templates, as in the paper"
