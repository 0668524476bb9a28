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
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]

# Grey, orange and dark red differ in lightness too, so every common form of colour blindness can
# tell them apart. Grey and orange are light, because shading can only darken them.
NORMAL_COLOUR = (0.80, 0.83, 0.87)
ANOMALY_COLOUR = (0.98, 0.50, 0.14)
EXPOSED_COLOUR = (0.42, 0.10, 0.02)

# The viridis map at 16 even steps; straight lines between them stay within 0.03 of the original.
_VIRIDIS = (
    "440154 481a6c 472f7d 414487 39568c 31688e 2a788e 23888e "
    "1f988b 22a884 35b779 54c568 7ad151 a5db36 d2e21b fde725"
)

# Each is darker than the one before: it reads the same in grey, and to colour-blind eyes.
_HEAT = (
    NORMAL_COLOUR,
    (0.95, 0.74, 0.36),
    (0.93, 0.54, 0.18),
    (0.75, 0.27, 0.12),
    (0.38, 0.05, 0.10),
)

_SUPERSAMPLING = 2
_AMBIENT = 0.35
_LIGHT = (-0.35, 0.5, 0.79)  # upper left, over the viewer's shoulder; camera axes
_MARGIN = 0.04  # free border, as a share of the picture
# A splat reaches the 6th neighbour: at random positions e^-6 of the surface stays uncovered.
_NEIGHBOUR = 6
_CHUNK = 256  # points at a time: their windows fit into the processor's cache
_STEEPEST = 0.25  # splats seen under a smaller cosine are treated as this steep


def label_colours(labels: Array, exposed: Array | bool = False) -> Floats:
    """Return (N, 3) RGB in 0..1: grey where a label (N,) is 0, orange where it is not.

    Dark red is surface (N,) newly exposed by a cut: an open fissure looks open.
    """
    colours = np.where(np.asarray(labels)[:, None] > 0, ANOMALY_COLOUR, NORMAL_COLOUR)
    return np.where(np.reshape(exposed, (-1, 1)), EXPOSED_COLOUR, colours)


def scalar_colours(values: ArrayLike, largest: float) -> Floats:
    """Return (N, 3) RGB in 0..1 of values (N,): yellow at 0, dark violet from `largest` on."""
    share = 1.0 - np.clip(np.asarray(values, dtype=np.float64) / largest, 0.0, 1.0)
    table = np.array([tuple(bytes.fromhex(colour)) for colour in _VIRIDIS.split()]) / 255
    knots = np.linspace(0.0, 1.0, len(table))
    return np.stack([np.interp(share, knots, channel) for channel in table.T], axis=1)


def heat_colours(values: ArrayLike, low: float, high: float) -> Floats:
    """Return (N, 3) RGB in 0..1 of scores (N,): grey up to `low`, dark red from `high` on.

    Between them lie yellow and orange; lightness falls all the way.
    """
    span = max(high - low, 1e-30)
    share = np.clip((np.asarray(values, dtype=np.float64) - low) / span, 0.0, 1.0)
    knots = np.linspace(0.0, 1.0, len(_HEAT))
    return np.stack([np.interp(share, knots, channel) for channel in zip(*_HEAT, strict=True)], 1)


def splat_radius(points: Array, normals: Array, queries: int = 128) -> float:
    """Measure the radius of discs that cover the surface the points (N, 3) were drawn from.

    It is the median distance, measured at `queries` of the points, to the 6th nearest neighbour
    that faces the same way: the other side of a thin wall does not cover this one.
    """
    points = np.asarray(points, dtype=np.float64)
    if len(points) < 2:
        return 0.05
    extent = float(np.ptp(points, axis=0).max())
    some = np.linspace(0, len(points) - 1, min(queries, len(points))).astype(int)
    squared, facing = np.zeros((2, len(some), len(points)))
    for axis in range(3):
        squared += (points[some, None, axis] - points[None, :, axis]) ** 2
        facing += normals[some, None, axis] * normals[None, :, axis]
    squared[facing < 0.5] = np.inf
    nth = min(_NEIGHBOUR, len(points) - 1)
    radius = float(np.sqrt(np.median(np.partition(squared, nth, axis=1)[:, nth])))
    return min(max(radius, 1e-3 * extent, 1e-6), 0.1 * extent + 1e-6)


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
        placed = _to_camera(points, self.camera)
        placed[:, :2] = (placed[:, :2] - self.middle) * (self.scale, -self.scale) + self.size / 2
        return placed

    def resized(self, size: int) -> Viewport:
        """Return the same view in a picture of another size."""
        return Viewport(self.camera, self.middle, self.scale * (size / self.size), size)


