# SPDX-License-Identifier: Apache-2.0
"""Fewer points of a scan, each with what it had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intravariance.cloud_files import PointCloud, write_text
from intravariance.errors import InputError
from intravariance.exchange.importing.run import ImportSettings
from intravariance.exchange.importing.thinning import KEEP_ALL, Thinning, thinned, voxel_points
from tests.support.foreign_trees import write_tree
from tests.support.unlabelled_trees import import_scans


def cloud(count: int = 500) -> PointCloud:
    rng = np.random.default_rng(0)
    points = rng.uniform(size=(count, 3))
    return PointCloud(points, points.copy(), (points[:, 0] > 0.5).astype(np.uint8))


@given(st.floats(0.03, 2.0), st.integers(1, 300))
def test_one_point_stays_of_each_voxel_that_has_any(size: float, count: int) -> None:
    points = np.random.default_rng(count).uniform(size=(count, 3))
    kept = voxel_points(points, size)
    cells = np.floor((points - points.min(axis=0)) / size)
    assert len({tuple(cell) for cell in cells}) == len(kept) == len({*map(tuple, cells[kept])})
    middles = points.min(axis=0) + (cells + 0.5) * size
    distance = np.linalg.norm(points - middles, axis=1)
    for index in kept:  # no other point of its voxel is nearer to the middle
        same = (cells == cells[index]).all(axis=1)
        assert distance[index] <= distance[same].min() + 1e-12
    assert (np.diff(kept) > 0).all()


@pytest.mark.parametrize("thinning", [Thinning(0.2), Thinning(None, 60), Thinning(0.1, 60)])
def test_points_keep_their_labels_and_normals(thinning: Thinning) -> None:
    whole = cloud()
    less = thinned(whole, thinning, "a")
    assert len(less.points) < 500
    assert len(less.points) == 60 or thinning.max_points is None
    assert (less.labels == (less.points[:, 0] > 0.5)).all()
    assert (less.normals == less.points).all()
    assert {*map(tuple, less.points)} <= {*map(tuple, whole.points)}
    np.testing.assert_array_equal(less.points, thinned(whole, thinning, "a").points)


def test_other_scans_and_seeds_draw_other_points() -> None:
    drawn = {
        thinned(cloud(), Thinning(None, 60), name, seed).points.tobytes()
        for name, seed in (("a", 0), ("b", 0), ("a", 1))
    }
    assert len(drawn) == 3
    assert thinned(cloud(), Thinning(None, 500), "a").points.shape == (500, 3)
    assert not KEEP_ALL


def test_voxels_that_are_too_small() -> None:
    with pytest.raises(InputError, match=r"voxels of 1e-07 are too small"):
        voxel_points(cloud().points, 1e-7)


def test_an_import_says_what_it_left_out(tmp_path: Path) -> None:
    whole = cloud(200)
    files = {
        "train/a.xyz": write_text(40 * whole.points),
        "test/dent/b.xyz": write_text(40 * whole.points, labels=whole.labels, header=True),
    }
    root = write_tree(tmp_path / "scans", files)
    dataset = import_scans(root, tmp_path / "a.h5", thinning=Thinning(4.0, 50))
    assert dataset.metadata["identity"]["imported"]["thinning"] == {"voxel": 4, "max_points": 50}
    for record in dataset:
        found = record.parameters["imported"]
        assert (record.n_points, found["points"]) == (50, 200)
        assert found["thinning"] == {"voxel": 4, "max_points": 50}
    assert "thinning" not in import_scans(root, tmp_path / "b.h5").metadata["identity"]["imported"]
    with pytest.raises(InputError, match=r"xyz: voxels of 1e-06 are too small"):
        import_scans(root, tmp_path / "c.h5", thinning=Thinning(1e-6))


@pytest.mark.parametrize("size", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_voxel_is_a_length(size: float) -> None:
    with pytest.raises(InputError, match="--voxel"):
        Thinning(voxel=size)


@pytest.mark.parametrize("sigma", [float("nan"), float("inf"), -1.0])
def test_noise_is_a_length(sigma: float) -> None:
    with pytest.raises(InputError, match="--scan-noise"):
        ImportSettings("folder", Path("scans"), scan_noise=sigma)


def test_scans_of_very_many_points_are_said_to_be_better_thinned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("intravariance.exchange.importing.thinning._MANY_POINTS", 299)
    points = np.random.default_rng(0).normal(size=(300, 3))
    write_tree(tmp_path / "scans", {"train/a.xyz": write_text(points)})
    import_scans(tmp_path / "scans", tmp_path / "a.h5", quiet=False)
    assert "up to 300 points" in capsys.readouterr().err
    import_scans(tmp_path / "scans", tmp_path / "b.h5", quiet=False, thinning=Thinning(None, 100))
    said = capsys.readouterr().err
    assert "thinned: 300 points to 100" in said
    assert "up to" not in said
