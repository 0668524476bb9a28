# SPDX-License-Identifier: GPL-3.0-or-later
"""Queries of a triangle mesh: its nearest point, what a ray meets, what can be seen."""

import gc
from dataclasses import dataclass
from functools import cached_property

import bpy  # noqa: F401  first: with bpy as a module, mathutils can be imported only after it

# isort: split
import numpy as np
from mathutils.bvhtree import BVHTree

from blender_scripts.meshes import (
    GeometryError,
    areas,
    closed_problem,
    corners,
    face_normals,
    vertex_normals,
)
from blender_scripts.portable import cos, cross, dot, norm, sin, sixfold_volumes

# Rays start this far off the surface, so that they do not meet the face they leave.
RAY_OFFSET = 1e-4
# A seed has this share of the hemisphere over it free.
OPEN = 0.5
# Rays go this far, which is beyond every product.
REACH = 4.0


@dataclass(frozen=True)
class Seed:
    """A place on the surface: point (3,), face number, unit normal (3,) of that face."""

    point: np.ndarray
    face: int
    normal: np.ndarray


class Surface:
    """A mesh, vertices (V, 3) float64 and faces (F, 3) int64, with what is derived from it.

    The arrays are not to be changed: what is derived is worked out once.
    """

    def __init__(self, vertices, faces):
        self.vertices = np.asarray(vertices, dtype=np.float64)
        self.faces = np.asarray(faces, dtype=np.int64)
        self._kept = {}

    @cached_property
    def areas(self):
        """Return the (F,) area of each face."""
        return areas(self.vertices, self.faces)

    @cached_property
    def cumulative_areas(self):
        """Return (F,) the area of all faces up to each."""
        return np.cumsum(self.areas)

    @cached_property
    def centres(self):
        """Return the (F, 3) centroid of each face."""
        return self.mean_of_corners(self.vertices)

    @cached_property
    def face_normals(self):
        """Return the (F, 3) unit normal of each face."""
        return face_normals(self.vertices, self.faces)

    @cached_property
    def normals(self):
        """Return the (V, 3) unit normal at each vertex."""
        return vertex_normals(self.vertices, self.faces)

    @cached_property
    def edges(self):
        """Return (3 F, 2) corner pairs of every face; an edge of two faces occurs twice."""
        return self.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)

    @cached_property
    def lowest(self):
        """Return the least z of all vertices."""
        return self.vertices[:, 2].min()

    @cached_property
    def volume(self):
        """Return the signed volume that the mesh encloses."""
        return float(self.sixfold_volumes.sum() / 6)

    @cached_property
    def sixfold_volumes(self):
        """Return six times the signed volume (F,) between the origin and each face."""
        return sixfold_volumes(self.vertices, self.faces)

    @cached_property
    def boxes(self):
        """Return the least and greatest coordinates, (F, 3) each, of each face."""
        a, b, c = corners(self.vertices, self.faces)
        return np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)

    @cached_property
    def tree(self):
        """Return Blender's bounding volume hierarchy of the faces (single precision)."""
        # lists of thousands of lists: the search for garbage among them takes as long as the tree
        collecting = gc.isenabled()
        gc.disable()
        try:
            lists = self.vertices.tolist(), self.faces.tolist()
            return BVHTree.FromPolygons(*lists, all_triangles=True)
        finally:
            if collecting:
                gc.enable()

    @cached_property
    def problem(self):
        """Say why the mesh is not closed ("" when it is): see `closed_problem`."""
        return closed_problem(self.vertices, self.faces)

    def mean_of_corners(self, values):
        """Return (F, ...) the mean of values (V, ...) over the corners of each face."""
        a, b, c = corners(values, self.faces)
        return (a + b + c) / 3

    def at_corners(self, chosen):
        """Tell (F,) bool which faces have one of the vertices `chosen` (V,) bool at a corner."""
        a, b, c = corners(chosen, self.faces)
        return a | b | c

    def kept(self, function):
        """Return function(self), worked out once."""
        if function not in self._kept:
            self._kept[function] = function(self)
        return self._kept[function]

    def crosses_itself(self):
        """Tell whether any two faces without a common corner meet."""
        pairs = np.array(self.tree.overlap(self.tree), dtype=np.int64).reshape(-1, 2)
        first, second = self.faces[pairs[:, 0]], self.faces[pairs[:, 1]]
        return bool((first[:, :, None] != second[:, None, :]).all(axis=(1, 2)).any())

    def distances(self, points):
        """Return the (N,) distances of points (N, 3) from the surface."""
        nearest = self.tree.find_nearest
        return np.array([nearest(point)[3] for point in points.tolist()])

    def cast(self, points, directions, reach=REACH):
        """Cast rays: (distance (N,), inf where nothing is met within `reach`; face (N,), or -1).

        points (N, 3) or (3,), unit directions (N, 3) or (3,). Distances count from `points`.
        """
        points, directions = np.broadcast_arrays(np.atleast_2d(points), np.atleast_2d(directions))
        distance = np.full(len(points), np.inf)
        face = np.full(len(points), -1)
        ray_cast = self.tree.ray_cast
        starts = (points + RAY_OFFSET * directions).tolist()
        for i, (start, direction) in enumerate(zip(starts, directions.tolist(), strict=True)):
            _, _, index, length = ray_cast(start, direction, reach)
            if index is not None:
                distance[i], face[i] = length + RAY_OFFSET, index
        return distance, face

    def crossings(self, point, direction, reach=REACH):
        """List where a ray from `point` (3,) passes the surface: (distance, goes in: bool) each."""
        found, travelled = [], 0.0
        while travelled < reach and len(found) < 16:
            distance, face = self.cast(point + travelled * direction, direction, reach - travelled)
            if face[0] < 0:
                break
            travelled += distance[0]
            found.append((travelled, bool(dot(self.face_normals[face[0]], direction) < 0)))
        return found

    def is_open(self, points, normals, share):
        """Yield for each of points (N, 3) whether a share of the hemisphere over it is free.

        Tried are 12 directions at most 75 degrees off the unit normals (N, 3).
        """
        across, along = tangents(normals)
        directions = (
            HEMISPHERE[:, None, :1] * across
            + HEMISPHERE[:, None, 1:2] * along
            + HEMISPHERE[:, None, 2:] * normals
        )
        starts = (points + RAY_OFFSET * directions).swapaxes(0, 1).tolist()
        most_hidden = np.floor((1 - share) * len(HEMISPHERE) + 1e-9)
        for rays in zip(starts, directions.swapaxes(0, 1).tolist(), strict=True):
            yield self._hidden(*rays, most_hidden) <= most_hidden

    def _hidden(self, starts, directions, enough):
        """Count the rays that meet something, up to one more than `enough`."""
        ray_cast, hidden, left = self.tree.ray_cast, 0, len(starts)
        for start, direction in zip(starts, directions, strict=True):
            hidden += ray_cast(start, direction, REACH)[2] is not None
            left -= 1
            if hidden > enough or hidden + left <= enough:  # the others change nothing
                break
        return hidden

    def draw(self, rng, count, sets=1):
        """Draw random places, uniform over the area: (points (N, 3), faces (N,)).

        They are those that `sets` calls would draw, `count` each, N in all.
        """
        cumulative = self.cumulative_areas
        numbers = rng.random((sets, 3, count)).swapaxes(0, 1).reshape(3, -1)
        faces = np.searchsorted(cumulative, numbers[0] * cumulative[-1])
        faces = np.minimum(faces, len(self.faces) - 1)
        u, v = np.sqrt(numbers[1]), numbers[2]
        weights = np.stack([1 - u, u * (1 - v), u * v], axis=1)
        return (weights[:, :, None] * self.vertices[self.faces[faces]]).sum(axis=1), faces

    def spread(self, wanted, count):
        """Pick at most `count` of the faces `wanted` (F,) bool, evenly spread over their area."""
        cumulative = np.cumsum(np.where(wanted, self.areas, 0.0))
        if cumulative[-1] == 0:
            return np.zeros(0, dtype=np.int64)
        steps = (np.arange(count) + 0.5) / count * cumulative[-1]
        return np.unique(np.searchsorted(cumulative, steps))

    def underneath(self, point, normal):
        """Tell whether places (..., 3) belong to the underside: low, and facing down."""
        return (normal[..., 2] < -0.6) & (point[..., 2] < self.lowest + 0.3)

    def seed(self, rng, tries=200):
        """Draw a random place that is visible from outside and not underneath.

        Raises GeometryError when none of `tries` places is.
        """
        return self.seeds(rng, 1, tries)[0]

    def seeds(self, rng, count, tries):
        """Draw `count` places as that many calls of `seed` do, sooner."""
        before = rng.bit_generator.state
        points, faces = self.draw(rng, tries, count)
        normals = self.face_normals[faces]
        fitting = ~self.underneath(points, normals).reshape(count, tries)
        order = np.argsort(~fitting, axis=1, kind="stable") + tries * np.arange(count)[:, None]
        chosen = np.full(count, -1)
        for turn in range(int(fitting.sum(axis=1).max())):  # the first will do mostly
            open_sets = np.flatnonzero((chosen < 0) & (fitting.sum(axis=1) > turn))
            if len(open_sets) == 0:
                break
            rows = order[open_sets, turn]
            free = np.array(list(self.is_open(points[rows], normals[rows], OPEN)))
            chosen[open_sets[free]] = rows[free]
        if (chosen < 0).any():  # nothing is drawn after the first that fails
            rng.bit_generator.state = before
            self.draw(rng, tries, int(np.argmax(chosen < 0)) + 1)
            raise GeometryError("no surface that is visible from outside")
        return [Seed(points[row], int(faces[row]), normals[row]) for row in chosen]


