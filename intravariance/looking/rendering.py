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

import numpy as np
from numpy.typing import NDArray

from intravariance.looking.splats import (
    Array,
    Floats,
    Viewport,
    fit_viewport,
    splat,
    splat_radius,
    to_camera,
)

_SUPERSAMPLING = 2
_AMBIENT = 0.35
_LIGHT = (-0.35, 0.5, 0.79)  # upper left, over the viewer's shoulder; camera axes


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
    relief: Floats | float = 1.0,
) -> NDArray[np.uint8]:
    """Render a point cloud, fitted into the viewport: a picture (size, size, 3) uint8.

    points (N, 3), normals (N, 3) unit and outward, colours (N, 3) RGB in 0..1; camera from
    `look_from`. layer : points this far behind the nearest one count as the same surface; about
    three times the standard deviation of the noise. radius : of the splats, `splat_radius` when
    None. viewport : of the same camera, to show several clouds alike; fitted to this one when None.
    relief : (N,), or one for all: how much of the light's difference shows on a point, 0 to 1.
    No points give an empty picture.
    """
    pixels = size * _SUPERSAMPLING
    if len(points) == 0:
        return _to_bytes(np.zeros((4, pixels, pixels)), background)
    radius = splat_radius(points, normals) if radius is None else radius
    viewport = (viewport or fit_viewport(points, camera, size, radius)).resized(pixels)
    splats = splat(points, normals, viewport, radius, layer)
    shade = 1.0 - relief * (1.0 - light(to_camera(normals, camera)))  # (N,)
    lit = np.asarray(colours, dtype=np.float32).T * shade  # (3, N)
    total = _sums(splats.pixel, splats.weight, pixels)
    values = [*(channel[splats.point] for channel in lit), splats.depth]
    sums = np.stack([_sums(splats.pixel, splats.weight * value, pixels) for value in values])
    sums /= np.maximum(total, 1e-12)
    covered = (total > 0).astype(np.float32)
    hollows = _crevices(_halved(sums[3] * covered), _halved(covered), layer)
    sums[:3] *= hollows.repeat(_SUPERSAMPLING, axis=0).repeat(_SUPERSAMPLING, axis=1)
    sums[3] = covered
    return _to_bytes(_fill_pinholes(sums, splats.reach), background)


def _sums(pixel: NDArray[np.intp], values: Array, pixels: int) -> NDArray[np.float32]:
    """Return (pixels, pixels) sums of the values (M,) that fall on each pixel (M, flat index)."""
    return np.bincount(pixel, values, pixels**2).astype(np.float32).reshape(pixels, pixels)


def light(facing: Floats) -> Floats:
    """Return the (N,) brightness of normals (N, 3) in camera axes: ambient and Lambert."""
    x, y, z = _LIGHT
    lambert: Floats = np.clip(facing[:, 0] * x + facing[:, 1] * y + facing[:, 2] * z, 0.0, 1.0)
    return _AMBIENT + (1 - _AMBIENT) * lambert


def _crevices(depth: Array, covered: Array, layer: float) -> Array:
    """Return brightness factors (P, P) that darken narrow grooves and wide hollows.

    depth (P, P), times covered (P, P), the share of a pixel that is. Darkened is what lies behind
    its surroundings (unsharp depth mask).
    """
    here = depth / np.maximum(covered, 1e-6)
    inside = covered > 0
    span = max(float(np.ptp(here[inside])) if inside.any() else 0.0, 1e-9)
    shade = np.ones_like(depth)
    for reach in (len(depth) // 80, len(depth) // 30):
        mean = _box_mean(depth, reach) / np.maximum(_box_mean(covered, reach), 1e-6)
        behind = np.maximum((mean - here - layer) / span, 0.0)
        shade *= 1.0 - np.minimum(6.0 * behind, 0.6)
    return shade


def _fill_pinholes(image: Array, reach: float) -> Array:
    """Give bare pixels that are ringed by covered ones the mean colour of these.

    image (4, P, P) with coverage last. Chance leaves gaps between the splats, narrower than they
    are; a hole through the object is wider than a splat (`reach` pixels) and stays.
    """
    window = int(0.6 * reach)
    for _ in range(2):  # the second time from the edges that the first time made
        around = _box_mean(image[3], window)
        fill = (image[3] == 0) & (around > 0.55)
        if not fill.any():
            break
        for channel in image[:3]:
            channel[fill] = _box_mean(channel, window)[fill] / around[fill]
        image[3, fill] = 1.0
    return image


def _box_mean(image: Array, reach: int) -> Array:
    """Return means over a square window of 2 reach + 1 pixels; 0 counts outside the image."""
    from scipy.ndimage import uniform_filter  # noqa: PLC0415 - weight

    return np.asarray(uniform_filter(image, 2 * reach + 1, mode="constant"))


def _halved(image: Array) -> Array:
    """Return the means (..., size, size) of the blocks of supersampled pixels (..., P, P)."""
    parts = [
        image[..., row::_SUPERSAMPLING, column::_SUPERSAMPLING]
        for row in range(_SUPERSAMPLING)
        for column in range(_SUPERSAMPLING)
    ]
    return np.asarray(sum(parts[1:], start=parts[0]) / np.float32(len(parts)))


def _to_bytes(image: Array, background: tuple[float, float, float]) -> NDArray[np.uint8]:
    """Lay the supersampled (4, P, P), coverage last, over the background: (size, size, 3) uint8.

    Where nothing is covered, the channels are 0.
    """
    *channels, covered = _halved(image)
    layers = [
        channel + behind * (1 - covered)
        for channel, behind in zip(channels, background, strict=True)
    ]
    return np.asarray(np.rint(255 * np.stack(layers, 2).clip(0, 1)), dtype=np.uint8)
