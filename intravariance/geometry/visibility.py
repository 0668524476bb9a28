# SPDX-License-Identifier: Apache-2.0
"""Which places of a surface a viewer sees: exact ray casting from a point.

All rays of a viewer meet in one point, so in the picture that he sees a ray is a point, and what
may block it are the triangles that cover that point. Written here rather than taken from Embree
because single precision and vector units differ from processor to processor in what they see at an
edge; sums and products of doubles, written out, do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blender_scripts.portable import dot, norm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# A blocker is nearer than the place itself by more than this share of its distance: the triangle
# that the place lies on, and those that meet it there, are not.
_NEARER = 1e-5
_EDGE_ON = 1e-10  # doubled area in the picture, below which a triangle blocks nothing
_PAIRS = 400_000  # of a place and a triangle, tested at a time: some 50 MiB
_GRID = (8, 256)  # fewest and most cells along a side of the picture


def cosines(points: Floats, normals: Floats, viewpoint: Floats) -> Floats:
    """Return (N,) cosines between the normals and the directions to the viewpoint (3,).

    points, normals : (N, 3), normals of length 1. Negative where a surface faces away.
    """
    towards = viewpoint - points
    return np.asarray(dot(normals, towards) / norm(towards))


def blocked(points: Floats, corners: Floats, viewpoint: Floats) -> NDArray[np.bool_]:
    """Return (N,) whether a triangle lies between a place and the viewpoint.

    points : (N, 3). corners : (F, 3, 3), of the triangles. viewpoint : (3,), farther from the
    origin than any corner and any point: the viewer looks at the origin.
    """
    camera = _Camera(viewpoint)
    picture = _Picture(*camera.project(corners.reshape(-1, 3)), cells=len(corners))
    found = np.zeros(len(points), dtype=bool)
    place, nearness = camera.project(points)
    for index, triangle in picture.candidates(place, nearness * (1 + _NEARER)):
        inside, height = picture.cover(triangle, place[index])
        hidden = inside & (height > nearness[index] * (1 + _NEARER))
        found[index[hidden]] = True
    return found


class _Camera:
    """A viewer's picture of the world, in perspective."""

    def __init__(self, viewpoint: Floats) -> None:
        self.distance = float(norm(viewpoint))
        self.towards = viewpoint / self.distance
        # any upward direction will do, unless it is the line of sight
        up = np.eye(3)[int(np.argmin(np.abs(np.round(self.towards, 6))))]
        right = np.cross(up, self.towards)
        self.right = right / norm(right)
        self.up = np.cross(self.towards, self.right)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Return where points (N, 3) are in the picture, (N, 2), and their nearness, (N,).

        Nearness is one over the distance along the line of sight: in the picture it is linear on a
        plane.
        """
        nearness = 1 / (self.distance - dot(points, self.towards))
        image = np.stack([dot(points, self.right), dot(points, self.up)], axis=1)
        return image * nearness[:, None], nearness


@dataclass
class _Picture:
    """The triangles in a viewer's picture, and a grid of cells with those that touch each cell.

    corners : (3 F, 2); nearness : (3 F,).
    """

    corners: Floats
    nearness: Floats
    cells: int

    def __post_init__(self) -> None:
        self._a, self._b, self._c = np.moveaxis(self.corners.reshape(-1, 3, 2), 1, 0)
        self._heights = self.nearness.reshape(-1, 3)
        self._nearest = self._heights.max(axis=1)
        self._double_area = _cross(self._b - self._a, self._c - self._a)
        self._low = self.corners.min(axis=0)
        self._side = int(np.clip(np.sqrt(self.cells / 2), *_GRID))
        self._size = (self.corners.max(axis=0) - self._low).max() / self._side or 1.0
        self._triangles, self._starts = self._fill()

    def _cell(self, place: Floats) -> Ints:
        """Return the column and row (..., 2) of places, which need not be in the grid."""
        return np.asarray(np.floor((place - self._low) / self._size), dtype=np.int64)

    def _fill(self) -> tuple[Ints, Ints]:
        """List the triangles cell by cell: their numbers, and where the list of each cell starts.

        A triangle is listed in each cell that its bounding box touches.
        """
        usable = np.flatnonzero(np.abs(self._double_area) > _EDGE_ON)
        corners = np.stack([self._a[usable], self._b[usable], self._c[usable]])
        first = np.clip(self._cell(corners.min(axis=0)), 0, self._side - 1)
        last = np.clip(self._cell(corners.max(axis=0)), 0, self._side - 1)
        columns, rows = (last - first + 1).T
        which, step = _enumerate(columns * rows)
        column = first[which, 0] + step % columns[which]
        row = first[which, 1] + step // columns[which]
        cell = row * self._side + column
        order = np.argsort(cell, kind="stable")
        starts = np.searchsorted(cell[order], np.arange(self._side * self._side + 1))
        return usable[which[order]], starts

    def candidates(self, place: Floats, nearness: Floats) -> Iterator[tuple[Ints, Ints]]:
        """Give places and triangles that may be before them, as pairs of numbers (P,), (P,)."""
        cell = self._cell(place)
        inside = ((cell >= 0) & (cell < self._side)).all(axis=1)
        number = np.where(inside, cell[:, 1] * self._side + cell[:, 0], 0)
        counts = np.where(inside, np.diff(self._starts)[number], 0)
        pairs = np.cumsum(counts)
        for chunk in np.split(
            np.arange(len(place)), np.searchsorted(pairs, np.arange(_PAIRS, pairs[-1], _PAIRS))
        ):
            which, step = _enumerate(counts[chunk])
            index = chunk[which]
            triangle = self._triangles[self._starts[number[index]] + step]
            nearer = self._nearest[triangle] > nearness[index]
            yield index[nearer], triangle[nearer]

    def cover(self, triangle: Ints, place: Floats) -> tuple[NDArray[np.bool_], Floats]:
        """Return (P,) whether triangles (P,) cover places (P, 2), and (P,) their nearness there."""
        a, b, c = self._a[triangle], self._b[triangle], self._c[triangle]
        weights = np.stack(
            [_cross(c - b, place - b), _cross(a - c, place - c), _cross(b - a, place - a)], axis=1
        )
        inside = (weights >= 0).all(axis=1) | (weights <= 0).all(axis=1)
        return inside, dot(weights, self._heights[triangle]) / self._double_area[triangle]


def _enumerate(counts: Ints) -> tuple[Ints, Ints]:
    """Count from 0 for each of some numbers: [2, 3] gives [0, 0, 1, 1, 1] and [0, 1, 0, 1, 2]."""
    which = np.repeat(np.arange(len(counts)), counts)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)


def _cross(first: Floats, second: Floats) -> Floats:
    """Return the (N,) cross products of vectors (N, 2)."""
    return np.asarray(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
