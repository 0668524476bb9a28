# SPDX-License-Identifier: GPL-3.0-or-later
"""Misaligned: a part of the product shifted or turned against the rest, still attached.

A part is one of two things. Either a connected solid of the product, not its largest; or, of what
lies beyond a plane across an end of a main axis, one connected piece that protrudes: the section
that joins it to the rest is at most WIDEST wide, each piece of it if it has several, and has at
most SLIM of the part's area (a spout, a neck, a handle, a knob, a leg; not a slab of a box). Either
has LEAST to MOST of the product's area. A product without such a part is refused.

The part moves as a rigid body: along the section, or about the axis across it, and a hair into the
rest, so that they stay one; a solid of its own moves in any direction and turns about its middle.
What makes it misaligned: it departs visibly, it still touches what it touched (the number of
solids stays), and it does not pass into the rest: the overlap of a joined part stays below DEEP
times that of the hair, and of a solid of its own at most INSIDE more of its surface goes in.

Severity 0 .. 1 sets the shift, SHIFT, and the turn, TURN; each is used alone, one time in two.
Labelled are the whole part, whose points have the displacement of its motion, the surface that the
shift exposed, and the rim; the displacement of the last two is not defined.
"""

from dataclasses import dataclass

import numpy as np

from blender_scripts.designs.shapes import box
from blender_scripts.meshes import (
    GeometryError,
    areas,
    boolean,
    flip_flat_faces,
    subdivide_long_edges,
    volume,
)
from blender_scripts.portable import cos, dot, norm, sin
from blender_scripts.shaping.cutting import border_points
from blender_scripts.shaping.fields import drawn, random_direction
from blender_scripts.shaping.portion import pick_end
from blender_scripts.shaping.result import Defective, deformed, listed
from blender_scripts.shaping.topology import parts, solids
from blender_scripts.surface import Surface, tangents, unit

SHIFT = (0.025, 0.12)  # radii: slight, severe
TURN = (5.0, 30.0)  # degrees, but no point of the part moves further than FARTHEST
FARTHEST = 0.3
EXTENT = (0.10, 0.45)  # share of the extent along the axis beyond the plane
LEAST, MOST = 0.01, 0.35
SLIM, WIDEST = 0.2, 0.6
HAIR = 0.004
DEEP = 3.0
INSIDE = 0.05
PLANES = 12
SEAM_EDGE = 0.012  # edges of the rest at the seam, which is within RIM_WIDTH of the rim


@dataclass(frozen=True)
class Motion:
    """A rigid motion: x -> turn (x - centre) + centre + shift."""

    turn: np.ndarray
    centre: np.ndarray
    shift: np.ndarray

    def moved(self, points):
        """Return the points (N, 3) after the motion."""
        offset = (points - self.centre)[:, None]
        return dot(offset, self.turn) + self.centre + self.shift

    def came_from(self, points):
        """Return where the points (N, 3) were before the motion."""
        back = points - self.centre - self.shift
        return dot(back[:, None], self.turn.T) + self.centre


def misaligned(surface, rng, severity):
    """Shift or turn one part. Raises GeometryError, saying why, where there is no part to move."""
    shift = drawn(rng, severity, *SHIFT)
    degrees = drawn(rng, severity, *TURN)
    turned = bool(rng.random() < 0.5)
    own = _own_solids(surface)
    if own and rng.random() < 0.5:
        faces = own[rng.integers(len(own))]
        return _move_solid(surface, rng, faces, 0.0 if turned else shift, degrees * turned)
    return _move_piece(surface, rng, 0.0 if turned else shift, degrees * turned)


def _own_solids(surface):
    """List the faces (F,) bool of each solid that can be moved by itself, with its cavities."""
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


