# SPDX-License-Identifier: Apache-2.0
"""ModelNet40 and ShapeNetPart in the layouts of their HDF5 releases, tiny."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from intravariance.errors import InputError
from mc4ad_model.classification.plan import PLANS
from mc4ad_model.classification.released_files import ReleasedFiles

PLAN = replace(PLANS["small"], points=20, part_points=24)


def write(path: Path, clouds: int, seed: int, **changes: np.ndarray | None) -> None:
    """Write a file of either release, as its authors' scripts do: gzip, float32 and uint8."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray | None] = {
        "data": rng.normal(size=(clouds, 30, 3)).astype(np.float32),
        "label": (np.arange(clouds) % 3).astype(np.uint8)[:, None],
        "normal": rng.normal(size=(clouds, 30, 3)).astype(np.float32),
        **changes,
    }
    path.parent.mkdir(exist_ok=True, parents=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if array is not None:
                file.create_dataset(name, data=array, compression="gzip", compression_opts=4)


def modelnet40(folder: Path, **changes: np.ndarray | None) -> Path:
    place = folder / "modelnet40_ply_hdf5_2048"
    write(place / "ply_data_train0.h5", 5, 0)
    write(place / "ply_data_train1.h5", 4, 1, **changes)
    write(place / "ply_data_test0.h5", 6, 2)
    return folder


def shapenet_part(folder: Path) -> Path:
    place = folder / "shapenet_part_seg_hdf5_data"
    for number, (name, clouds) in enumerate((("train0", 6), ("val0", 3), ("test0", 3))):
        label = (np.arange(clouds) % 3).astype(np.uint8)[:, None]
        # category c has the parts 2c and 2c + 1
        pid = 2 * label + np.random.default_rng(number).integers(2, size=(clouds, 30))
        write(place / f"ply_data_{name}.h5", clouds, number, label=label,
              pid=pid.astype(np.uint8), normal=None)  # fmt: skip
    return folder


def test_both_releases_give_all_tasks(tmp_path: Path) -> None:
    source = ReleasedFiles(shapenet_part(modelnet40(tmp_path)))
    assert source.tasks == ("recognition", "recognition-normals", "segmentation")
    plain, normals = (source.load(name, PLAN, 0) for name in source.tasks[:2])
    assert plain.train.points.shape == (9, 20, 3) and normals.test.points.shape == (6, 20, 6)
    assert plain.train.classes.tolist() == [0, 1, 2, 0, 1, 0, 1, 2, 0] and plain.outputs == 3
    parts = source.load("segmentation", PLAN, 0)
    assert parts.train.points.shape == (9, 24, 3)  # with the validation clouds
    assert parts.parts == ((0, 1), (2, 3), (4, 5)) and parts.outputs == 6


def test_points_normals_and_parts_stay_together(tmp_path: Path) -> None:
    rows = np.arange(30)
    data = np.stack([rows, rows * 0, rows * 0], axis=1)[None].astype(np.float32)
    normal = np.stack([rows * 0, rows, rows * 0], axis=1)[None].astype(np.float32)
    label = np.zeros((1, 1), dtype=np.uint8)
    for name in ("train0", "test0"):
        write(tmp_path / "a" / f"ply_data_{name}.h5", 1, 0, data=data, normal=normal, label=label)
        write(tmp_path / "b" / f"ply_data_{name}.h5", 1, 0, data=data, label=label,
              pid=rows[None].astype(np.uint8))  # fmt: skip
    source = ReleasedFiles(tmp_path)
    cloud = source.load("recognition-normals", PLAN, 0).test.points[0]
    assert np.corrcoef(cloud[:, 0], cloud[:, 4])[0, 1] == pytest.approx(1)
    assert np.linalg.norm(cloud[:, :3], axis=1).max() == pytest.approx(1)
    assert cloud[:, :3].mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-6)
    parts = source.load("segmentation", PLAN, 0).test
    assert np.corrcoef(parts.points[0, :, 0], parts.parts[0])[0, 1] == pytest.approx(1)


def test_one_release_is_enough_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    only = ReleasedFiles(modelnet40(tmp_path / "a") / "modelnet40_ply_hdf5_2048")
    assert only.tasks == ("recognition", "recognition-normals")
    assert "segmentation, since there is no folder of ShapeNetPart" in " ".join(only.remarks)
    parts = ReleasedFiles(shapenet_part(tmp_path / "b"))
    assert parts.tasks == ("segmentation",)
    assert "classification, since there is no folder of ModelNet40" in " ".join(parts.remarks)
    write(tmp_path / "c" / "ply_data_train0.h5", 3, 0, normal=None)
    write(tmp_path / "c" / "ply_data_test0.h5", 3, 0, normal=None)
    bare = ReleasedFiles(tmp_path / "c")
    assert bare.tasks == ("recognition",)
    assert "classification with normals" in " ".join(bare.remarks)


def test_the_digest_is_of_the_files_bytes(tmp_path: Path) -> None:
    first = ReleasedFiles(modelnet40(tmp_path / "a")).digest
    assert ReleasedFiles(modelnet40(tmp_path / "b")).digest == first
    other = modelnet40(tmp_path / "c", label=np.ones((4, 1), dtype=np.uint8))
    assert ReleasedFiles(other).digest != first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": None}, r"ply_data_train1\.h5: /label: missing"),
        ({"data": np.zeros((4, 30, 2), np.float32)}, "expected .*3"),
        ({"data": np.zeros((4, 30, 3))}, "has type float64, expected float32"),
        ({"label": np.zeros((3, 1), np.uint8)}, r"label has shape \(3, 1\), expected \(4, 1\)"),
        ({"normal": np.full((4, 30, 3), np.nan, np.float32)}, "not finite"),
        ({"normal": np.zeros((4, 29, 3), np.float32)}, r"normal has shape \(4, 29, 3\)"),
    ],
)
def test_damaged_files_are_named(
    changes: dict[str, np.ndarray | None], message: str, tmp_path: Path
) -> None:
    source = ReleasedFiles(modelnet40(tmp_path, **changes))
    with pytest.raises(InputError, match=message):
        source.load("recognition-normals", PLAN, 0)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        ReleasedFiles(tmp_path / "none")
    with pytest.raises(InputError, match=r"no ply_data_train\*\.h5 .*nothing is downloaded"):
        ReleasedFiles(tmp_path)
    write(tmp_path / "a" / "ply_data_train0.h5", 2, 0)
    with pytest.raises(InputError, match=r"no ply_data_test\*\.h5; expected the whole release"):
        ReleasedFiles(tmp_path)
    write(tmp_path / "a" / "ply_data_test0.h5", 2, 0)
    write(tmp_path / "b" / "ply_data_train0.h5", 2, 0)
    write(tmp_path / "b" / "ply_data_test0.h5", 2, 0)
    with pytest.raises(InputError, match="are of one kind"):
        ReleasedFiles(tmp_path)
    (tmp_path / "b" / "ply_data_train0.h5").write_text("no HDF5")
    with pytest.raises(InputError, match="expected an HDF5 file"):
        ReleasedFiles(tmp_path / "b")
