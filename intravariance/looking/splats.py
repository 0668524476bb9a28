# SPDX-License-Identifier: Apache-2.0
"""Splats: round discs in the tangent planes of points, wide enough to touch their neighbours.

Conventions: an orthographic camera is a (3, 3) float64 matrix whose rows are the unit vectors to
the right, up and towards the viewer (`look_from`). Depth grows towards the viewer. Lengths are in
the units of the points. Equal input gives equal results: no randomness, no threads, no BLAS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]

_MARGIN = 0.04  # free border, as a share of the picture
# A splat reaches the 8th neighbour: at random positions e^-8 of the surface stays uncovered.
_NEIGHBOUR = 8
# Expected number of points in an area whose 8th point comes at the median place: the median of the
# gamma distribution of shape 8.
_MEDIAN_COUNT = 7.669
_LOOKED_AT = 64  # neighbours that may face the same way or not
_CHUNK = 256  # points at a time: their windows fit into the processor's cache
_STEEPEST = 0.25  # splats seen under a smaller cosine are treated as this steep


def splat_radius(points: Array, normals: Array, queries: int = 128) -> float:
    """Measure the radius of discs that cover the surface the points (N, 3) were drawn from.

    It is the median distance, measured at `queries` of the points, to the 8th nearest neighbour
    that faces the same way: the other side of a thin wall does not cover this one.
    """
    if len(points) < 2:
        return 0.05
    extent = float(np.ptp(np.asarray(points, dtype=np.float64), axis=0).max())
    radius = _neighbour_distance(points, normals, queries)
    return min(max(radius, 1e-3 * extent, 1e-6), 0.1 * extent + 1e-6)


def surface_spacing(points: Array, normals: Array, noise: float = 0.0, queries: int = 256) -> float:
    """Measure the mean spacing of points (N, 3) on the surface that they were drawn from.

    It is the side of the square that holds one point on average, as the 8 nearest neighbours that
    face the same way tell it (`queries` points are asked); infinite of fewer than 2 points. noise :
    standard deviation on each coordinate. It drives neighbours apart in depth, which is no gap in
    the surface: a ball of the radius r around a point holds the share of each neighbour that lies
    across the surface within sqrt(r^2 - z^2) of it, at a depth z that is normal with the variance
    2 noise^2. So it counts as the area

        pi [r^2 erf(u) - noise^2 (2 erf(u) - 4 u exp(-u^2) / sqrt(pi))]  with  u = r / (2 noise)

    of the surface, which is pi r^2 without noise.
    """
    if len(points) < 2:
        return math.inf
    radius = _neighbour_distance(points, normals, queries)
    area = math.pi * radius**2
    if noise > 0 and math.isfinite(radius):
        u = radius / (2 * noise)
        within = 2 * math.erf(u) - 4 * u * math.exp(-(u**2)) / math.sqrt(math.pi)
        area = math.pi * (radius**2 * math.erf(u) - noise**2 * within)
    return math.sqrt(area / min(_MEDIAN_COUNT, len(points) - 1))


def _neighbour_distance(points: Array, normals: Array, queries: int) -> float:
    """Return the median distance to the 8th nearest neighbour that faces the same way."""
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    points = np.asarray(points, dtype=np.float64)
    some = np.linspace(0, len(points) - 1, min(queries, len(points))).astype(int)
    distance, index = cKDTree(points).query(points[some], min(_LOOKED_AT, len(points)))
    facing = (normals[some, None] * normals[index]).sum(axis=2)  # (Q, K)
    distance = np.where(facing < 0.5, np.inf, distance)
    nth = min(_NEIGHBOUR, distance.shape[1] - 1)
    return float(np.median(np.partition(distance, nth, axis=1)[:, nth]))


@dataclass(frozen=True)
class Viewport:
    """The place of a camera's picture of size x size pixels over the points.

    middle : (2,) of the picture, along the camera's right and up. scale : pixels a unit of length.
    """

    camera: Floats
    middle: Floats
    scale: float
    size: int

    def project(self, points: Array) -> Floats:
        """Project points (N, 3) to pixels to the right and down, and depth towards the viewer."""
        placed = to_camera(points, self.camera)
        placed[:, :2] = (placed[:, :2] - self.middle) * (self.scale, -self.scale) + self.size / 2
        return placed

    def resized(self, size: int) -> Viewport:
        """Return the same view in a picture of another size."""
        return Viewport(self.camera, self.middle, self.scale * (size / self.size), size)


def fit_viewport(points: Array, camera: Floats, size: int, radius: float) -> Viewport:
    """Fit the viewport that holds discs of a radius around all points (N, 3), with a margin.

    N has to be positive.
    """
    position = to_camera(points, camera)[:, :2]
    low, high = position.min(axis=0) - radius, position.max(axis=0) + radius
    scale = (size - 2 * max(_MARGIN * size, 2.0)) / float((high - low).max())
    return Viewport(camera, (low + high) / 2, scale, size)


def depth_map(points: Array, normals: Array, viewport: Viewport, radius: float) -> Floats:
    """Return the (size, size) depth of the nearest surface in each pixel, -inf where there is none.

    Depth is as `Viewport.project` gives it. Some pixels within a surface stay bare by chance.
    """
    depth = np.full(viewport.size**2, -np.inf)
    if len(points):
        splats = splat(points, normals, viewport, radius, 0.0)
        np.maximum.at(depth, splats.pixel, splats.depth)
    return depth.reshape(viewport.size, viewport.size)


@dataclass(frozen=True)
class Splats:
    """The pixels of all discs that are in front: (M,) each.

    pixel : flat index into the picture. point : whose disc it is. depth : of the disc there.
    weight : 1 in the middle of the disc, 0 at its rim. reach : radius of the discs in pixels.
    """

    pixel: NDArray[np.intp]
    point: NDArray[np.intp]
    depth: NDArray[np.float32]
    weight: NDArray[np.float32]
    reach: float


def splat(points: Array, normals: Array, viewport: Viewport, radius: float, layer: float) -> Splats:
    """Rasterise the discs of all points that face the camera and keep the nearest surface."""
    pixels, scale = viewport.size, viewport.scale
    position = viewport.project(points)  # (N, 3)
    facing = to_camera(normals, viewport.camera)
    reach = max(radius * scale, 1.2)  # pixels
    corner = np.floor(position[:, :2])
    within = (corner >= reach + 1) & (corner <= pixels - reach - 2)  # the whole disc
    point = np.flatnonzero((facing[:, 2] > 0) & within.all(axis=1))
    across, corner = position[point, :2], corner[point]  # (K, 2)

    steps = np.arange(-np.ceil(reach), np.ceil(reach) + 1, dtype=np.float32)
    window = np.stack(np.meshgrid(steps, steps), axis=2).reshape(-1, 2)  # (W, 2)
    window = window[(window**2).sum(axis=1) <= (reach + 1) ** 2]
    tilt = facing[point, :2] / np.maximum(facing[point, 2:], _STEEPEST)
    owner, step, rise, off_axis = _rasterise(corner + 0.5 - across, tilt, window, reach)
    depth = (position[point, 2].astype(np.float32))[owner] + rise / np.float32(scale)
    base, offset = ((xy @ (1, pixels)).astype(np.intp) for xy in (corner, window))
    pixel = base[owner] + offset[step]

    nearest = np.full(pixels**2, -np.inf, dtype=np.float32)
    np.maximum.at(nearest, pixel, depth)
    nearest -= np.float32(max(layer, radius))
    front = np.flatnonzero(depth >= nearest[pixel])
    weight = (1.0 - off_axis[front]) ** 2
    return Splats(pixel[front], point[owner[front]], depth[front], weight, reach)


def _rasterise(
    shift: Floats, tilt: Floats, window: NDArray[np.float32], reach: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
    """Find which pixels of the window (W, 2) around each of K points its tilted disc covers.

    shift : (K, 2) from the point to the middle of the window; tilt : (K, 2) slope of the tangent
    plane, to the right and up. Returns, for each covered pixel, the point, the place in the
    window, the rise of the plane towards the viewer in pixels, and the squared distance from the
    point as a share of reach squared.
    """
    # in shares of reach: a disc has the radius 1
    shift, window = (shift / reach).astype(np.float32), window / np.float32(reach)
    tilt = tilt.astype(np.float32)
    parts = []
    for start in range(0, max(len(shift), 1), _CHUNK):  # once at least, for the dtypes
        right, down = shift[start : start + _CHUNK].T[:, :, None]
        x, y = tilt[start : start + _CHUNK].T[:, :, None]
        along, below = window[:, 0] + right, window[:, 1] + down  # (_CHUNK, W)
        rise = below * y
        rise -= along * x
        along *= along
        below *= below
        along += below
        along += rise * rise
        inside = along < 1
        owner = np.repeat(np.arange(len(inside)), np.count_nonzero(inside, axis=1))
        step = np.flatnonzero(inside) - owner * len(window)  # np.nonzero is slower
        parts.append((owner + start, step, rise[inside], along[inside]))
    owner, step, rise, off_axis = (np.concatenate(part) for part in zip(*parts, strict=True))
    return owner, step, rise * np.float32(reach), off_axis


def to_camera(vectors: Array, camera: Floats) -> Floats:
    """Return (N, 3) vectors in camera axes.

    Written out, because BLAS may round differently on other machines.
    """
    x, y, z = np.ascontiguousarray(np.asarray(vectors, dtype=np.float64).T)
    return np.stack([x * a + y * b + z * c for a, b, c in camera], axis=1)