def inside(points, low, high):
    """Tell which of points (N, 3) lie inside a box, not on its border."""
    x, y, z = ((points > low) & (points < high)).T
    return x & y & z


def about(points, others, reach):
    """Return the rows of points (N, 3) that may have one of others (K, 3) within reach.

    In a grid of cells that large, these have one in their own cell or in one beside it.
    """
    size = 1.001 * reach
    low, high = others.min(axis=0) - size, others.max(axis=0) + size
    rows = np.flatnonzero(inside(points, low, high))
    own, cells = (np.floor((some - low) / size).astype(np.int64) for some in (points[rows], others))
    near = np.zeros(cells.max(axis=0) + 3, dtype=bool)
    near[tuple(cells.T)] = True
    for axis in range(3):
        near |= np.roll(near, 1, axis) | np.roll(near, -1, axis)
    return rows[near[tuple(own.T)]]


def unit(vectors):
    """Scale vectors (..., 3) to length 1 (a zero vector stays zero)."""
    return vectors / np.maximum(norm(vectors)[..., None], 1e-30)


def tangents(normals):
    """Return two unit vectors (..., 3) that make a right-handed frame with unit `normals`."""
    helper = np.where(np.abs(normals[..., 2:]) < 0.9, [0.0, 0.0, 1.0], [1.0, 0.0, 0.0])
    across = unit(cross(helper, normals))
    return across, cross(normals, across)


def _hemisphere(count, widest):
    """Return (count, 3) directions about +z, evenly spread up to `widest` degrees off it."""
    steps = (np.arange(count) + 0.5) / count
    z = 1 - steps * (1 - cos(np.radians(widest)))
    angle = np.pi * (1 + np.sqrt(5)) * np.arange(count)
    around = np.sqrt(1 - np.square(z))
    return np.stack([around * cos(angle), around * sin(angle), z], axis=1)


HEMISPHERE = _hemisphere(12, 75.0)
