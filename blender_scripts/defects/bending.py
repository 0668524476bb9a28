# SPDX-License-Identifier: GPL-3.0-or-later
"""Bending: one portion of the product bent to the side, as a nail is bent.

The portion is an end along a main axis (longer axes likelier). Behind a plane across that axis the
product stays; from the plane on its centre line follows an arc of constant length, and beyond the
arc it goes straight on. Flat products bend across their thickness, mostly. The arc is so wide that
the outer side is stretched, and the inner side compressed, by STRAIN at most.

A thing bends where it is slender: a neck, a brim, a sheet. So up to PORTIONS portions and sides are
drawn, and the first is taken that is an arm, SLENDER times as long as it is thick at the plane
towards the side it bends to. A product without one (a bowl, a box) bends where it is least
stout among those that were drawn.

The angle is as large as the wanted departure takes: the root mean square, over the labelled
surface, of its distance from the pristine surface.

A sample that is called bending has passed `no_bending`: an angle between LEAST_ANGLE and
MOST_ANGLE, or MOST_OF_STOUT where the portion is no arm, of one end of the product, while the
larger part stays; and the portion hangs on what stays: pieces of the product that reach across the
plane have at least the share CARRIED of what moves, so that no part by itself is put askew. The
topology stays; the general tests are those of `plausibility`.

Severity 0 .. 1: departure DEPARTURE. Portion: PORTION of the area. Labelled is what moved.
"""

from dataclasses import dataclass

import numpy as np

from blender_scripts.meshes import GeometryError
from blender_scripts.portable import cos, dot, sin
from blender_scripts.shaping.fields import drawn, fitted, rms_departure
from blender_scripts.shaping.portion import pick_end, start_of_portion
from blender_scripts.shaping.result import deformed, listed
from blender_scripts.shaping.topology import pieces
from blender_scripts.surface import unit

DEPARTURE = (0.004, 0.018)
LEAST_ANGLE, MOST_ANGLE = 1.0, 30.0
MOST_OF_STOUT = 8.0
PORTION = (0.20, 0.44)
PORTIONS, SLENDER = 10, 1.5
CARRIED = 0.5
STRAIN = 0.35
# The arc takes at least this share of the portion's length.
ARC = 0.4


@dataclass(frozen=True)
class Arc:
    """Where and whither a product bends: unit directions, start along the one, middle across it.

    thickness : at the start, along `sideways`. share : of the area that lies beyond the start.
    """

    along: np.ndarray
    sideways: np.ndarray
    start: float
    middle: float
    half_width: float
    length: float
    thickness: float
    share: float

    @property
    def slenderness(self):
        """Return how many times as long as thick the portion is."""
        return self.length / max(self.thickness, 1e-9)

    def radius(self, angle):
        """Return the radius of the arc of the centre line for an angle in radians."""
        return max(self.half_width / STRAIN, ARC * self.length / max(angle, 1e-9))

    def move(self, points, angle):
        """Return the displacement (N, 3) of points (N, 3) for an angle in radians."""
        radius = self.radius(angle)
        # u: along the centre line from the plane on; v: off it towards the arc's centre
        u = np.maximum(dot(points, self.along) - self.start, 0.0)
        v = dot(points, self.sideways) - self.middle
        turned = np.minimum(u / radius, angle)
        straight = np.maximum(u - radius * angle, 0.0)
        new_u = (radius - v) * sin(turned) + straight * cos(turned)
        new_v = radius - (radius - v) * cos(turned) + straight * sin(turned)
        moved = (new_u - u)[:, None] * self.along + (new_v - v)[:, None] * self.sideways
        moved[u == 0] = 0.0
        return moved


