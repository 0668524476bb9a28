# SPDX-License-Identifier: Apache-2.0
"""Polygons to triangles: areas, directions and insides, against the even-odd rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intravariance.errors import InputError
from intravariance.sources.formats.polygons import triangulate

L = [(2, 0), (2, 1), (1, 1), (1, 2), (0, 2), (0, 0)]
COMB = [(0, 0), (7, 0), (7, 5), (6, 5), (6, 1), (5, 1), (5, 5), (4, 5), (4, 1), (3, 1), (3, 5),
        (2, 5), (2, 1), (1, 1), (1, 5), (0, 5)]  # fmt: skip
SPIRAL = [(0, 0), (9, 0), (9, 9), (2, 9), (2, 3), (6, 3), (6, 6), (5, 6), (5, 4), (3, 4), (3, 8),
          (8, 8), (8, 1), (0, 1)]  # fmt: skip
# a square with a square hole, which a slit joins to the outside
KEYHOLE = [(0, 0), (4, 0), (4, 4), (0, 4), (0, 0), (1, 1), (1, 3), (3, 3), (3, 1), (1, 1)]
ON_A_SIDE = [(0, 0), (1, 0), (2, 0), (3, 0), (3, 3), (2, 1), (1, 1), (0, 3)]


def shoelace(ring) -> float:
    x, y = np.asarray(ring, dtype=float).T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def even_odd(ring, points):
    """Tell which (N, 2) points a ray to the right leaves the ring an odd number of times."""
    inside = np.zeros(len(points), dtype=bool)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        crosses = (y0 > points[:, 1]) != (y1 > points[:, 1])
        at = x0 + (points[:, 1] - y0) / (y1 - y0 if y1 != y0 else 1) * (x1 - x0)
        inside ^= crosses & (points[:, 0] < at)
    return inside


def covered(ring, faces, points):
    """Count the triangles over each of (N, 2) points."""
    count = np.zeros(len(points), dtype=int)
    for a, b, c in np.asarray(ring, dtype=float)[faces]:
        turns = [
            (q - p)[0] * (points[:, 1] - p[1]) - (q - p)[1] * (points[:, 0] - p[0])
            for p, q in ((a, b), (b, c), (c, a))
        ]
        count += np.all(np.array(turns) > 0, axis=0)
    return count


def check(ring) -> None:
    """Check a counter-clockwise ring in z = 0: each place inside is covered once."""
    flat = np.asarray(ring, dtype=float)
    faces = triangulate(np.c_[flat, np.zeros(len(flat))], [list(range(len(flat)))])
    assert faces.shape == (len(ring) - 2, 3)
    areas = [shoelace(flat[face]) for face in faces]
    assert min(areas) >= -1e-9
    assert sum(areas) == pytest.approx(shoelace(ring))
    rng = np.random.default_rng(0)
    points = rng.uniform(flat.min(axis=0), flat.max(axis=0), (500, 2))
    inside = even_odd(flat, points)
    assert np.array_equal(covered(flat, faces, points), inside.astype(int))


@pytest.mark.parametrize("ring", [L, COMB, SPIRAL, KEYHOLE, ON_A_SIDE])
def test_concave_polygons_are_covered_once_and_no_more(ring):
    for start in range(len(ring)):
        check(ring[start:] + ring[:start])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.05, 1), min_size=4, max_size=30), st.integers(0, 29))
def test_any_star_shaped_polygon(radii, start):
    angles = np.arange(len(radii)) * 2 * np.pi / len(radii)
    ring = np.array(radii)[:, None] * np.c_[np.cos(angles), np.sin(angles)]
    if len(radii) == 4 or shoelace(ring) > 1e-3:
        check(np.roll(ring, start, axis=0).tolist())


def test_the_plane_and_the_direction_do_not_matter():
    rng = np.random.default_rng(1)
    for _ in range(20):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        ring = np.c_[L, np.zeros(len(L))] @ turn.T * 10.0 ** rng.integers(-9, 9)
        for order in (np.arange(6), np.arange(6)[::-1]):
            faces = triangulate(ring, [order.tolist()])
            normals = np.cross(
                ring[faces[:, 1]] - ring[faces[:, 0]], ring[faces[:, 2]] - ring[faces[:, 0]]
            )
            length = np.linalg.norm(normals, axis=1)
            assert 0.5 * length.sum() == pytest.approx(3 * (np.ptp(ring @ turn[:, 0]) / 2) ** 2)
            assert np.allclose(normals / length[:, None], normals[0] / length[0])


def test_convex_polygons_are_fans_and_the_order_of_faces_is_kept():
    square = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], dtype=float)
    faces = triangulate(square, [[2, 3, 0], [0, 1], [0, 1, 2, 3], [1, 2, 3]])
    assert faces.tolist() == [[2, 3, 0], [0, 1, 2], [0, 2, 3], [1, 2, 3]]
    assert triangulate(square, []).shape == (0, 3)


@pytest.mark.parametrize(
    "ring",
    [
        [(0, 0), (1, 1), (1, 0), (0, 1)],  # crosses itself
        [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)],  # flat
        [(1, 1)] * 6,
        [(0, 0), (np.nan, 1), (1, 0), (0, 1), (2, 2)],
        [(0, 0), (1e308, 0), (-1e308, 1e308), (1, -1e308)],
    ],
)
def test_what_is_no_polygon_still_ends(ring):
    with np.errstate(all="ignore"):
        faces = triangulate(np.c_[np.array(ring, dtype=float), np.zeros(len(ring))],
                            [list(range(len(ring)))])  # fmt: skip
    assert faces.shape == (len(ring) - 2, 3)
    assert all(len(set(face)) == 3 for face in faces.tolist())


def test_a_corner_that_is_not_there_is_refused():
    for corners in ([0, 1, 3], [-1, 0, 1], [0, 1, 10**400]):
        with pytest.raises(InputError, match=r"outside 0\.\.2"):
            triangulate(np.eye(3), [corners])
