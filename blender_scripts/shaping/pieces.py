# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of a product: solids of their own, and pieces that protrude beyond a plane.

A part is one of two things. Either a connected solid of the product, not its largest; or, of what
lies beyond a plane across an end, one connected piece that protrudes: the section that joins it to
the rest is at most WIDEST wide, each piece of it if it has several, and has at most SLIM of the
part's area (a spout, a neck, a handle, a knob, a leg; not a slab of a box). Either has LEAST to
MOST of the product's area.
"""

from dataclasses import dataclass

import numpy as np

from blender_scripts.designs.shapes import box
from blender_scripts.meshes import GeometryError, areas, boolean
from blender_scripts.portable import dot
from blender_scripts.shaping.topology import parts, solids
from blender_scripts.surface import Surface, tangents, unit

EXTENT = (0.10, 0.45)  # share of the extent along the axis beyond the plane
LEAST, MOST = 0.01, 0.35
SLIM, WIDEST = 0.2, 0.6
PLANES = 12


@dataclass(frozen=True)
class Piece:
    """A piece beyond a plane, cut off there.

    axis (3,) : unit, outwards. level : of the plane along it. block : the box (vertices, faces)
    that holds the piece. vertices, faces, cap (F,) bool : the piece, closed by its section.
    """

    axis: np.ndarray
    level: float
    block: tuple
    vertices: np.ndarray
    faces: np.ndarray
    cap: np.ndarray

    @property
    def section(self):
        """Return the area of the section."""
        return float(areas(self.vertices, self.faces[self.cap]).sum())

    @property
    def joints(self):
        """Return the number of connected pieces of the section."""
        return parts(self.faces[self.cap])[0]

    @property
    def centre(self):
        """Return the centroid (3,) of the section."""
        faces = self.faces[self.cap]
        size, corners = areas(self.vertices, faces), self.vertices[faces].mean(axis=1)
        return (size[:, None] * corners).sum(axis=0) / size.sum()


def draw_piece(surface, rng, draw_axis):
    """Draw planes until a fitting piece lies beyond one, and cut the `Piece` off.

    draw_axis : a function that draws a unit direction (3,) across which the plane lies. Raises
    GeometryError, saying why, when none fits, or when the last is no part.
    """
    reason = GeometryError("no plane was tried")
    for _ in range(PLANES):
        axis = draw_axis()
        s = dot(surface.vertices, axis)
        level = float(s.max() - rng.uniform(*EXTENT) * np.ptp(s))
        try:
            block = _block(surface, rng, axis, level)
        except GeometryError as error:
            reason = error
            continue
        return _cut_off(surface, axis, level, block)
    raise reason


def _cut_off(surface, axis, level, block):
    """Return the `Piece` inside the block. Raises GeometryError where that is no part."""
    vertices, faces, cap = boolean((surface.vertices, surface.faces), block, "INTERSECT")
    size = areas(vertices, faces)
    share = size[~cap].sum() / surface.areas.sum()
    if not LEAST <= share <= MOST:
        raise GeometryError("no part of a fitting size beyond the plane")
    count, owner = parts(faces[cap])
    sides = tangents(axis)
    places = np.stack([dot(vertices, side) for side in sides], axis=1)[faces[cap]]
    width = max(np.ptp(places[owner == k], axis=(0, 1)).max() for k in range(count))
    if width > WIDEST or size[cap].sum() > SLIM * size[~cap].sum():
        raise GeometryError("what lies beyond the plane does not protrude")
    if solids(Surface(vertices, faces)) != 1:
        raise GeometryError("what lies beyond the plane is not one part")
    return Piece(axis, level, block, vertices, faces, cap)


def _block(surface, rng, axis, level):
    """Return a box over one of the pieces beyond the plane that stands clear of the others."""
    beyond = dot(surface.centres, axis) > level
    if not beyond.any():
        raise GeometryError("nothing lies beyond the plane")
    across, along = tangents(axis)
    places = np.stack([dot(surface.vertices, side) for side in (across, along, axis)], axis=1)
    crossed, widths = _crossed(surface, places, level)
    # the connected pieces beyond the plane take longer to find than those of its section
    if widths.min(initial=np.inf) > WIDEST + 0.1:
        raise GeometryError("what lies beyond the plane does not protrude")
    faces = surface.faces[beyond]
    count, owner = parts(faces)
    corners = places[faces]
    lows = np.array([corners[owner == k].min(axis=(0, 1)) for k in range(count)])
    highs = np.array([corners[owner == k].max(axis=(0, 1)) for k in range(count)])
    share = np.bincount(owner, surface.areas[beyond], count) / surface.areas.sum()
    fitting = np.flatnonzero((share >= LEAST) & (share <= MOST))
    if len(fitting) == 0:
        raise GeometryError("no part of a fitting size beyond the plane")
    k = int(rng.choice(fitting))
    own = np.isin(crossed, faces[owner == k]).any(axis=1)
    if widths[own].max(initial=0.0) > WIDEST + 0.1:
        raise GeometryError("what lies beyond the plane does not protrude")
    low, high = lows[k] - 0.02, highs[k] + 0.02
    # both walls of a ring are one piece: a box around the outer wall holds the inner one
    within = ((lows > lows[k]) & (highs < highs[k])).all(axis=1)
    others = ((lows < high) & (highs > low)).all(axis=1) & ~within
    others[k] = False
    if others.any():
        raise GeometryError("the part would not stand clear of the others")
    low[2] = level
    vertices, box_faces = box((1, 1, 1))
    local = (low + high) / 2 + vertices * (high - low)
    frame = np.stack([across, along, axis])
    return dot(local[:, None], frame.T), box_faces


def _crossed(surface, places, level):
    """Return (the faces (F, 3) that a plane crosses, how wide the piece of each is there (F,)).

    places (V, 3) : of the vertices, the last along the axis across the plane.
    """
    heights = places[surface.faces, 2]
    crossed = surface.faces[(heights.min(axis=1) < level) & (heights.max(axis=1) >= level)]
    if len(crossed) == 0:
        return crossed, np.zeros(0)
    count, owner = parts(crossed)
    corners = places[crossed][:, :, :2]
    widths = [np.ptp(corners[owner == k], axis=(0, 1)).max() for k in range(count)]
    return crossed, np.array(widths)[owner]


def own_solids(surface):
    """List the faces (F,) bool of each solid that is a part by itself, with its cavities."""
    count, owner = parts(surface.faces)
    if count < 2:
        return []
    enclosed = np.bincount(owner, surface.sixfold_volumes, count)
    lows, highs = surface.boxes
    share = np.bincount(owner, surface.areas, count) / surface.areas.sum()
    boxes = [(lows[owner == k].min(axis=0), highs[owner == k].max(axis=0)) for k in range(count)]
    found = []
    for k in np.flatnonzero((enclosed > 0) & (share >= LEAST) & (share <= MOST)):
        if share[k] == share.max():
            continue
        low, high = boxes[k]
        inside = [k]
        for j in np.flatnonzero(enclosed <= 0):
            if (boxes[j][0] > low).all() and (boxes[j][1] < high).all():
                inside.append(j)
        found.append(np.isin(owner, inside))
    return found


def in_solid(surface, points):
    """Tell which points (N, 3) lie inside the solid: the first face a ray meets is left there."""
    direction = unit(np.array([0.31, 0.17, 0.94]))
    _, face = surface.cast(points, direction)
    return (face >= 0) & (dot(surface.face_normals[face], direction) > 0)
