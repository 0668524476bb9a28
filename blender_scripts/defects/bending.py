# SPDX-License-Identifier: GPL-3.0-or-later
"""Bending: one portion of the product bent to the side, as a nail is bent.

The portion is an end along a main axis (longer axes likelier). Behind a plane across that axis the
product stays; from the plane on its centre line follows an arc of constant length, and beyond the
arc it goes straight on. Flat products bend across their thickness, mostly. The arc is so wide that
the outer side is stretched, and the inner side compressed, by STRAIN at most.

The angle is as large as the wanted departure takes: the root mean square, over the labelled
surface, of its distance from the pristine surface.

A sample that is called bending has passed `no_bending`: an angle between LEAST_ANGLE and
MOST_ANGLE, of one end of the product, while the larger part stays. The topology stays; the
general tests are those of `plausibility`.

Severity 0 .. 1: departure DEPARTURE. Portion: 0.28 .. 0.44 of the area. Labelled is what moved.
"""

from dataclasses import dataclass

import numpy as np

from blender_scripts.meshes import GeometryError
from blender_scripts.portable import cos, dot, sin
from blender_scripts.shaping.fields import drawn, fitted, rms_departure
from blender_scripts.shaping.portion import pick_end, start_of_portion
from blender_scripts.shaping.result import deformed, listed
from blender_scripts.surface import unit

DEPARTURE = (0.004, 0.018)
LEAST_ANGLE, MOST_ANGLE = 1.0, 30.0
STRAIN = 0.35
# The arc takes at least this share of the portion's length.
ARC = 0.4


@dataclass(frozen=True)
class Arc:
    """Where and whither a product bends: unit directions, start along the one, middle across it."""

    along: np.ndarray
    sideways: np.ndarray
    start: float
    middle: float
    half_width: float
    length: float

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
    share = float(rng.uniform(0.28, 0.44))
    along, axes = pick_end(surface, rng, tilt=10.0, power=4.0)
    sideways = _side(along, axes, rng)
    arc = _arc(surface, along, sideways, start_of_portion(surface, along, share))
    some = surface.centres[surface.spread(dot(surface.centres, along) > arc.start, 100)]
    angle = fitted(
        lambda x: rms_departure(surface, some, arc.move(some, x)), wanted, np.radians(MOST_ANGLE)
    )
    if rms_departure(surface, some, arc.move(some, angle)) < 0.75 * wanted:
        raise GeometryError("bending that portion changes too little")
    return deformed(
        surface,
        arc.move(surface.vertices, angle),
        {
            "axis": listed(along),
            "towards": listed(sideways),
            "start": arc.start,
            "portion": share,
            "angle_degrees": float(np.degrees(angle)),
            "arc_radius": float(arc.radius(angle)),
        },
    )


def no_bending(defect):
    """Say why a `Defective` is no bending; return "" when it is one."""
    angle = defect.parameters["angle_degrees"]
    if not LEAST_ANGLE <= angle <= MOST_ANGLE + 1e-6:
        return f"an angle of {angle:.1f} degrees is no bending"
    return ""


def _arc(surface, along, sideways, start):
    """Return the `Arc` of a portion, its centre line in the middle of where the portion begins."""
    s, y = dot(surface.vertices, along), dot(surface.vertices, sideways)
    length = float(s.max() - start)
    near = (s > start) & (s < start + 0.3 * length)
    if near.sum() < 10:
        raise GeometryError("nothing to bend there")
    middle = float((y[near].min() + y[near].max()) / 2)
    half_width = float(np.abs(y[s > start] - middle).max())
    return Arc(along, sideways, start, middle, half_width, length)


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