def _move_solid(surface, rng, faces, shift, degrees):
    """Move a connected solid, the `faces` (F,) bool, in any direction."""
    rows = np.unique(surface.faces[faces])
    centre = surface.vertices[rows].mean(axis=0)
    axis = random_direction(rng)
    degrees = _limited(degrees, surface.vertices[rows] - centre, axis)
    motion = Motion(_rotation(axis, degrees), centre, shift * random_direction(rng))
    displacement = np.zeros_like(surface.vertices)
    displacement[rows] = motion.moved(surface.vertices[rows]) - surface.vertices[rows]
    rest = Surface(surface.vertices, surface.faces[~faces])
    some = rows[:: max(1, len(rows) // 200)]
    before, after = (
        _inside(rest, surface.vertices[some] + share * displacement[some]).mean()
        for share in (0.0, 1.0)
    )
    if after > before + INSIDE:
        raise GeometryError("the part would pass into the rest")
    return deformed(surface, displacement, _parameters("solid", axis, shift, degrees, centre))


def _move_piece(surface, rng, shift, degrees):
    """Cut off one protruding piece beyond a plane, and put it back shifted or turned."""
    axis, level, block = _place(surface, rng)
    across, along = tangents(axis)
    vertices, faces, cap = boolean((surface.vertices, surface.faces), block, "INTERSECT")
    size = areas(vertices, faces)
    share = size[~cap].sum() / surface.areas.sum()
    if not LEAST <= share <= MOST:
        raise GeometryError("no part of a fitting size beyond the plane")
    section = faces[cap]
    count, owner = parts(section)
    places = np.stack([dot(vertices, side) for side in (across, along)], axis=1)[section]
    width = max(np.ptp(places[owner == k], axis=(0, 1)).max() for k in range(count))
    if width > WIDEST or size[cap].sum() > SLIM * size[~cap].sum():
        raise GeometryError("what lies beyond the plane does not protrude")
    if solids(Surface(vertices, faces)) != 1:
        raise GeometryError("what lies beyond the plane is not one part")
    rest = boolean((surface.vertices, surface.faces), block)
    corners = vertices[faces[cap]].mean(axis=1)
    centre = (size[cap, None] * corners).sum(axis=0) / size[cap].sum()
    angle = rng.uniform(0, 2 * np.pi)
    sideways = cos(angle) * across + sin(angle) * along
    degrees = _limited(degrees, vertices - centre, axis)
    motion = Motion(_rotation(axis, degrees), centre, shift * sideways - HAIR * axis)
    union = boolean(rest[:2], (motion.moved(vertices), faces), "UNION")
    overlap = volume(*rest[:2]) + volume(vertices, faces) - volume(*union[:2])
    if overlap > DEEP * HAIR * size[cap].sum():
        raise GeometryError("the part would pass into the rest")
    if solids(Surface(*union[:2])) != surface.kept(solids):
        raise GeometryError("the part would come loose")
    parameters = _parameters("piece", axis, shift, degrees, centre)
    return _labelled(union, motion, axis, level, {**parameters, "level": level})


def _place(surface, rng):
    """Draw planes until a fitting piece lies beyond one: (axis (3,), level, box over the piece)."""
    reason = GeometryError("no plane was tried")
    for _ in range(PLANES):
        axis, _ = pick_end(surface, rng, tilt=20.0, power=1.0)
        s = dot(surface.vertices, axis)
        level = float(s.max() - rng.uniform(*EXTENT) * np.ptp(s))
        try:
            return axis, level, _piece_block(surface, rng, axis, level)
        except GeometryError as error:
            reason = error
    raise reason


def _piece_block(surface, rng, axis, level):
    """Return a box over one of the pieces beyond the plane that stands clear of the others."""
    beyond = dot(surface.centres, axis) > level
    if not beyond.any():
        raise GeometryError("nothing lies beyond the plane")
    faces = surface.faces[beyond]
    count, owner = parts(faces)
    across, along = tangents(axis)
    places = np.stack([dot(surface.vertices, side) for side in (across, along, axis)], axis=1)
    corners = places[faces]
    lows = np.array([corners[owner == k].min(axis=(0, 1)) for k in range(count)])
    highs = np.array([corners[owner == k].max(axis=(0, 1)) for k in range(count)])
    share = np.bincount(owner, surface.areas[beyond], count) / surface.areas.sum()
    fitting = np.flatnonzero((share >= LEAST) & (share <= MOST))
    if len(fitting) == 0:
        raise GeometryError("no part of a fitting size beyond the plane")
    k = int(rng.choice(fitting))
    lowest = corners[owner == k].reshape(-1, 3)
    lowest = lowest[lowest[:, 2] < level + 0.05, :2]
    if len(lowest) == 0 or np.ptp(lowest, axis=0).min() > WIDEST + 0.1:
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


def _labelled(union, motion, axis, level, parameters):
    """Return the `Defective` of the union of the rest and the moved part."""
    vertices, faces, part = flip_flat_faces(*union)
    near = dot(vertices, axis)

    def longest(middles):
        return np.where(np.abs(dot(middles, axis) - level) < 0.02, SEAM_EDGE, np.inf)

    vertices, faces, part = subdivide_long_edges(vertices, faces, longest, part, rounds=8)
    near = dot(vertices, axis)
    on_plane = [
        (np.abs(near[faces] - height) < 1e-5).all(axis=1) for height in (level, level - HAIR)
    ]
    cap = (on_plane[0] & ~part) | (on_plane[1] & part)
    rim = border_points(vertices, faces, part | cap)
    moved = np.zeros(len(vertices), dtype=bool)
    moved[faces[part & ~cap]] = True
    displacement = np.zeros_like(vertices)
    displacement[moved] = vertices[moved] - motion.came_from(vertices[moved])
    # a face of the rest at the seam has corners that moved and corners that did not
    seam = ~part & moved[faces].any(axis=1)
    return Defective(
        vertices=vertices,
        faces=faces,
        displacement=displacement,
        cut=cap | seam,
        rim=rim,
        parameters=parameters,
    )


def _inside(surface, points):
    """Tell which points (N, 3) lie inside the solid: the first face a ray meets is left there."""
    direction = unit(np.array([0.31, 0.17, 0.94]))
    _, face = surface.cast(points, direction)
    return (face >= 0) & (dot(surface.face_normals[face], direction) > 0)


def _limited(degrees, arms, axis):
    """Return the angle, less where an arm (N, 3) from the axis would carry FARTHEST away."""
    reach = norm(arms - dot(arms, axis)[:, None] * axis).max()
    return float(min(degrees, np.degrees(FARTHEST / reach)))


def _rotation(axis, degrees):
    """Return the rotation (3, 3) about a unit axis (3,)."""
    x, y, z = axis
    c, s = cos(np.radians(degrees)), sin(np.radians(degrees))
    turn = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return c * np.eye(3) + s * turn + (1 - c) * axis[:, None] * axis[None, :]


def _parameters(part, axis, shift, degrees, centre):
    return {
        "part": part,
        "axis": listed(axis),
        "centre": listed(centre),
        "shift": float(shift),
        "turn_degrees": float(degrees),
    }
