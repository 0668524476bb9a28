# SPDX-License-Identifier: Apache-2.0
"""Where to look from: the side from which a defect shows.

The product with its defect and the product without it are drawn small, in grey and without noise,
from 36 directions; the direction from which the two pictures differ most is taken. A bend changes
the outline when it is seen from the side, a twist where the outline is not round, a dent or a hole
changes the shading of the surface that faces the viewer. That the labelled surface itself is seen
counts too, and movement across the line of sight more than movement along it, so that dents are
seen a little from the side.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from intravariance.geometry.viewing import look_from
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.pristine import Change, change
from intravariance.looking.rendering import light
from intravariance.looking.splats import Floats, splat_radius, to_camera

FRONT = (0.75, -1.6, 0.9)  # three-quarter view from the front, slightly above

_AZIMUTHS = np.deg2rad(np.arange(0, 360, 30))  # 0 is the front
# Elevations, and how much a view from there counts: people know products from slightly above.
_ELEVATIONS = ((20, 1.0), (50, 0.9), (-25, 0.6))
_FRONT_BONUS = 0.2
_POINTS = 5_000  # of a larger cloud: they decide as well where to look from
_PIXELS = (24, 96)  # the least and the most of the small pictures
_BACKGROUND = 1.25  # brightness: white lies behind what is drawn in light grey
_LABELS = 0.25  # what a labelled pixel counts, in units of full change of brightness
_DENT = 0.6  # and so much more where the surface was pushed in: the outline hides it
# A view that shows less than this share of the labelled surface that any view shows counts less.
_SHOWN = 0.2
_EXPOSED = 0.4  # and one that shows surface exposed by a cut, which is painted dark


@dataclass(frozen=True)
class _Part:
    """Points that are drawn: the unchanged surface, what the defect left, or what was there.

    points, normals : (N, 3). weight : (N,) what a pixel that shows the point counts for itself.
    """

    points: Floats
    normals: Floats
    weight: Floats
    moved: Floats


def view(cloud: LabelledCloud) -> Floats:
    """Choose the camera (see `look_from`) for a cloud: the front of one without labels.

    Without a pristine surface, the displacements alone say what was there before.
    """
    if not cloud.labels.any():
        return look_from(FRONT)
    cloud = cloud.thinned(_POINTS)
    found = change(cloud)
    parts = _parts(cloud, found)
    radius = splat_radius(found.points, found.normals)
    cameras, counts, measured = [], [], []
    for (elevation, share), azimuth in product(_ELEVATIONS, _AZIMUTHS):
        height = np.deg2rad(elevation)
        level = np.cos(height) * np.array([np.sin(azimuth), -np.cos(azimuth)])
        cameras.append(look_from((*level, np.sin(height))))
        counts.append(share * (1 + _FRONT_BONUS * np.cos(azimuth)))
        measured.append(_visible_change(parts, cameras[-1], radius))
    changed, labelled = np.array(measured).T
    # the change alone would be seen from behind too
    shown = np.minimum(1.0, labelled / max(_SHOWN * labelled.max(), 1e-12))
    score = np.round((changed + labelled) * shown * counts, 9)  # of equal ones, the first
    return cameras[int(score.argmax())] if score.any() else look_from(FRONT)


def _parts(cloud: LabelledCloud, found: Change) -> tuple[_Part, _Part, _Part]:
    """Split what is drawn: unlabelled points, labelled ones, and what was there before."""
    labelled = cloud.labels > 0
    exposed = cloud.exposed
    moved = np.zeros_like(found.points)
    if cloud.displacement is not None:
        moved = np.nan_to_num(cloud.displacement.astype(np.float64))
    # 1 where all moved inwards, as into a dent; a bend moves as much outwards
    length = np.sqrt((moved**2).sum(axis=1)).sum()
    inwards = max(-float((moved * found.normals).sum()) / max(length, 1e-12), 0.0)
    weight = np.where(exposed, _EXPOSED, _LABELS + _DENT * inwards)
    nothing = np.zeros(len(found.before))

    def some(keep: NDArray[np.bool_], counts: Floats) -> _Part:
        return _Part(found.points[keep], found.normals[keep], counts[keep], moved[keep])

    return (
        some(~labelled, np.zeros(len(labelled))),
        some(labelled, weight),
        _Part(found.before, found.normals_before, nothing, np.zeros_like(found.before)),
    )


def _visible_change(
    parts: tuple[_Part, _Part, _Part], camera: Floats, radius: float
) -> tuple[float, float]:
    """Measure how much two pictures from there differ: an area, of full change of brightness.

    Returns that, and the area of labelled surface that is seen, times what its pixels count.
    parts : the unchanged surface, what the defect left, and what was there before it.
    """
    from scipy.ndimage import uniform_filter  # noqa: PLC0415 - weight

    placed = [to_camera(part.points, camera) for part in parts]
    everything = np.concatenate(placed)[:, :2]
    low, high = everything.min(axis=0), everything.max(axis=0)
    extent = float((high - low).max()) + 1e-9
    size = int(np.clip(1.5 * extent / radius, *_PIXELS))
    scale = size / extent
    reach = int(np.ceil(radius * scale - 0.5))
    pixels = size + 2 * reach + 3
    unchanged, now, before = (
        _draw(part, places, ((places[:, :2] - low) * scale).astype(np.intp), camera, pixels, reach)
        for part, places in zip(parts, placed, strict=True)
    )
    with_defect, without = _nearer(unchanged, now), _nearer(unchanged, before)
    brightness = np.stack([with_defect[1], without[1]]).reshape(2, pixels, pixels)
    # a person does not see single pixels
    smooth = uniform_filter(brightness, (1, 3, 3), mode="nearest")
    area = 1 / scale**2
    return area * float(np.abs(smooth[0] - smooth[1]).sum()), area * float(with_defect[2].sum())


def _draw(
    part: _Part, placed: Floats, corner: NDArray[np.intp], camera: Floats, pixels: int, reach: int
) -> Floats:
    """Draw squares of 2 reach + 1 pixels around points (N, 3) in camera axes that face the viewer.

    corner : (N, 2) pixels. Returns (3, pixels^2): depth, brightness and what a pixel counts.
    """
    picture = np.zeros((3, pixels * pixels))
    picture[0], picture[1] = -np.inf, _BACKGROUND
    facing = to_camera(part.normals, camera)
    order = np.flatnonzero(facing[:, 2] > 0)
    order = order[np.argsort(placed[order, 2], kind="stable")]  # from the farthest to the nearest
    steps = np.arange(2 * reach + 1)
    square = (steps[:, None] * pixels + steps).ravel()
    pixel = (corner[order] @ (1, pixels))[:, None] + square  # (K, S)
    front = np.full(pixels * pixels, -1)
    front[pixel.ravel()] = order.repeat(len(square))  # the last one, which is the nearest, stays
    seen = np.flatnonzero(front >= 0)
    point = front[seen]
    bright = light(facing[point])
    counts = part.weight[point] * _crosswise(part.moved[point], camera)
    picture[:, seen] = placed[point, 2], bright, counts * bright  # colours are lost in the dark
    return picture


def _nearer(first: Floats, second: Floats) -> Floats:
    """Lay two pictures (3, P) over each other, the nearer in front."""
    return np.where(second[0] > first[0], second, first)


def _crosswise(moved: Floats, camera: Floats) -> Floats:
    """Return (N,) what movements (N, 3) count: 1 across the line of sight, 0.5 along it.

    1 where nothing moved.
    """
    squared = (moved**2).sum(axis=1)
    along = to_camera(moved, camera)[:, 2] ** 2
    return np.asarray(0.5 + 0.5 * np.sqrt(1 - along / np.maximum(squared, 1e-18)).clip(0, 1))
