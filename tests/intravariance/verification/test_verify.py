# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

import tests.support.samples
from intravariance.dataset.schema import ARRAYS
from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.store import Sample, open_dataset
from intravariance.errors import InputError, IVError
from intravariance.verification.verify import Report, _Verification, verify
from tests.support.samples import make_dataset, small_specification, with_points

SMALL = small_specification()
BALLS = replace(SMALL, categories=SMALL.categories[:1])  # where one category shows it all


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("verify") / "small.h5")


@pytest.fixture
def copy(file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(file, tmp_path / "copy.h5"))


def failed(path: Path) -> dict[str, str]:
    """Return the checks that fail, with their messages."""
    return {c.name: c.message for c in verify(path, probes=False).checks if not c.passed}


@pytest.mark.parametrize("sigma", [0.0447, 0.002, 0.0])
def test_an_honest_file_passes(sigma: float, tmp_path: Path) -> None:
    report = verify(make_dataset(tmp_path / "a.h5", sigma=sigma))
    assert report.passed, report.failures()
    content = report.to_dict()
    assert json.loads(json.dumps(content)) == content | {
        "checks": list(content["checks"]),
        "probes": list(content["probes"]),
    }


def test_verify_says_the_same_again(file: Path) -> None:
    assert verify(file) == verify(file)


def test_tolerance_widens_what_is_expected(tmp_path: Path) -> None:
    """Test samples vary smoothly by up to 0.03: too much without the tolerance, fine with it."""

    def vary(sample: Sample, rng: np.random.Generator) -> Sample:
        if sample.split == "train":
            return sample
        return with_points(sample, sample.points + 0.03 * sample.normals)

    plain = make_dataset(tmp_path / "plain.h5", sigma=0.002, change=vary)
    assert {"surface", "noise"} <= failed(plain).keys()
    tolerant = replace(SMALL, tolerance=0.03)
    wide = make_dataset(tmp_path / "wide.h5", tolerant, sigma=0.002, change=vary)
    assert verify(wide, probes=False).passed


# --- tampering with the file


def edit(path: Path, change: Callable[[h5py.File], None]) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def test_a_flipped_label(copy: Path) -> None:
    def flip(file: h5py.File) -> None:
        file["ball/test/ball_test_000/labels"][7] ^= 1

    assert {"digests", "content digest"} <= failed(edit(copy, flip)).keys()


def test_a_changed_point_parameter_and_digest(copy: Path) -> None:
    def change(file: h5py.File) -> None:
        file["ball/test/ball_test_000/points"][7, 0] += 1e-3
        file["ball/test/ball_test_001"].attrs["parameters"] = np.bytes_("{}")
        file["ball/test/ball_test_002"].attrs["digest"] = np.bytes_("0" * 64)

    found = failed(edit(copy, change))
    assert "ball_test_000" in found["digests"]
    assert "ball_test_001" in found["digests"]
    assert "ball_test_002" in found["structure"]


def test_what_is_missing_or_does_not_belong(copy: Path) -> None:
    def change(file: h5py.File) -> None:
        file["ball/notes"] = 1
        file["ball/test/ball_test_000"].attrs["note"] = 1
        file["ball/test/ball_test_001/extra"] = np.zeros(3)
        del file["ball/test/ball_test_002/labels"]

    found = failed(edit(copy, change))
    for name in ("ball/notes", "attribute note", "extra: does not belong", "labels: missing"):
        assert any(name in message for message in verify_all(copy, "structure")), name
    assert "ball_test_002/labels: missing" in found["readable"]


def verify_all(path: Path, name: str) -> list[str]:
    """Return all problems of a check (the report shows the first three only)."""
    verification = _Verification(open_dataset(path), probes=False)
    verification.report()
    return verification.problems[name]


def test_a_removed_sample_is_missed_everywhere(copy: Path) -> None:
    def remove(file: h5py.File) -> None:
        table = file["samples"][()]
        del file["samples"], file["ball/test/ball_test_000"]
        file["samples"] = table[table["id"] != b"ball_test_000"]

    found = failed(edit(copy, remove))
    assert {"counts", "content digest"} <= found.keys()
    assert "expected" in found["counts"]


