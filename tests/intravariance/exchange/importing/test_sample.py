# SPDX-License-Identifier: Apache-2.0
"""One foreign cloud as a sample: its size, its frame, and what is done with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intravariance.cloud_files import parse_cloud, write_pcd, write_text
from intravariance.exchange.importing import sample as imported_sample_module
from intravariance.exchange.importing.sample import (
    BadScan,
    ImportJob,
    Treatment,
    cloud_extent,
    imported_sample,
)
from intravariance.exchange.layouts import find_scans
from intravariance.exchange.layouts.folder import read_scan
from tests.support.foreign_trees import ball, write_tree


def test_measure(tmp_path: Path) -> None:
    points = np.zeros((20, 3), dtype=np.float32)
    points[:, 2] = 0.001  # several points at 0 are taken for places without a return
    points[0] = (10, 0, 0)
    points[1] = (10, 4, 0)
    root = write_tree(tmp_path / "t", {"train/a.pcd": write_pcd(points), "train/b.pcd": b"x"})
    jobs = [ImportJob(s, "a", "t", "t", "normal", "t") for s in find_scans("folder", root)]
    good, bad = map(cloud_extent, jobs)
    assert not isinstance(good, BadScan)
    centre = points.mean(axis=0, dtype=float)
    assert good.radius == pytest.approx(np.linalg.norm(points[1] - centre))
    assert good.reach == pytest.approx(np.sqrt(116))
    assert isinstance(bad, BadScan) and "b.pcd" in bad.reason


def test_treatment(tmp_path: Path) -> None:
    """A subset keeps each point's label; y goes up; pose and noise are for test samples alone."""
    points, labels = ball(500, np.random.default_rng(0), bump=0.5)
    files = {"test/dent/a.txt": write_text(points, labels=labels, header=True)}
    root = write_tree(tmp_path / "t", files)
    scan = find_scans("folder", root)[0]
    job = ImportJob(scan, "t_test_000", "t", "t", "dent", "t")
    whole = imported_sample(job)
    np.testing.assert_array_equal(whole.points, points)
    part = imported_sample(replace(job, treatment=Treatment(200, seed=3)))
    known = {point.tobytes(): label for point, label in zip(points, labels, strict=True)}
    assert len(part.labels) == 200 and 0 < part.labels.sum() < labels.sum()
    for point, label in zip(part.points, part.labels, strict=True):
        assert known[point.tobytes()] == label
    assert len(imported_sample(replace(job, treatment=Treatment(600))).labels) == 500
    upright = imported_sample(replace(job, treatment=Treatment(up="y")))
    np.testing.assert_array_equal(upright.points[:, 2], points[:, 1])
    np.testing.assert_array_equal(np.cross((1, 0, 0), (0, 0, 1)), (0, -1, 0))
    np.testing.assert_array_equal(upright.points[:, 1], -points[:, 2])  # a rotation, no mirror
    posed = imported_sample(replace(job, treatment=Treatment(pose="so3", seed=1)))
    back = (posed.points - posed.pose[:3, 3]) @ posed.pose[:3, :3]
    np.testing.assert_allclose(back, points, atol=1e-5)
    noisy = imported_sample(replace(job, treatment=Treatment(noise_sigma=0.1)))
    assert np.std(noisy.points - points) == pytest.approx(0.1, rel=0.1)
    np.testing.assert_array_equal(noisy.labels, labels)
    training = replace(scan, split="train", defect="normal", reader=_unlabelled)
    train_job = ImportJob(training, "t_train_000", "t", "t", "normal", "t")
    still = imported_sample(replace(train_job, treatment=Treatment(pose="so3")))
    np.testing.assert_array_equal(still.pose, np.eye(4))


def _unlabelled(scan):
    return replace(read_scan(scan), labels=None)


def test_displacement_of_the_file(tmp_path: Path) -> None:
    points, labels = ball(120, np.random.default_rng(0), bump=0.5)
    moved = (labels[:, None] * points * 0.1).astype(np.float32)
    moved[np.flatnonzero(labels)[0]] = np.nan
    cloud = parse_cloud(write_text(points, labels=labels, header=True), "a.txt")
    root = write_tree(tmp_path / "t", {"test/dent/a.pcd": b""})
    for vectors, known in ((moved, True), (moved + np.float32(1), False)):
        scan = replace(
            find_scans("folder", root)[0],
            reader=lambda _, vectors=vectors: replace(cloud, displacement=vectors),
        )
        job = ImportJob(scan, "t_test_000", "t", "t", "dent", "t")
        sample = imported_sample(job)
        assert ("notes" in sample.parameters["imported"]) != known
        if known:
            np.testing.assert_array_equal(sample.displacement, moved)
            half = imported_sample(replace(job, frame=imported_sample_module.ImportFrame(2.0)))
            np.testing.assert_allclose(half.displacement, moved / 2)
        else:
            assert np.isnan(sample.displacement[labels == 1]).all()
            assert not sample.displacement[labels == 0].any()


def test_far_away_clouds_are_noted(tmp_path: Path) -> None:
    points = ball(50, np.random.default_rng(0))[0].astype(float) + np.array([5e6, 0, 0])
    root = write_tree(tmp_path / "t", {"train/a.txt": _exact(points)})
    job = ImportJob(find_scans("folder", root)[0], "t_train_000", "t", "t", "normal", "t")
    assert "float32" in " ".join(imported_sample(job).parameters["imported"]["notes"])
    framed = replace(job, frame=imported_sample_module.ImportFrame(1.0))
    sample = imported_sample(framed)  # centred before it is rounded
    assert "notes" not in sample.parameters["imported"]
    np.testing.assert_allclose(sample.points, points - points.mean(axis=0), atol=1e-6)


def _exact(points: np.ndarray) -> bytes:
    return "\n".join(" ".join(map(repr, row)) for row in points.tolist()).encode()
