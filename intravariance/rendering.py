# SPDX-License-Identifier: Apache-2.0
"""Pictures of point clouds: a small software renderer that needs NumPy alone.

Every point becomes a round disc lying in its tangent plane, wide enough to touch its neighbours
(a splat). The nearest surface is found with a depth buffer; the splats within a thin layer behind
it are blended, which hides the sampling pattern and averages noise. Points whose normal faces
away from the camera are left out: the clouds are of closed surfaces, which never show their back.

Conventions: an orthographic camera is a (3, 3) float64 matrix whose rows are the unit vectors to
the right, up and towards the viewer (`look_from`). Depth grows towards the viewer. Lengths are in
the units of the points. Equal input gives equal bytes: no randomness, no threads, no BLAS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Vermillion and grey stay apart in every common form of colour blindness (Okabe and Ito, 2008).
NORMAL_COLOUR = (0.68, 0.72, 0.78)
ANOMALY_COLOUR = (0xD5 / 255, 0x5E / 255, 0.0)

# The viridis map at 9 even steps; straight lines between them stay within 0.011 of the original.
_VIRIDIS = np.array(
    [
        (0.267, 0.005, 0.329),
        (0.279, 0.175, 0.483),
        (0.230, 0.322, 0.546),
        (0.173, 0.449, 0.558),
        (0.128, 0.567, 0.551),
        (0.158, 0.684, 0.502),
        (0.369, 0.789, 0.383),
        (0.678, 0.864, 0.190),
        (0.993, 0.906, 0.144),
    ]
)

_SUPERSAMPLING = 2
_AMBIENT = 0.42
_LIGHT = (-0.35, 0.5, 0.79)  # upper left, over the viewer's shoulder; camera axes
_MARGIN = 0.04  # free border, as a share of the picture
# A splat reaches the 6th neighbour: at random positions e^-6 of the surface stays uncovered.
_NEIGHBOUR = 6
_STEEPEST = 0.25  # splats seen under a smaller cosine are treated as this steep


def look_from(direction: ArrayLike, up: ArrayLike = (0.0, 0.0, 1.0)) -> Floats:
    """Camera axes (3, 3) of a viewer placed in `direction` (3,) from the object.

    `up` (3,) points upwards in the picture; looking along it, +y takes its place.
    """
    towards = np.asarray(direction, dtype=np.float64)
    towards = towards / np.linalg.norm(towards)
    right = np.cross(np.asarray(up, dtype=np.float64), towards)
    if np.linalg.norm(right) < 1e-9:
        right = np.cross((0.0, 1.0, 0.0), towards)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(towards, right), towards])


def label_colours(labels: NDArray[np.uint8]) -> Floats:
    """(N, 3) RGB in 0..1: grey where a label (N,) is 0, vermillion where it is not."""
    return np.where(np.asarray(labels)[:, None] > 0, ANOMALY_COLOUR, NORMAL_COLOUR)


def scalar_colours(values: ArrayLike, largest: float) -> Floats:
    """(N, 3) RGB in 0..1 of values (N,): yellow at 0, dark violet at `largest` and beyond."""
    share = 1.0 - np.clip(np.asarray(values, dtype=np.float64) / largest, 0.0, 1.0)
    knots = np.linspace(0.0, 1.0, len(_VIRIDIS))
    return np.stack([np.interp(share, knots, channel) for channel in _VIRIDIS.T], axis=1)


def splat_radius(points: NDArray, queries: int = 128) -> float:
    """Radius of discs that cover the surface the points (N, 3) were drawn from.

    It is the median distance to the 6th nearest neighbour, measured at `queries` of the points.
    """
    points = np.asarray(points, dtype=np.float64)
    if len(points) < 2:
        return 0.05
    extent = float(np.ptp(points, axis=0).max())
    some = points[np.linspace(0, len(points) - 1, min(queries, len(points))).astype(int)]
    squared = sum((some[:, None, axis] - points[None, :, axis]) ** 2 for axis in range(3))
    nth = min(_NEIGHBOUR, len(points) - 1)
    radius = float(np.sqrt(np.median(np.partition(squared, nth, axis=1)[:, nth])))
    return min(max(radius, 1e-3 * extent, 1e-6), 0.1 * extent + 1e-6)


def render(
    points: NDArray,
    normals: NDArray,
    colours: Floats,
    camera: Floats,
    size: int = 360,
    layer: float = 0.0,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> NDArray[np.uint8]:
    """Picture (size, size, 3) uint8 of a point cloud, fitted into the frame.

    points (N, 3), normals (N, 3) unit and outward, colours (N, 3) RGB in 0..1; camera from
    `look_from`. layer : points this far behind the nearest one count as the same surface; about
    three times the standard deviation of the noise. No points give an empty picture.
    """
    pixels = size * _SUPERSAMPLING
    if len(points) == 0:
        return _to_bytes(np.zeros((pixels, pixels, 4)), background)
    splats = _splat(points, normals, camera, pixels, splat_radius(points), layer)
    lit = colours[splats.point] * _light(_to_camera(normals, camera))[splats.point, None]
    total = np.bincount(splats.pixel, splats.weight, pixels**2)
    scale = splats.weight / np.maximum(total, 1e-12)[splats.pixel]
    blended = [
        np.bincount(splats.pixel, scale * values, pixels**2).reshape(pixels, pixels)
        for values in (*lit.T, splats.depth)
    ]
    covered = (total > 0).reshape(pixels, pixels).astype(np.float64)
    shade = _crevices(blended[3], covered, pixels)
    channels = [channel * shade for channel in blended[:3]]
    return _to_bytes(np.stack([*channels, covered], axis=2), background)


def visible(
    points: NDArray, normals: NDArray, camera: Floats, size: int = 96, layer: float = 0.0
) -> NDArray[np.bool_]:
    """(N,) bool: which points face the camera and lie in the surface nearest to it."""
    seen = np.zeros(len(points), dtype=bool)
    if len(points):
        splats = _splat(points, normals, camera, size, splat_radius(points), layer)
        seen[splats.point[splats.centre]] = True
    return seen


@dataclass(frozen=True)
class _Splats:
    """The pixels of all discs that are in front: (M,) each.

    pixel : flat index into the picture. point : whose disc it is. depth : of the disc there.
    weight : 1 in the middle of the disc, 0 at its rim. centre : the pixel of the point itself.
    """

    pixel: NDArray[np.intp]
    point: NDArray[np.intp]
    depth: Floats
    weight: Floats
    centre: NDArray[np.bool_]


def _splat(
    points: NDArray, normals: NDArray, camera: Floats, pixels: int, radius: float, layer: float
) -> _Splats:
    """Rasterise the discs of all points that face the camera and keep the nearest surface."""
    position = _to_camera(points, camera)  # (N, 3)
    facing = _to_camera(normals, camera)
    low, high = position[:, :2].min(axis=0) - radius, position[:, :2].max(axis=0) + radius
    scale = (1 - 2 * _MARGIN) * pixels / (high - low).max()
    point = np.flatnonzero(facing[:, 2] > 0)
    across = (position[point, :2] - (low + high) / 2) * (scale, -scale) + pixels / 2  # (K, 2)
    reach = max(radius * scale, 1.2)  # pixels

    steps = np.arange(-np.ceil(reach), np.ceil(reach) + 1)
    window = np.stack(np.meshgrid(steps, steps), axis=2).reshape(-1, 2)  # (W, 2)
    window = window[(window**2).sum(axis=1) <= (reach + 1) ** 2]
    corner = np.floor(across)
    column = corner[:, None, 0] + window[:, 0]  # (K, W)
    row = corner[:, None, 1] + window[:, 1]
    along = column + 0.5 - across[:, None, 0]
    down = row + 0.5 - across[:, None, 1]
    off_axis = (along**2 + down**2) / reach**2
    inside = (off_axis < 1) & (column >= 0) & (column < pixels) & (row >= 0) & (row < pixels)

    x, y, z = facing[point].T
    slope = np.maximum(z, _STEEPEST) * scale
    depth = position[point, 2, None] - along * (x / slope)[:, None] + down * (y / slope)[:, None]
    pixel = (row * pixels + column).astype(np.intp)[inside]
    centre = np.broadcast_to((window == 0).all(axis=1), inside.shape)[inside]
    depth, weight = depth[inside], ((1 - off_axis) ** 2)[inside]
    owner = np.broadcast_to(point[:, None], inside.shape)[inside]

    nearest = np.full(pixels**2, -np.inf)
    np.maximum.at(nearest, pixel, depth)
    front = depth >= nearest[pixel] - max(layer, radius)
    return _Splats(pixel[front], owner[front], depth[front], weight[front], centre[front])


def _to_camera(vectors: NDArray, camera: Floats) -> Floats:
    """(N, 3) in camera axes. Written out, because BLAS may round differently on other machines."""
    x, y, z = (np.asarray(vectors)[:, axis, None].astype(np.float64) for axis in range(3))
    return x * camera[:, 0] + y * camera[:, 1] + z * camera[:, 2]


def _light(facing: Floats) -> Floats:
    """(N,) brightness of normals (N, 3) in camera axes: ambient and Lambert."""
    x, y, z = _LIGHT
    lambert = np.clip(facing[:, 0] * x + facing[:, 1] * y + facing[:, 2] * z, 0.0, 1.0)
    return _AMBIENT + (1 - _AMBIENT) * lambert


def _crevices(depth: Floats, covered: Floats, pixels: int) -> Floats:
    """Brightness factors that darken what lies behind its surroundings (unsharp depth mask)."""
    reach = pixels // 40
    mean = _box_mean(depth * covered, reach) / np.maximum(_box_mean(covered, reach), 1e-12)
    span = max(float(np.ptp(depth[covered > 0], initial=0.0)) if covered.any() else 0.0, 1e-9)
    return 1.0 - np.clip(2.5 * (mean - depth) / span, 0.0, 0.45)


def _box_mean(image: Floats, reach: int) -> Floats:
    """Mean over a square window of 2 reach + 1 pixels; outside the image counts as 0."""
    for axis in (0, 1):
        width = [(0, 0), (0, 0)]
        width[axis] = (reach + 1, reach)
        sums = np.cumsum(np.pad(image, width), axis=axis)
        ends = np.arange(2 * reach + 1, sums.shape[axis])
        image = np.take(sums, ends, axis) - np.take(sums, ends - 2 * reach - 1, axis)
    return image / (2 * reach + 1) ** 2


def _to_bytes(image: Floats, background: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Supersampled (P, P, 4) with coverage last -> (size, size, 3) uint8 over the background."""
    size = len(image) // _SUPERSAMPLING
    opaque = image[..., :3] * image[..., 3:] + np.asarray(background) * (1 - image[..., 3:])
    blocks = opaque.reshape(size, _SUPERSAMPLING, size, _SUPERSAMPLING, 3)
    return np.asarray(np.rint(255 * blocks.mean(axis=(1, 3)).clip(0, 1)), dtype=np.uint8)
