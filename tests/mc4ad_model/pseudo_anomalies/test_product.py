# SPDX-License-Identifier: Apache-2.0
"""Products against boxes, shells and tubes in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from intravariance.geometry.mesh import mesh_from_arrays
from mc4ad_model.pseudo_anomalies.product import Product
from tests.mc4ad_model.pseudo_anomalies.shapes import (
    BOX_AREA,
    HALF,
    SHELL,
    as_expected,
    even_sphere,
    in_box,
)


def test_points_are_spread_over_the_surface_by_area(box: Product) -> None:
    points, normals = box.sample(12_000, np.random.default_rng(1))
    assert box.area == pytest.approx(BOX_AREA, rel=1e-6)
    face = (np.abs(points) / HALF).argmax(axis=1)
    rows = np.arange(len(points))
    assert np.allclose(np.abs(points[rows, face]), HALF[face], atol=1e-6)
    outward = np.zeros_like(points)
    outward[rows, face] = np.sign(points[rows, face])
    assert np.allclose(normals, outward, atol=1e-6)
    for axis in range(3):
        area = 4 * HALF.prod() / HALF[axis]
        for side in (-1, 1):
            here = (face == axis) & (points[:, axis] * side > 0)
            assert as_expected(here.sum(), 12_000 * area / BOX_AREA)
            others = np.delete(points[here], axis, axis=1) / np.delete(HALF, axis)
            # uniform: mean 0, mean square 1/3
            assert np.abs(others.mean(axis=0)).max() < 0.1
            assert np.abs((others**2).mean(axis=0) - 1 / 3).max() < 0.06


def test_a_sample_is_in_random_order(box: Product) -> None:
    points, _ = box.sample(4000, np.random.default_rng(1))
    first, second = np.split(np.abs(points), 2)
    assert np.abs(first.mean(axis=0) - second.mean(axis=0)).max() < 0.05


def test_the_same_state_gives_the_same_sample(product: Product) -> None:
    first, second = (product.sample(500, np.random.default_rng(3))[0] for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, product.sample(500, np.random.default_rng(4))[0])


def test_inside_of_a_box(box: Product) -> None:
    points = np.random.default_rng(2).uniform(-1, 1, size=(4000, 3))
    clear = np.abs(np.abs(points) - HALF).min(axis=1) > 0.05  # beside edges samples say too little
    assert np.array_equal(box.inside(points[clear]), in_box(points[clear]))


def test_inside_of_a_shell_is_its_wall(shell: Product) -> None:
    radius = np.random.default_rng(2).uniform(0.6, 1.2, size=3000)
    inside = shell.inside(even_sphere(3000) * radius[:, None])
    clear = np.abs(radius[:, None] - SHELL).min(axis=1) > 0.01
    assert np.array_equal(inside[clear], ((radius > SHELL[0]) & (radius < SHELL[1]))[clear])


def test_an_open_sheet_has_no_inside(sheet: Product) -> None:
    assert not sheet.closed
    assert not sheet.inside(np.random.default_rng(2).uniform(-1, 1, size=(500, 3))).any()


def test_a_mesh_is_closed_though_its_triangles_share_no_vertex(box: Product) -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=float)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
    soup = mesh_from_arrays(corners[faces].reshape(-1, 3), np.arange(12).reshape(4, 3))
    assert Product.from_mesh(soup, np.random.default_rng(0)).closed
    opened = mesh_from_arrays(soup.vertices[:9], soup.faces[:3])
    assert not Product.from_mesh(opened, np.random.default_rng(0)).closed
    assert box.closed


def test_a_cloud_is_a_product_too(shell: Product) -> None:
    points, normals = shell.sample(8000, np.random.default_rng(6))
    cloud = Product.from_cloud(points, normals)
    assert cloud.area == pytest.approx(shell.area, rel=0.05)
    drawn, facing = cloud.sample(9000, np.random.default_rng(7))
    distance, index = cloud.tree.query(drawn)
    assert len(drawn) == 9000
    assert distance.max() == 0
    assert np.array_equal(facing, normals[index])
    wall = even_sphere(500) * np.mean(SHELL)
    assert cloud.inside(wall).mean() > 0.95
    assert not Product.from_cloud(points, normals, closed=False).inside(wall).any()
