# SPDX-License-Identifier: GPL-3.0-or-later
"""Twist: one portion of the product wrung about an axis, as a wet cloth is.

The portion is an end along a main axis. Its turn grows smoothly along the axis and stays constant
beyond. Turning alone changes nothing on a solid of revolution, so the axis lies off the portion's
middle and leans, and the cross-section is squeezed to an ellipse where it is being wrung, most in
the middle of the ramp: the outline changes on every shape.

Severity 0 .. 1: turn 32 .. 60 degrees, squeeze 0.24 .. 0.36. The portion has 0.30 .. 0.45 of the
area and the ramp takes 0.55 .. 0.80 of its length; the axis is 0.20 .. 0.40 of the half width off
the middle and leans 10 .. 18 degrees. Labelled is what moved.
"""

import numpy as np

from blender_scripts.defects.fields import drawn, smooth_step
from blender_scripts.defects.portion import pick_end, start_of_portion
from blender_scripts.defects.result import deformed, listed
from blender_scripts.meshes import GeometryError
from blender_scripts.portable import cos, dot, sin, tan
from blender_scripts.surface import tangents, unit


def twist(surface, rng, severity):
    """Wring one end of the product."""
    turn = np.radians(drawn(rng, severity, 32.0, 60.0)) * rng.choice([-1.0, 1.0])
    squeeze = drawn(rng, severity, 0.24, 0.36)
    share, length = float(rng.uniform(0.30, 0.45)), rng.uniform(0.55, 0.80)
    off_centre, lean = rng.uniform(0.20, 0.40), np.radians(rng.uniform(10.0, 18.0))
    phase = rng.uniform(0, 2 * np.pi, 3)
    along, _ = pick_end(surface, rng, tilt=0.0, power=5.0)

    s = dot(surface.vertices, along)
    start = start_of_portion(surface, along, share)
    ramp = length * (s.max() - start)
    portion = s > start
    if portion.sum() < 10:
        raise GeometryError("nothing to twist there")
    across, upward = tangents(along)
    middle, half_width = _middle(surface, s > start, along)
    shift = cos(phase[0]) * across + sin(phase[0]) * upward
    centre = middle + off_centre * half_width * shift
    tilted = cos(phase[1]) * across + sin(phase[1]) * upward
    axis = unit(along + tan(lean) * tilted)

    step = np.clip((s[portion] - start) / ramp, 0.0, 1.0)
    angle = turn * smooth_step(step)
    narrow = squeeze * np.where(
        step < 0.5, smooth_step(2 * step), 1 - 0.4 * smooth_step(2 * step - 1)
    )
    offset = surface.vertices[portion] - centre
    moved = _wrung(offset, axis, angle, narrow, phase[2])
    displacement = np.zeros_like(surface.vertices)
    displacement[portion] = moved - offset
    return deformed(
        surface,
        displacement,
        {
            "axis": listed(axis),
            "centre": listed(centre),
            "start": start,
            "portion": share,
            "ramp": float(ramp),
            "angle_degrees": float(np.degrees(turn)),
            "squeeze": squeeze,
        },
    )


def _wrung(offset, axis, angle, narrow, phase):
    """Squeeze offsets (N, 3) from the axis by shares `narrow` (N,) and turn them by angle (N,).

    The direction of the squeeze is fixed in the material, at `phase` around the axis.
    """
    first, second = tangents(axis)
    x, y, z = dot(offset, first), dot(offset, second), dot(offset, axis)
    c, d = cos(phase), sin(phase)
    p, q = (c * x + d * y) * (1 - narrow), (c * y - d * x) * (1 + 0.5 * narrow)
    x, y = c * p - d * q, c * q + d * p
    return (
        (cos(angle) * x - sin(angle) * y)[:, None] * first
        + (sin(angle) * x + cos(angle) * y)[:, None] * second
        + z[:, None] * axis
    )


def _middle(surface, portion, along):
    """Return (middle (3,) of the portion, half its width across `along`)."""
    inside = portion[surface.faces].all(axis=1)
    weights = surface.areas[inside]
    if weights.sum() == 0:
        raise GeometryError("nothing to twist there")
    middle = (weights[:, None] * surface.centres[inside]).sum(axis=0) / weights.sum()
    offset = surface.centres[inside] - middle
    offset = offset - dot(offset, along)[:, None] * along
    return middle, float(np.sqrt((weights * dot(offset, offset)).sum() / weights.sum()))
