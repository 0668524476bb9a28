# SPDX-License-Identifier: Apache-2.0
"""Polygons to triangles by their shape, whatever format they come from.

A fan from the first corner is right for convex polygons alone: it fills the notch of a concave one.
Others are cut by ear clipping (G. Meisters, "Polygons have ears", 1975) in the plane of the
polygon, which also takes polygons with a hole that a slit joins to the outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError

FLAT = 1e-9  # share of the polygon's area below which a triangle counts as flat


def triangulate(
    vertices: NDArray[np.float64], polygons: Sequence[Sequence[int]]
) -> NDArray[np.int64]:
    """Return the (F, 3) triangles of polygons, in their order; n corners give n - 2 triangles.

    vertices : (V, 3). polygons : indices of the corners of each; fewer than three give nothing.
    Raises InputError for an index outside the vertices.
    """
    counts = np.array([len(polygon) for polygon in polygons], dtype=np.int64)
    try:
        corners = np.array([c for polygon in polygons for c in polygon], dtype=np.int64)
    except OverflowError:  # of more than 64 bits
        corners = np.array([-1])
    if len(corners) and not (corners.min() >= 0 and corners.max() < len(vertices)):
        raise InputError(f"a face refers to a vertex outside 0..{len(vertices) - 1}")
    first_corner = np.cumsum(counts) - counts
    first_face = np.cumsum(np.maximum(counts - 2, 0)) - np.maximum(counts - 2, 0)
    faces = np.zeros((int(np.maximum(counts - 2, 0).sum()), 3), dtype=np.int64)
    for count in np.unique(counts[counts > 2]):
        which = np.flatnonzero(counts == count)
        ring = corners[first_corner[which, None] + np.arange(count)]  # (P, count)
        fans = np.stack([np.broadcast_to(ring[:, :1], ring[:, 1:-1].shape), ring[:, 1:-1],
                         ring[:, 2:]], axis=2)  # (P, count - 2, 3)  # fmt: skip
        if count > 3:
            shown = vertices[ring]  # (P, count, 3)
            for index in np.flatnonzero(~_fan_fits(shown)):
                fans[index] = ring[index][_clip_ears(_in_plane(shown[index]))]
        faces[first_face[which, None] + np.arange(count - 2)] = fans
    return faces


def _fan_fits(rings: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell for (P, n, 3) corners whether a polygon's fan turns one way throughout.

    It then lies inside the polygon and covers it once.
    """
    arms = rings[:, 1:] - rings[:, :1]
    with np.errstate(over="ignore", invalid="ignore"):
        crosses = np.cross(arms[:, :-1], arms[:, 1:])  # (P, n - 2, 3)
        normal = crosses.sum(axis=1, keepdims=True)  # Newell's: twice the area
        shares: NDArray[Any] = (crosses * normal).sum(axis=2)
        fits: NDArray[np.bool_] = (shares > FLAT * np.square(normal).sum(axis=2)).all(axis=1)
    return fits


def _in_plane(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 2) coordinates in which the polygon runs counter-clockwise.

    The axis that its normal follows most is left out: coordinates stay as they are in the file.
    """
    scale = np.abs(ring - ring[0]).max()
    arms = (ring[1:] - ring[0]) / (scale if scale > 0 and np.isfinite(scale) else 1)
    normal = np.cross(arms[:-1], arms[1:]).sum(axis=0)
    axis = int(np.argmax(np.abs(normal)))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    flat = np.concatenate([np.zeros((1, 3)), arms])[:, [first, second]]
    turned: NDArray[np.float64] = flat if normal[axis] >= 0 else flat[:, ::-1]
    return turned


def _clip_ears(ring: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return (n - 2, 3) places in a ring of (n, 2) corners.

    The ear with the shortest new edge goes first. A ring without an ear (it crosses itself, or is
    flat) loses the corner that turns most to the inside, so that every ring ends.
    """
    left = np.arange(len(ring))
    triangles = []
    while len(left) > 3:
        points = ring[left]
        before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
        turn = _turn(before, points, after)
        length = np.square(after - before).sum(axis=1)
        convex = np.flatnonzero(turn > FLAT * np.abs(turn).max())
        reflex = points[turn <= 0]
        ears = (
            place
            for place in convex[np.argsort(length[convex], kind="stable")]
            if _is_ear(before[place], points[place], after[place], reflex)
        )
        place = int(next(ears, np.argmax(turn)))
        triangles.append((left[place - 1], left[place], left[(place + 1) % len(left)]))
        left = np.delete(left, place)
    return np.array([*triangles, tuple(left)], dtype=np.int64)


def _is_ear(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    c: NDArray[np.float64],
    reflex: NDArray[np.float64],
) -> bool:
    """Tell whether no reflex corner lies in the triangle, but for its own corners' places."""
    own = np.zeros(len(reflex), dtype=bool)
    for corner in (a, b, c):
        own |= (reflex == corner).all(axis=1)
    others = reflex[~own]
    inside = (_turn(a, b, others) >= 0) & (_turn(b, c, others) >= 0) & (_turn(c, a, others) >= 0)
    return not inside.any()


def _turn(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> NDArray[np.float64]:
    """Return twice the signed area of triangles a-b-c, (..., 2) each; positive is leftward."""
    first, second = b - a, c - a
    turn: NDArray[np.float64] = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    return turn