def fit_viewport(points: Array, camera: Floats, size: int, radius: float) -> Viewport:
    """Fit the viewport that holds discs of a radius around all points (N, 3), with a margin.

    N has to be positive.
    """
    position = _to_camera(points, camera)[:, :2]
    low, high = position.min(axis=0) - radius, position.max(axis=0) + radius
    scale = (size - 2 * max(_MARGIN * size, 2.0)) / float((high - low).max())
    return Viewport(camera, (low + high) / 2, scale, size)


def render(
    points: Array,
    normals: Array,
    colours: Floats,
    camera: Floats,
    size: int = 360,
    layer: float = 0.0,
    radius: float | None = None,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
    viewport: Viewport | None = None,
) -> NDArray[np.uint8]:
    """Render a point cloud, fitted into the viewport: a picture (size, size, 3) uint8.

    points (N, 3), normals (N, 3) unit and outward, colours (N, 3) RGB in 0..1; camera from
    `look_from`. layer : points this far behind the nearest one count as the same surface; about
    three times the standard deviation of the noise. radius : of the splats, `splat_radius` when
    None. viewport : of the same camera, to show several clouds alike; fitted to this one when None.
    No points give an empty picture.
    """
    pixels = size * _SUPERSAMPLING
    if len(points) == 0:
        return _to_bytes(np.zeros((pixels, pixels, 4)), background)
    radius = splat_radius(points, normals) if radius is None else radius
    viewport = (viewport or fit_viewport(points, camera, size, radius)).resized(pixels)
    splats = _splat(points, normals, viewport, radius, layer)
    lit = colours[splats.point] * _light(_to_camera(normals, camera))[splats.point, None]
    total = _sums(splats.pixel, splats.weight, pixels)
    share = splats.weight / np.maximum(total.ravel(), 1e-12)[splats.pixel]
    *channels, depth = (
        _sums(splats.pixel, share * values, pixels) for values in (*lit.T, splats.depth)
    )
    covered = (total > 0).astype(np.float64)
    shade = _crevices(depth, covered, layer)
    image = np.stack([*(channel * shade for channel in channels), covered], axis=2)
    return _to_bytes(_fill_pinholes(image, splats.reach), background)


def visible(
    points: Array,
    normals: Array,
    camera: Floats,
    size: int = 96,
    layer: float = 0.0,
    radius: float | None = None,
) -> NDArray[np.bool_]:
    """Return (N,) bool: which points face the camera and lie in the surface nearest to it."""
    seen = np.zeros(len(points), dtype=bool)
    if len(points):
        radius = splat_radius(points, normals) if radius is None else radius
        splats = _splat(points, normals, fit_viewport(points, camera, size, radius), radius, layer)
        seen[splats.point[splats.centre]] = True
    return seen


def depth_map(points: Array, normals: Array, viewport: Viewport, radius: float) -> Floats:
    """Return the (size, size) depth of the nearest surface in each pixel, -inf where there is none.

    Depth is as `Viewport.project` gives it. Some pixels within a surface stay bare by chance.
    """
    depth = np.full(viewport.size**2, -np.inf)
    if len(points):
        splats = _splat(points, normals, viewport, radius, 0.0)
        np.maximum.at(depth, splats.pixel, splats.depth)
    return depth.reshape(viewport.size, viewport.size)


@dataclass(frozen=True)
class _Splats:
    """The pixels of all discs that are in front: (M,) each.

    pixel : flat index into the picture. point : whose disc it is. depth : of the disc there.
    weight : 1 in the middle of the disc, 0 at its rim. centre : the pixel of the point itself.
    reach : radius of the discs in pixels.
    """

    pixel: NDArray[np.intp]
    point: NDArray[np.intp]
    depth: Floats
    weight: Floats
    centre: NDArray[np.bool_]
    reach: float


def _splat(
    points: Array, normals: Array, viewport: Viewport, radius: float, layer: float
) -> _Splats:
    """Rasterise the discs of all points that face the camera and keep the nearest surface."""
    pixels, scale = viewport.size, viewport.scale
    position = viewport.project(points)  # (N, 3)
    facing = _to_camera(normals, viewport.camera)
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
    depth = position[point, 2][owner] + rise / scale
    base, offset = ((xy @ (1, pixels)).astype(np.intp) for xy in (corner, window))
    pixel = base[owner] + offset[step]

    nearest = np.full(pixels**2, -np.inf)
    np.maximum.at(nearest, pixel, depth)
    front = depth >= nearest[pixel] - max(layer, radius)
    pixel, depth, owner, step = pixel[front], depth[front], owner[front], step[front]
    weight = (1.0 - off_axis[front].astype(np.float64)) ** 2
    centre = (window == 0).all(axis=1)[step]
    return _Splats(pixel, point[owner], depth, weight, centre, reach)


