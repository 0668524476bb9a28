# SPDX-License-Identifier: Apache-2.0
"""Arrows on a picture of a cloud, from where points of the pristine surface were to where they are.

A few of the points that were moved are chosen evenly over the picture, among those that are seen.
An arrow is drawn in full where it lies in front of the surface, and shimmers through where it lies
under it (the inside of a bulge); a point on the far side of the object has no arrow. Lengths are
true to scale, as far as they lie in the plane of the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.splats import Floats, Viewport, depth_map

_SPACING = 18  # arrows side by side, if they covered the whole width
_FINE = 4  # drawn this much larger, then reduced: smooth edges
_PIECES = 24  # of a shaft, each hidden or not
# As shares of the picture's width: a point that moved less has no arrow; one that seems to have
# moved less, because it moved towards the viewer or away, has a dot.
_LEAST, _SHORTEST = 0.012, 0.006
_INK, _HALO = (15, 15, 15), (255, 255, 255)
_HIDDEN = 150  # opacity of 255


def choose_arrows(
    cloud: LabelledCloud, viewport: Viewport, layer: float, radius: float
) -> NDArray[np.intp]:
    """Choose the points whose arrows are drawn and return their indices.

    Each square of the picture has one at most, the one whose end is nearest to the middle of the
    square. Points that hardly moved have none.
    """
    far = np.nan_to_num(cloud.moved) * viewport.scale > _LEAST * viewport.size
    known = (cloud.labels > 0) & far
    placed = viewport.project(cloud.points)
    surface = depth_map(cloud.points, cloud.normals, viewport, radius)
    facing = (cloud.normals * viewport.camera[2]).sum(axis=1) > 0
    seen = np.flatnonzero(known & facing & ~_behind(placed, surface, max(layer, radius)))
    edge = max(viewport.size / _SPACING, 4.0)
    square = np.floor(placed[seen, :2] / edge)
    off_centre = np.abs(placed[seen, :2] / edge - square - 0.5).max(axis=1)
    order = np.lexsort((seen, off_centre, square[:, 0], square[:, 1]))
    _, first = np.unique(square[order], axis=0, return_index=True)
    return np.sort(seen[order[first]])


def draw_arrows(
    picture: NDArray[np.uint8],
    cloud: LabelledCloud,
    viewport: Viewport,
    layer: float,
    radius: float,
) -> NDArray[np.uint8]:
    """Draw arrows on the picture (size, size, 3) of a cloud.

    viewport : that of the picture. radius : that of the splats that the picture was drawn with. A
    cloud of unknown displacements, or with none, stays as it is.
    """
    if cloud.displacement is None or not len(cloud.points):
        return picture
    chosen = choose_arrows(cloud, viewport, layer, radius)
    if not len(chosen):
        return picture
    ends = cloud.points[chosen].astype(np.float64)
    starts = ends - cloud.displacement[chosen].astype(np.float64)
    # the way (A, 25, 3) of each arrow over the picture
    steps = np.linspace(0.0, 1.0, _PIECES + 1)[None, :, None]
    way = starts[:, None] + steps * (ends - starts)[:, None]
    way = viewport.project(way.reshape(-1, 3)).reshape(way.shape)
    surface = depth_map(cloud.points, cloud.normals, viewport, radius)
    hidden = _behind(way.reshape(-1, 3), surface, max(layer, radius)).reshape(way.shape[:2])
    hidden[:, -1] = False
    side = viewport.size * _FINE
    overlay = Image.new("RGBA", (side, side), (*_HALO, 0))
    order = np.argsort(way[:, -1, 2], kind="stable")  # nearer ones over farther ones
    draw = ImageDraw.Draw(overlay)
    for arrow in order:
        _draw_arrow(draw, way[arrow, :, :2], hidden[arrow], viewport.size)
    small = overlay.convert("RGBa").resize((viewport.size, viewport.size), Image.Resampling.BOX)
    return _over(picture, np.asarray(small, dtype=np.float64))


def _behind(placed: Floats, surface: Floats, tolerance: float) -> NDArray[np.bool_]:
    """Return (N,) whether places (N, 3) of the picture lie behind its surface by more than that."""
    size = len(surface)
    right, down = np.floor(placed[:, :2]).astype(np.intp).T
    inside = (right >= 0) & (right < size) & (down >= 0) & (down < size)
    front = np.full(len(placed), -np.inf)
    front[inside] = surface[down[inside], right[inside]]
    return placed[:, 2] < front - tolerance


def _draw_arrow(
    draw: ImageDraw.ImageDraw, way: Floats, hidden: NDArray[np.bool_], size: int
) -> None:
    """Draw one arrow along the way (P, 2), in pixels of the picture: shaft by pieces, then head."""
    line = max(size / 300, 1.0)  # width of the shaft
    along = way[-1] - way[0]
    length = float(np.linalg.norm(along))
    if length < _SHORTEST * size:
        for reach, colour in ((1.6 * line, _HALO), (0.9 * line, _INK)):
            box = [*((way[-1] - reach) * _FINE), *((way[-1] + reach) * _FINE)]
            draw.ellipse(box, fill=(*colour, 255))
        return
    along /= length
    head = min(5.0 * line, 0.45 * length)
    neck = way[-1] - along * head
    for wider, colour in ((1.4 * line, _HALO), (0.0, _INK)):
        pixels = max(round((line + wider) * _FINE), 1)
        for start, stop, under in zip(way[:-1], way[1:], hidden[:-1], strict=True):
            if (stop - neck) @ along > 0:  # the head covers the rest
                stop = neck
            if (stop - start) @ along > 0:
                ends = [*(start * _FINE), *(stop * _FINE)]
                draw.line(ends, fill=(*colour, _HIDDEN if under else 255), width=pixels)
        across = np.array([-along[1], along[0]])
        tip = way[-1] + along * wider
        back = neck - along * (0.5 * wider)
        half = 0.42 * head + 0.7 * wider
        corners = (tip, back + across * half, back - across * half)
        draw.polygon([tuple(corner * _FINE) for corner in corners], fill=(*colour, 255))


def _over(picture: NDArray[np.uint8], overlay: Floats) -> NDArray[np.uint8]:
    """Lay an overlay (size, size, 4), colours multiplied by opacity, over the picture."""
    blended = overlay[..., :3] + picture * (1 - overlay[..., 3:] / 255)
    return np.asarray(np.rint(blended.clip(0, 255)), dtype=np.uint8)