def bending(surface, rng, severity):
    """Bend one end of the product to a side."""
    wanted = drawn(rng, severity, *DEPARTURE)
    arc = _slenderest(surface, rng)
    some = surface.centres[surface.spread(dot(surface.centres, arc.along) > arc.start, 100)]
    angle = fitted(
        lambda x: rms_departure(surface, some, arc.move(some, x)),
        wanted,
        np.radians(_most_angle(arc.slenderness)),
    )
    if rms_departure(surface, some, arc.move(some, angle)) < 0.75 * wanted:
        raise GeometryError("bending that portion changes too little")
    return deformed(
        surface,
        arc.move(surface.vertices, angle),
        {
            "axis": listed(arc.along),
            "towards": listed(arc.sideways),
            "start": arc.start,
            "portion": arc.share,
            "slenderness": arc.slenderness,
            "angle_degrees": float(np.degrees(angle)),
            "arc_radius": float(arc.radius(angle)),
        },
    )


def no_bending(defect):
    """Say why a `Defective` is no bending; return "" when it is one."""
    angle = defect.parameters["angle_degrees"]
    if not LEAST_ANGLE <= angle <= _most_angle(defect.parameters["slenderness"]) + 1e-6:
        return f"an angle of {angle:.1f} degrees is no bending"
    if carried(defect.surface, defect.displacement.any(axis=1)) < CARRIED:
        return "a part would move that is not connected to the rest"
    return ""


def carried(surface, beyond):
    """Return the share of the area at vertices `beyond` (V,) bool whose pieces are not all beyond.

    1 where all of it hangs on the rest of the surface, 0 where all of it lies apart.
    """
    moved = surface.mean_of_corners(beyond.astype(np.float64)) > 0.5
    count, piece = surface.kept(pieces)
    reaches = np.bincount(piece[~moved], minlength=count) > 0
    return float(surface.areas[moved & reaches[piece]].sum() / surface.areas[moved].sum())


def _most_angle(slenderness):
    return MOST_ANGLE if slenderness >= SLENDER else MOST_OF_STOUT


def _slenderest(surface, rng):
    """Draw portions until one is an arm, and return its `Arc`; else that of the slenderest."""
    best, reason = None, ""
    for _ in range(PORTIONS):
        share = float(rng.uniform(*PORTION))
        along, axes = pick_end(surface, rng, tilt=10.0, power=4.0)
        sideways = _side(along, axes, rng)
        try:
            arc = _arc(surface, along, sideways, share)
        except GeometryError as error:
            reason = str(error)
            continue
        if best is None or arc.slenderness > best.slenderness:
            best = arc
        if best.slenderness >= SLENDER:
            return best
    if best is None:
        raise GeometryError(reason)
    return best


def _arc(surface, along, sideways, share):
    """Return the `Arc` of a portion, its centre line in the middle of where the portion begins."""
    start = start_of_portion(surface, along, share)
    s, y = dot(surface.vertices, along), dot(surface.vertices, sideways)
    length = float(s.max() - start)
    near = (s > start) & (s < start + 0.3 * length)
    if near.sum() < 10:
        raise GeometryError("nothing to bend there")
    if carried(surface, s > start) < CARRIED:
        raise GeometryError("a part would move that is not connected to the rest")
    middle = float((y[near].min() + y[near].max()) / 2)
    half_width = float(np.abs(y[s > start] - middle).max())
    thickness = float(np.ptp(y[near]))
    return Arc(along, sideways, start, middle, half_width, length, thickness, share)


def _side(along, axes, rng):
    """Draw a unit direction across `along`, for a flat product mostly that of its thickness."""
    thin = axes.directions[2]
    flat = axes.extents[2] < 0.5 * axes.extents[1] and abs(dot(thin, along)) < 0.5
    turn = rng.uniform(0, 2 * np.pi)
    choice = rng.random()
    if flat and choice < 0.8:
        towards = thin * (1.0 if turn < np.pi else -1.0)
    else:
        towards = cos(turn) * axes.directions[1] + sin(turn) * axes.directions[2]
        if abs(dot(towards, along)) > 0.7:
            towards = axes.directions[0]
    return unit(towards - along * dot(towards, along))
