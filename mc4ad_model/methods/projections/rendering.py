# SPDX-License-Identifier: Apache-2.0
"""Images of a cloud: shaded ones from directions all around, and ones of depth on planes inside.

Every image is square and is seen straight on, without perspective. In a view's frame x points to
the right, y up and z to the eye. A z-buffer decides which point hides which; no two points tie,
since the earlier one of a cloud counts as nearer. Nothing is drawn at random.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

Floats = NDArray[np.float64]

REACH = 1.25  # half the side of an image, in radii of the product
_GREY = 0.5  # of a surface that faces the eye; the background is white, 1
_BEHIND = 2.0  # radii of a disc by which a point may lie behind what is in front of it, on a slope


@dataclass(frozen=True)
class View:
    """A cloud as it is seen from one direction.

    Parameters
    ----------
    shades : (H, H) float32
        Half the cosine between normal and direction, whichever way the normal points; 1 where there
        is nothing. The first row is the highest.
    height : (H, H) float64
        z of the nearest point in the view's frame; -inf where there is nothing.
    places : (N, 2) float64
        x and y of the points, from -1 to 1 within the image.
    seen : (N,) bool
        Whether a point is in the image and not hidden.
    """

    shades: NDArray[np.float32]
    height: Floats
    places: Floats
    seen: NDArray[np.bool_]


def directions_around(count: int) -> Floats:
    """Return (count, 3, 3) rotations into the frames of views from all around, upright ones.

    The directions to the eye, the last rows, are a golden spiral on the sphere about the z axis.
    """
    steps = np.arange(count) + 0.5
    z, angle = 1 - 2 * steps / count, np.pi * (3 - math.sqrt(5)) * steps
    flat = np.sqrt(1 - z**2)
    eye = np.stack([flat * np.cos(angle), flat * np.sin(angle), z], axis=1)
    right = np.stack([-np.sin(angle), np.cos(angle), np.zeros(count)], axis=1)
    return np.stack([right, np.cross(eye, right), eye], axis=1)


def disc_radius(count: int) -> float:
    """Return the radius of the disc that each of so many points covers: it closes most gaps.

    It is 0.04 for 10,000 points and 0.1 at most.
    """
    return float(min(4 / math.sqrt(count), 0.1))


def render(points: NDArray[Any], normals: NDArray[Any], rotation: Floats, size: int) -> View:
    """Draw a cloud (N, 3) with unit normals (N, 3) as an image of size x size pixels.

    Parameters
    ----------
    rotation : (3, 3)
        Into the frame of the view.
    """
    turned = np.einsum("ni,ji->nj", points, rotation)  # (N, 3)
    facing = np.abs(np.einsum("ni,i->n", normals, rotation[2]))
    order = np.argsort(-turned[:, 2], kind="stable")  # nearest first
    rank = np.zeros(len(points), dtype=np.intp)
    rank[order] = np.arange(len(points))
    columns = np.floor((turned[:, 0] / REACH + 1) / 2 * size).astype(np.intp)
    rows = np.floor((1 - turned[:, 1] / REACH) / 2 * size).astype(np.intp)
    inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    first = np.full((size, size), len(points), dtype=np.intp)
    np.minimum.at(first, (rows[inside], columns[inside]), rank[inside])
    radius = disc_radius(len(points))
    first = minimum_filter(first, footprint=_disc(radius, size), mode="constant", cval=len(points))
    height = np.append(turned[order, 2], -np.inf)[first]
    shades = np.append(_GREY * facing[order], 1.0)[first]
    seen = inside.copy()
    seen[inside] = turned[inside, 2] >= height[rows[inside], columns[inside]] - _BEHIND * radius
    return View(shades.astype(np.float32), height, turned[:, :2] / REACH, seen)


def _disc(radius: float, size: int) -> NDArray[np.bool_]:
    """Return the pixels that a point covers, around its own, which is one of them."""
    reach = radius * size / (2 * REACH)
    steps = np.arange(-math.floor(reach), math.floor(reach) + 1)
    return np.asarray(steps[:, None] ** 2 + steps**2 <= reach**2)


def slices(points: NDArray[Any], size: int) -> NDArray[np.float32]:
    """Draw a cloud (N, 3) on planes at its top, at its bottom, and on both sides of its middle.

    Returns
    -------
    (4, size, size) float32
        Along z: 1 on the plane, 0 as far from it as any point that is drawn, and where there is
        none. All points on the top and the bottom plane; the upper ones on the upper side of the
        middle plane, the lower ones on its lower side, as seen from inside.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    cells = (points[:, :2] - low[:2]) / np.maximum(high[:2] - low[:2], 1e-12) * (size - 1)
    columns, rows = cells.astype(np.intp).T
    z, middle = points[:, 2], (low[2] + high[2]) / 2
    whole, upper = np.ones(len(points), dtype=bool), z >= middle
    images = np.zeros((4, size, size), dtype=np.float32)
    planes = ((high[2], whole), (low[2], whole), (middle, upper), (middle, z <= middle))
    for image, (plane, drawn) in zip(images, planes, strict=True):
        distance = np.abs(z[drawn] - plane)
        bright = 1 - distance / max(float(distance.max(initial=0.0)), 1e-12)
        np.maximum.at(image, (rows[drawn], columns[drawn]), bright.astype(np.float32))
    return images