def test_header_cannot_be_edited(copy: Path) -> None:
    def edit_sigma(file: h5py.File) -> None:
        file.attrs["noise_sigma"] = 0.002

    assert "noise_sigma" in failed(edit(copy, edit_sigma))["structure"]


# --- files whose digests are right and whose content is wrong


def one(target: str, change: Callable[[Sample], Sample]) -> tests.support.samples.Change:
    """Make a change to one sample that is `target`: a defect, "normal" (test) or "train"."""
    done = []

    def apply(sample: Sample, rng: np.random.Generator) -> Sample:
        kind = "train" if sample.split == "train" else sample.defect
        # not a round ball: it looks the same in any pose
        if done or kind != target or sample.subcategory != "long_ball":
            return sample
        done.append(sample.id)
        return change(sample)

    return apply


def with_nan(sample: Sample) -> Sample:
    points = sample.points.copy()
    points[3, 1] = np.nan
    return replace(sample, points=points)


def without_labels(sample: Sample) -> Sample:
    return replace(sample, labels=np.zeros_like(sample.labels))


def all_labelled(sample: Sample) -> Sample:
    return replace(sample, labels=np.ones_like(sample.labels))


def backwards(sample: Sample) -> Sample:
    return replace(sample, displacement=-sample.displacement)


def labelled_first(sample: Sample) -> Sample:
    order = np.argsort(-sample.labels.astype(int), kind="stable")
    arrays = {n: getattr(sample, n)[order] for n in ARRAYS}
    return replace(sample, **arrays)


def mirrored(sample: Sample) -> Sample:
    return replace(sample, pose=sample.pose @ np.diag([-1.0, 1, 1, 1]))


def lost(sample: Sample) -> Sample:
    pose = sample.pose.copy()
    pose[0, 3] = 1e300
    return replace(sample, pose=pose)


def enormous(sample: Sample) -> Sample:
    points = sample.points.copy()
    points[3] = 3e38
    return replace(sample, points=points)


def short_normals(sample: Sample) -> Sample:
    return replace(sample, normals=sample.normals * np.float32(0.9))


def unturned_normals(sample: Sample) -> Sample:
    """Put normals of the unit-sphere frame into a posed sample."""
    normals = sample.normals @ sample.pose[:3, :3].astype(np.float32)
    return replace(sample, normals=normals)


def turned_over(sample: Sample) -> Sample:
    return replace(sample, normals=-sample.normals)


def unknown_defect(sample: Sample) -> Sample:
    return replace(sample, defect="rust")


def other_pose(sample: Sample) -> Sample:
    """Record a pose that is not that of the points."""
    return replace(sample, pose=sample.pose[[1, 2, 0, 3]])


def far_away(sample: Sample) -> Sample:
    return with_points(sample, sample.points * 2)


def without_mesh(sample: Sample) -> Sample:
    return replace(sample, mesh=None)


def label_two(sample: Sample) -> Sample:
    return replace(sample, labels=sample.labels * np.uint8(2))


def few_points(sample: Sample) -> Sample:
    return replace(sample, **{n: getattr(sample, n)[:100] for n in ARRAYS})


def moved_normal(sample: Sample) -> Sample:
    return replace(sample, displacement=sample.displacement + np.float32(0.01))


def defective_template(sample: Sample) -> Sample:
    return replace(sample, defect="bulge")


def other_product(sample: Sample) -> Sample:
    return replace(sample, subcategory="round_ball")