def _rasterise(
    shift: Floats, tilt: Floats, window: NDArray[np.float32], reach: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
    """Find which pixels of the window (W, 2) around each of K points its tilted disc covers.

    shift : (K, 2) from the point to the middle of the window; tilt : (K, 2) slope of the tangent
    plane, to the right and up. Returns, for each covered pixel, the point, the place in the
    window, the rise of the plane towards the viewer in pixels, and the squared distance from the
    point as a share of reach squared.
    """
    parts = []
    for start in range(0, max(len(shift), 1), _CHUNK):  # once at least, for the dtypes
        right, down = shift[start : start + _CHUNK].T[:, :, None].astype(np.float32)
        x, y = tilt[start : start + _CHUNK].T[:, :, None].astype(np.float32)
        along, below = window[:, 0] + right, window[:, 1] + down  # (_CHUNK, W)
        rise = below * y - along * x
        off_axis = (along**2 + below**2 + rise**2) / np.float32(reach**2)
        inside = np.flatnonzero(off_axis < 1)
        owner, step = np.divmod(inside, len(window))
        parts.append((owner + start, step, rise.ravel()[inside], off_axis.ravel()[inside]))
    owner, step, rise, off_axis = (np.concatenate(part) for part in zip(*parts, strict=True))
    return owner, step, rise, off_axis


def _to_camera(vectors: Array, camera: Floats) -> Floats:
    """Return (N, 3) vectors in camera axes.

    Written out, because BLAS may round differently on other machines.
    """
    x, y, z = np.asarray(vectors, dtype=np.float64).T[:, :, None]  # (N, 1) each
    turned: Floats = x * camera[:, 0] + y * camera[:, 1] + z * camera[:, 2]
    return turned


def _sums(pixel: NDArray[np.intp], values: Floats, pixels: int) -> Floats:
    """Return (pixels, pixels) sums of the values (M,) that fall on each pixel (M, flat index)."""
    sums = np.bincount(pixel, values, pixels**2)
    return sums.reshape(pixels, pixels).astype(np.float64, copy=False)


def _light(facing: Floats) -> Floats:
    """Return the (N,) brightness of normals (N, 3) in camera axes: ambient and Lambert."""
    x, y, z = _LIGHT
    lambert: Floats = np.clip(facing[:, 0] * x + facing[:, 1] * y + facing[:, 2] * z, 0.0, 1.0)
    return _AMBIENT + (1 - _AMBIENT) * lambert


def _crevices(depth: Floats, covered: Floats, layer: float) -> Floats:
    """Return brightness factors that darken narrow grooves and wide hollows.

    Darkened is what lies behind its surroundings (unsharp depth mask).
    """
    span = max(float(np.ptp(depth[covered > 0])) if covered.any() else 0.0, 1e-9)
    shade = np.ones_like(depth)
    for reach in (len(depth) // 80, len(depth) // 30):
        mean = _box_mean(depth * covered, reach) / np.maximum(_box_mean(covered, reach), 1e-12)
        behind = np.maximum((mean - depth - layer) / span, 0.0)
        shade *= 1.0 - np.minimum(6.0 * behind, 0.6)
    return shade


def _fill_pinholes(image: Floats, reach: float) -> Floats:
    """Give bare pixels that are ringed by covered ones the mean colour of these.

    image (P, P, 4) with coverage last. Chance leaves gaps between the splats, narrower than they
    are; a hole through the object is wider than a splat (`reach` pixels) and stays.
    """
    window = int(0.6 * reach)
    for _ in range(2):  # the second time from the edges that the first time made
        bare = image[..., 3] == 0
        around = _box_mean(image[..., 3], window)
        fill = bare & (around > 0.55)
        if not fill.any():
            break
        for channel in range(3):
            mean = _box_mean(image[..., channel], window)
            image[fill, channel] = mean[fill] / around[fill]
        image[fill, 3] = 1.0
    return image


def _box_mean(image: Floats, reach: int) -> Floats:
    """Return means over a square window of 2 reach + 1 pixels; 0 counts outside the image."""
    for axis in (0, 1):
        width = [(0, 0), (0, 0)]
        width[axis] = (reach + 1, reach)
        sums = np.cumsum(np.pad(image, width), axis=axis)
        ends = np.arange(2 * reach + 1, sums.shape[axis])
        image = np.take(sums, ends, axis) - np.take(sums, ends - 2 * reach - 1, axis)
    return image / (2 * reach + 1) ** 2


def _to_bytes(image: Floats, background: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Lay the supersampled (P, P, 4), coverage last, over the background: (size, size, 3) uint8."""
    size = len(image) // _SUPERSAMPLING
    opaque = image[..., :3] * image[..., 3:] + np.asarray(background) * (1 - image[..., 3:])
    blocks = opaque.reshape(size, _SUPERSAMPLING, size, _SUPERSAMPLING, 3)
    return np.asarray(np.rint(255 * blocks.mean(axis=(1, 3)).clip(0, 1)), dtype=np.uint8)
