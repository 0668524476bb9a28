# SPDX-License-Identifier: GPL-3.0-or-later
"""Misaligned: a part of the product shifted or turned against the rest, still attached.

A part is a connected solid of the product, or a piece that protrudes beyond a plane across an end
of a main axis: see `shaping.pieces`. A product without such a part is refused.

The part moves as a rigid body: along the section, or about the axis across it, and a hair into the
rest, so that they stay one; a solid of its own moves in any direction and turns about its middle.
These properties make it misaligned: it departs visibly, it still touches what it touched (the
number of solids stays), and it does not pass into the rest: the overlap of a joined part stays
below DEEP times that of the hair, and of a solid of its own at most INSIDE more of its surface goes
in.

Severity 0 .. 1 sets the shift, SHIFT, and the turn, TURN; each is used alone, one time in two.
Labelled are the whole part, whose points have the displacement of its motion, the surface that the
shift exposed, and the rim; the displacement of the last two is not defined.
"""

from dataclasses import dataclass

import numpy as np

from blender_scripts.meshes import (
    GeometryError,
    boolean,
    flip_flat_faces,
    subdivide_long_edges,
    volume,
)
from blender_scripts.portable import cos, dot, norm, sin
from blender_scripts.shaping.cutting import border_points
from blender_scripts.shaping.fields import drawn, random_direction
from blender_scripts.shaping.pieces import draw_piece, in_solid, own_solids
from blender_scripts.shaping.portion import pick_end
from blender_scripts.shaping.result import Defective, deformed, listed
from blender_scripts.shaping.topology import solids
from blender_scripts.surface import Surface, tangents

SHIFT = (0.025, 0.12)  # radii: slight, severe
TURN = (5.0, 30.0)  # degrees, but no point of the part moves further than FARTHEST
FARTHEST = 0.3
HAIR = 0.004
DEEP = 3.0
INSIDE = 0.05
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
    own = own_solids(surface)
    if own and rng.random() < 0.5:
        faces = own[rng.integers(len(own))]
        return _move_solid(surface, rng, faces, 0.0 if turned else shift, degrees * turned)
    return _move_piece(surface, rng, 0.0 if turned else shift, degrees * turned)


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
        in_solid(rest, surface.vertices[some] + share * displacement[some]).mean()
        for share in (0.0, 1.0)
    )
    if after > before + INSIDE:
        raise GeometryError("the part would pass into the rest")
    return deformed(surface, displacement, _parameters("solid", axis, shift, degrees, centre))


def _move_piece(surface, rng, shift, degrees):
    """Cut off one protruding piece beyond a plane, and put it back shifted or turned."""
    piece = draw_piece(surface, rng, lambda: pick_end(surface, rng, tilt=20.0, power=1.0)[0])
    axis, vertices, faces = piece.axis, piece.vertices, piece.faces
    rest = boolean((surface.vertices, surface.faces), piece.block)
    centre = piece.centre
    angle = rng.uniform(0, 2 * np.pi)
    across, along = tangents(axis)
    sideways = cos(angle) * across + sin(angle) * along
    degrees = _limited(degrees, vertices - centre, axis)
    motion = Motion(_rotation(axis, degrees), centre, shift * sideways - HAIR * axis)
    union = boolean(rest[:2], (motion.moved(vertices), faces), "UNION")
    overlap = volume(*rest[:2]) + volume(vertices, faces) - volume(*union[:2])
    if overlap > DEEP * HAIR * piece.section:
        raise GeometryError("the part would pass into the rest")
    if solids(Surface(*union[:2])) != surface.kept(solids):
        raise GeometryError("the part would come loose")
    parameters = _parameters("piece", axis, shift, degrees, centre)
    return _labelled(union, motion, axis, piece.level, {**parameters, "level": piece.level})


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