@pytest.mark.parametrize(
    ("target", "change", "check"),
    [
        ("normal", with_nan, "finite values"),
        ("bulge", with_nan, "finite values"),
        ("bulge", without_labels, "labels"),
        ("missing", without_labels, "finite values"),
        ("bulge", all_labelled, "labels"),
        ("missing", all_labelled, "labels"),
        ("normal", all_labelled, "labels"),
        ("normal", moved_normal, "labels"),
        ("bulge", label_two, "ranges"),
        ("bulge", backwards, "surface"),
        ("bulge", labelled_first, "point order"),
        ("normal", mirrored, "pose"),
        ("normal", lost, "pose"),
        ("normal", far_away, "size"),
        ("bulge", enormous, "size"),
        ("normal", other_pose, "surface"),
        ("normal", short_normals, "ranges"),
        ("missing", unturned_normals, "normals"),
        ("train", turned_over, "normals"),
        ("bulge", unknown_defect, "labels"),
        ("normal", few_points, "ranges"),
        ("train", without_mesh, "split"),
        ("train", defective_template, "split"),
        ("train", defective_template, "counts"),
        ("bulge", other_product, "surface"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_wrong_content(
    target: str, change: Callable[[Sample], Sample], check: str, tmp_path: Path
) -> None:
    path = make_dataset(tmp_path / "a.h5", BALLS, sigma=0.002, change=one(target, change))
    found = failed(path)
    assert check in found
    assert not {"digests", "content digest"} & found.keys(), found


def test_two_samples_with_the_same_points(tmp_path: Path) -> None:
    points: list[np.ndarray] = []

    def share(sample: Sample, rng: np.random.Generator) -> Sample:
        if sample.defect != "normal" or sample.split == "train":
            return sample
        points.append(sample.points)
        if len(points) != 2:
            return sample
        common = min(len(points[0]), len(sample.points)) // 2  # half of the cloud
        return with_points(sample, np.concatenate([points[0][:common], sample.points[common:]]))

    found = failed(make_dataset(tmp_path / "a.h5", change=share))
    assert "ball_test" in found["twins"]


@pytest.mark.parametrize(("made", "recorded"), [(0.0447, 0.002), (0.002, 0.0447), (0.0447, 0.036)])
def test_another_noise_than_recorded(
    made: float, recorded: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = tests.support.samples.make_sample
    monkeypatch.setattr(
        tests.support.samples, "make_sample", lambda job, seed, *_: honest(job, seed, made)
    )
    found = failed(make_dataset(tmp_path / "a.h5", BALLS, sigma=recorded))
    assert f"recorded {recorded:.4f}" in found["noise"]


def test_products_of_few_points_are_not_measured_and_nothing_fails_for_them(tmp_path: Path) -> None:
    file = make_dataset(tmp_path / "a.h5", small_specification(points=(16, 24)))
    assert "noise" not in failed(file)


def test_unlabelled_defects_are_seen_in_the_geometry(tmp_path: Path) -> None:
    """Labels and displacement of all bulges removed: every other check would be content."""

    def hide(sample: Sample, rng: np.random.Generator) -> Sample:
        if sample.defect != "bulge":
            return sample
        labels, displacement = sample.labels.copy(), sample.displacement.copy()
        keep = np.flatnonzero(labels)[0]
        labels[:] = 0
        labels[keep] = 1
        displacement[np.arange(len(labels)) != keep] = 0
        return replace(sample, labels=labels, displacement=displacement)

    found = failed(make_dataset(tmp_path / "a.h5", sigma=0.002, change=hide))
    assert set(found) == {"surface"}


# --- damage


def test_any_flipped_bit_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    """A file that still verifies after a bit flip has the same content, by its digest: the bit lay
    in bytes that hold no data (HDF5 allocates more than it uses)."""
    specification = Specification(
        "tiny", "", (90, 120), (Category("brick", ("flat_brick",), 1, 1, {"bulge": 1}),)
    )
    honest = make_dataset(tmp_path / "a.h5", specification)
    before = verify(honest, probes=False)
    assert before.passed, before.failures()
    content = honest.read_bytes()
    rng = np.random.default_rng(0)
    damaged = tmp_path / "b.h5"
    noticed = 0
    # the arrays fill the rest of the file; most of its first half is HDF5's own
    for place in rng.integers(len(content), size=60):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        damaged.write_bytes(changed)
        try:
            after = verify(damaged, probes=False)
        except IVError:
            noticed += 1
            continue
        assert not after.passed or same(before, after), f"byte {place}"
        noticed += not after.passed
    assert noticed > 5


def same(before: Report, after: Report) -> bool:
    return (before.digest, before.checks) == (after.digest, after.checks)


def test_not_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        verify(tmp_path / "missing.h5")
