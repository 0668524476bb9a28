# SPDX-License-Identifier: Apache-2.0
"""FPFH as Open3D gives it when it is called by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")
pytest.importorskip("open3d")

from intravariance.looking.realism.two_sample import load_open3d
from mc4ad_model.methods.memory_banks.fpfh import DIMENSIONS, Neighbourhood, fpfh
from tests.mc4ad_model.methods.memory_banks.toruses import POINTS, torus


def by_hand(points, normals, features):
    open3d = load_open3d()
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points.astype(float)))
    cloud.estimate_normals(normals)
    return open3d.pipelines.registration.compute_fpfh_feature(cloud, features).data.T


def same(found, expected):
    """Tell whether histograms agree to the last bit, but for few points. Open3D's two interfaces
    count a pair of points in another bin where rounding decides which of them is the first."""
    rows = (found == expected.astype(np.float32)).all(axis=1)
    return rows.mean() > 0.98 and np.abs(found - expected).mean() < 0.01


def test_the_nearest_points_and_those_within_a_radius() -> None:
    points, search = torus(0), load_open3d().geometry
    found = fpfh(points, Neighbourhood(10), [Neighbourhood(20), Neighbourhood(25, 0.2)])
    expected = [
        by_hand(points, search.KDTreeSearchParamKNN(10), around)
        for around in (search.KDTreeSearchParamKNN(20), search.KDTreeSearchParamHybrid(0.2, 25))
    ]
    for own, other in zip(found, expected, strict=True):
        assert own.shape == (POINTS, DIMENSIONS) and own.dtype == np.float32
        assert same(own, other)
    assert not np.array_equal(*found)
    normals = Neighbourhood(12, 0.15)
    (own,) = fpfh(points, normals, [Neighbourhood(20)])
    knn, hybrid = search.KDTreeSearchParamKNN(20), search.KDTreeSearchParamHybrid(0.15, 12)
    assert same(own, by_hand(points, hybrid, knn))


def test_a_point_without_neighbours_has_an_empty_histogram() -> None:
    points = np.concatenate([torus(0), [[0, 0, 5]]])
    (found,) = fpfh(points, Neighbourhood(10, 0.2), [Neighbourhood(20, 0.2)])
    assert not found[-1].any() and found[:-1].any(axis=1).all()
