# SPDX-License-Identifier: Apache-2.0
"""Clouds that are written are read again, by us and by other programs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from intravariance.cloud_files import (
    parse_cloud,
    read_cloud,
    write_pcd,
    write_ply,
    write_ply_fields,
    write_text,
)
from intravariance.errors import InputError

# Numbers that text and float32 hold exactly.
from tests.support.cloud_samples import (
    LABELS,
    NORMALS,
    POINTS,
)


@settings(max_examples=40, deadline=None)
@given(
    points=arrays(
        np.float32,
        st.tuples(st.integers(1, 20), st.just(3)),
        elements=st.floats(-1e9, 1e9, width=32),
    ),
    seed=st.integers(0, 99),
)
def test_float32_survives_every_writer(points: np.ndarray, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 2, len(points))
    for name, data in (
        ("a.pcd", write_pcd(points, labels=labels)),
        ("a.ply", write_ply(points, labels=labels)),
        ("a.txt", write_text(points, labels=labels, delimiter=",")),
    ):
        cloud = parse_cloud(data, name)
        np.testing.assert_array_equal(cloud.points.astype(np.float32), points)
        np.testing.assert_array_equal(cloud.labels, labels)


def test_writers_refuse_labels_that_are_none() -> None:
    for write in (write_pcd, write_ply, write_text):
        with pytest.raises(InputError, match="expected 4 labels, each 0 or 1"):
            write(POINTS, labels=np.array([0, 1, 2, 0]))


def test_other_programs_read_what_is_written_and_the_other_way_round(tmp_path) -> None:
    o3d = pytest.importorskip("open3d")
    (tmp_path / "a.pcd").write_bytes(write_pcd(POINTS, NORMALS, LABELS))
    (tmp_path / "a.ply").write_bytes(write_ply(POINTS, NORMALS, LABELS))
    for name in ("a.pcd", "a.ply"):
        cloud = o3d.io.read_point_cloud(str(tmp_path / name))
        np.testing.assert_allclose(np.asarray(cloud.points), POINTS)
        np.testing.assert_allclose(np.asarray(cloud.normals), NORMALS, atol=1e-7)
    many = np.round(np.random.default_rng(0).normal(size=(3000, 3)), 2).astype(np.float32)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(many))
    for name, options in (
        ("b.pcd", {"compressed": True}),  # a real LZF stream
        ("c.pcd", {"write_ascii": True}),
        ("d.pcd", {}),
        ("e.ply", {}),
        ("f.ply", {"write_ascii": True}),
        ("g.xyz", {}),
    ):
        assert o3d.io.write_point_cloud(str(tmp_path / name), cloud, **options)
        np.testing.assert_allclose(read_cloud(tmp_path / name).points, many, atol=1e-7)


def test_fields_come_back_and_coordinates_lose_nothing() -> None:
    score = np.array([0.1, -2, 3e8, 0], dtype=np.float32)
    far = POINTS / 3 + 1e6  # float32 would move them by 0.03
    for points, kind in ((POINTS, b"float x"), (far, b"double x")):
        data = write_ply_fields(points, {"score": score, "gt": np.array([0, 1, 0, 1])})
        assert b"property " + kind in data and b"property float score" in data
        cloud = parse_cloud(data, "a.ply")
        np.testing.assert_array_equal(cloud.points, points)
        np.testing.assert_array_equal(cloud.labels, [0, 1, 0, 1])
        assert data.endswith(np.array([score[-1], 1], "<f4").tobytes())
