# SPDX-License-Identifier: GPL-3.0-or-later
"""Bending: one portion of the product bent to the side, as a nail is bent.

The portion is an end along a main axis (longer axes likelier). Behind a plane across that axis the
product stays; from the plane on its centre line follows an arc of constant length, and beyond the
arc it goes straight on. Flat products bend across their thickness, mostly. The arc is wide enough
that the inner side is not folded.

Severity 0 .. 1: angle 26 .. 45 degrees. Portion: 0.25 .. 0.45 of the area. Labelled is what
moved.
"""

import numpy as np

from blender_scripts.defects.fields import drawn
from blender_scripts.defects.portion import pick_end, start_of_portion
from blender_scripts.defects.result import deformed, listed
from blender_scripts.meshes import GeometryError
from blender_scripts.portable import cos, dot, sin
from blender_scripts.surface import unit

# The centre of the arc keeps this factor of the product's half width away from the centre line.
SLACK = 1.2


def bending(surface, rng, severity):
    """Bend one end of the product to a side."""
    angle = np.radians(drawn(rng, severity, 26.0, 45.0))
    share = float(rng.uniform(0.25, 0.45))
    along, axes = pick_end(surface, rng, tilt=10.0, power=4.0)
    sideways = _side(along, axes, rng)

    s = dot(surface.vertices, along)
    start = start_of_portion(surface, along, share)
    portion = s > start
    y = dot(surface.vertices, sideways)
    near = portion & (s < start + 0.3 * (s.max() - start))
    if near.sum() < 10:
        raise GeometryError("nothing to bend there")
    middle = (y[near].min() + y[near].max()) / 2
    half_width = max(y[portion].max() - middle, 0.0)
    radius = max(SLACK * half_width, 0.25 * (s.max() - start) / angle)

    # u: along the centre line from the plane on; v: off the centre line towards the arc's centre
    u, v = s[portion] - start, y[portion] - middle
    turned = np.minimum(u / radius, angle)
    straight = np.maximum(u - radius * angle, 0.0)
    new_u = (radius - v) * sin(turned) + straight * cos(turned)
    new_v = radius - (radius - v) * cos(turned) + straight * sin(turned)
    displacement = np.zeros_like(surface.vertices)
    displacement[portion] = (new_u - u)[:, None] * along + (new_v - v)[:, None] * sideways
    return deformed(
        surface,
        displacement,
        {
            "axis": listed(along),
            "towards": listed(sideways),
            "start": float(start),
            "portion": share,
            "angle_degrees": float(np.degrees(angle)),
            "arc_radius": float(radius),
        },
    )


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
