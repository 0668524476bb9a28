# SPDX-License-Identifier: GPL-3.0-or-later
"""Twist: one portion of the product wrung a little about an axis, as a wet cloth is.

The portion is an end along a main axis. Its turn grows smoothly over most of its length and stays
constant beyond, about an axis through the portion's middle. Everything at one place along the axis
turns alike, so that handles and thin shells follow and the product stays whole.

An observer sees how far the turned surface departs from the pristine surface: the root mean square
of that distance over the labelled surface. The turn is made as large as the wanted departure
takes, within TURN and GENTLE. Where that is not enough, most of all on a solid of revolution, whose
turn about its own axis nobody sees, the portion moves off the axis as well, as far as is missing
and no further: the smallest change that can be seen.

A sample that is called twist has passed `no_twist`: a turn of at least LEAST_TURN, and an off-axis
shift of at most MOST_SHIFT. The topology stays; the general tests are those of `plausibility`.

Severity 0 .. 1: departure DEPARTURE. The portion has 0.26 .. 0.40 of the area and the ramp takes
0.8 .. 1.0 of its length. Labelled is what moved.
"""

from dataclasses import dataclass

import numpy as np

from blender_scripts.meshes import GeometryError
from blender_scripts.portable import cos, cross, dot, sin
from blender_scripts.shaping.fields import drawn, fitted, rms_departure, smooth_step
from blender_scripts.shaping.portion import pick_end, start_of_portion
from blender_scripts.shaping.result import deformed, listed
from blender_scripts.surface import tangents

DEPARTURE = (0.003, 0.017)
# The least and the greatest turn, in degrees: less is no twist, more wrings no solid product.
LEAST_TURN, TURN = 1.5, 20.0
# The greatest movement per length along the axis, of the farthest point from it.
GENTLE = 0.4
# The greatest shift off the axis, in radii.
MOST_SHIFT = 0.12


@dataclass(frozen=True)
class Wringing:
    """A turn of a portion: the unit axis, a point on it, where the ramp starts and its length."""

    along: np.ndarray
    centre: np.ndarray
    start: float
    ramp: float
    sideways: np.ndarray

    def move(self, points, turn, shift):
        """Return the displacement (N, 3) of points (N, 3) for a turn (radians) and a shift."""
        step = smooth_step((dot(points, self.along) - self.start) / self.ramp)
        offset = points - self.centre
        offset = offset - dot(offset, self.along)[:, None] * self.along
        angle = turn * step
        turned = cos(angle)[:, None] * offset + sin(angle)[:, None] * cross(self.along, offset)
        moved = turned - offset + shift * step[:, None] * self.sideways
        moved[step == 0] = 0.0
        return moved


def twist(surface, rng, severity):
    """Wring one end of the product."""
    wanted = drawn(rng, severity, *DEPARTURE)
    share, length = float(rng.uniform(0.26, 0.40)), rng.uniform(0.8, 1.0)
    sense, phase = rng.choice([-1.0, 1.0]), rng.uniform(0, 2 * np.pi)
    along, _ = pick_end(surface, rng, tilt=0.0, power=5.0)
    s = dot(surface.vertices, along)
    start = start_of_portion(surface, along, share)
    across, upward = tangents(along)
    centre, farthest = _middle(surface, s > start, along)
    wringing = Wringing(
        along=along,
        centre=centre,
        start=start,
        ramp=float(length * (s.max() - start)),
        sideways=cos(phase) * across + sin(phase) * upward,
    )
    turn, shift = _amounts(surface, wringing, wanted, farthest)
    return deformed(
        surface,
        wringing.move(surface.vertices, sense * turn, shift),
        {
            "axis": listed(along),
            "centre": listed(centre),
            "start": start,
            "portion": share,
            "ramp": wringing.ramp,
            "angle_degrees": float(np.degrees(sense * turn)),
            "shift": shift,
            "towards": listed(wringing.sideways),
        },
    )


def no_twist(defect):
    """Say why a `Defective` is no twist; return "" when it is one."""
    turn, shift = abs(defect.parameters["angle_degrees"]), defect.parameters["shift"]
    if turn < LEAST_TURN:
        return f"a turn of {turn:.1f} degrees is no twist"
    if shift > MOST_SHIFT:
        return f"a shift of {shift:.3f} is no twist"
    return ""


def _amounts(surface, wringing, wanted, farthest):
    """Return (turn in radians, shift) that make the surface depart by `wanted`."""
    some = surface.centres[
        surface.spread(dot(surface.centres, wringing.along) > wringing.start, 100)
    ]

    def departure(turn, shift):
        return rms_departure(surface, some, wringing.move(some, turn, shift))

    steepest = GENTLE * wringing.ramp / 1.875  # the steepest place of the smooth step
    most = min(np.radians(TURN), steepest / farthest)
    turn = fitted(lambda x: departure(x, 0.0), wanted, most)
    if departure(turn, 0.0) > 0.95 * wanted:
        return turn, 0.0
    most = min(MOST_SHIFT, steepest)
    shift = fitted(lambda x: departure(turn, x), wanted, most)
    if departure(turn, shift) < 0.75 * wanted:
        raise GeometryError("wringing that portion changes too little")
    return turn, shift


def _middle(surface, portion, along):
    """Return (middle (3,) of the portion, distance of its farthest point from the axis there)."""
    inside = portion[surface.faces].all(axis=1)
    weights = surface.areas[inside]
    if inside.sum() < 10:
        raise GeometryError("nothing to twist there")
    middle = (weights[:, None] * surface.centres[inside]).sum(axis=0) / weights.sum()
    offset = surface.vertices[portion] - middle
    offset = offset - dot(offset, along)[:, None] * along
    return middle, float(np.sqrt(dot(offset, offset).max()))
