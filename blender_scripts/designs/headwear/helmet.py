# SPDX-License-Identifier: GPL-3.0-or-later
"""Helmets: a construction hard hat and a full-face motorcycle helmet. Units are centimetres."""

import numpy as np

from blender_scripts import meshes
from blender_scripts.designs.shapes import (
    box,
    cylinder,
    difference,
    extrude,
    intersection,
    join,
    lathe,
    mirror,
    move,
    rotate,
    rounded_rectangle,
    smooth,
    union,
)
from blender_scripts.portable import cos, norm, power, sin

EYES = 13.0  # height of the motorcycle helmet's widest level


def hard_hat(width=21.0, length=25.0, height=13.0, peak=4.5, wall=1.0):
    """Model a hard hat: ribbed dome, brim all round with a peak, rain gutter, slots."""
    across, along = width / 2, length / 2
    ribs = []
    for x, wide in ((-4.7, 1.6), (0, 2.8), (4.7, 1.6)):
        section = np.sqrt(1 - np.square(x / across))
        ribs.append(_rib(along * section, height * section, (x, 0, 0), wide, (28, 152)))
    pocket = box((2.4, 5.0, 3.8), (across + 0.4, 0.8, 2.5), bevel=0.4)
    slot = box((0.8, 3.0, 5.0), (across + 0.5, 0.8, 4.0))
    vent = rotate(extrude(rounded_rectangle(0.9, 2.6, 0.44, 5), 6), "y", 36)
    vents = join(*(move(vent, (0.7 * across, y, 0.7 * height)) for y in (-3.8, 0, 3.8)))
    hat = union(_brimmed_dome(across, along, height, peak, wall), join(*ribs), _both(pocket))
    return difference(hat, _both(join(slot, vents)))


def motorcycle_helmet(width=24.0, length=28.0, height=24.0, wall=1.4):
    """Model a full-face helmet: visor opening, chin bar with vents, ridge and spoiler."""
    across, along = width / 2, length / 2
    outline = [(-22, 9.2), (-14, 9.4), (-4, 9.8), (0.4, 11.6), (0.6, 14.6), (-3.5, 17.4)]
    outline = smooth([*outline, (-12, 18.2), (-22, 18.5)], 22)
    opening = extrude(outline, 2 * width, axis="x")
    opening = meshes.subdivide_long_edges(*opening, 4)  # short slivers where it cuts the shell
    around = extrude((outline - (0, EYES)) * (1, 1.3) + (1.2, EYES), 2 * width, axis="x")
    rim = intersection(_full_face(across + 0.7, along + 0.7, height + 0.7, 1.2), around)
    pivot = cylinder(2.3, 2.6, (across, 3.2, EYES + 0.4), "x", bevel=0.5, segments=24)
    ridge = _rib(along, height - EYES, (0, 0, EYES), 4.0, (35, 135))
    helmet = union(_full_face(across, along, height, wall), rim, _both(pivot), ridge, _spoiler())
    vent = extrude(rounded_rectangle(1.6, 3.6, 0.7, 5), 12, (0, -along - 2, 5.4), "y")
    vents = [rotate(vent, "z", turn, (0, -4, 0)) for turn in (-44, -16, 16, 44)]
    return difference(helmet, opening, join(*vents))


def _brimmed_dome(across, along, height, peak, wall):
    """Model a hollow dome whose brim is longer in front and makes a rain gutter elsewhere."""
    angles = np.radians(np.linspace(90, 0, 19))[:, None]
    inner = np.c_[cos(angles) * (across - wall), sin(angles) * (height - wall)]
    outer = np.c_[cos(angles) * across, sin(angles) * height][-2::-1]
    brim = [(1.4, -0.6), (2.3, -0.4), (2.5, 0), (2.5, 1.4), (1.7, 1.5), (1.4, 0.6), (0.1, 0.6)]
    inner[0, 0] = outer[-1, 0] = 0
    vertices, faces = lathe(np.concatenate([inner, np.add(brim, (across, 0)), outer]), 96)
    x, y, z = vertices.T
    radius = np.maximum(norm(np.stack([x, y], axis=-1)), 1e-9)
    front = power(np.clip(-y / radius, 0, 1), 2.5) * np.clip((radius - across) / 1.4, 0, 1)
    z -= front * (0.8 + 0.9 * (z > 1))
    return np.stack([x, y * (along / across) - peak * front, z], axis=1), faces


def _full_face(across, along, height, wall):
    """Model a hollow egg, open below, whose lower front reaches forward as the chin bar."""
    foot = 0.8 * across
    angles = np.radians(np.linspace(0, 90, 18))
    dome = np.stack([across * cos(angles), EYES + (height - EYES) * sin(angles)], axis=1)
    neck = smooth([(foot, 0.2), (0.92 * across, 5), (across, EYES)], 12)[:-1]
    outer = np.concatenate([neck, dome])
    middle = (0, EYES - 1)
    inner = np.concatenate([neck[1:], dome]) - middle
    inner = (inner * (1 - wall / across, 1 - wall / (height - EYES)) + middle)[::-1]
    outer[-1, 0] = inner[0, 0] = 0
    roll = [(foot - 1.6, 0.4), (foot - 1.4, -0.4), (foot - 0.4, -0.5)]
    vertices, faces = lathe(np.concatenate([inner, roll, outer]), 64)
    x, y, z = vertices.T
    low = np.clip((EYES - z) / 7, 0, 1)
    low = np.square(low) * (3 - 2 * low) * (1 - 0.07 * np.clip(5 - z, 0, 6))
    front = np.clip(-y / across, 0, 1)
    x = x * (1 - 0.14 * low * front)
    return np.stack([x, y * (along / across) - 3.2 * low * power(front, 1.5), z], axis=1), faces


def _rib(half_length, height, centre, width, span):
    """Model a raised band over an elliptic dome in the plane of y and z.

    span : its first and last angle in degrees from +y.
    """
    angles = np.radians(np.linspace(*span, 17))
    arch = np.stack([cos(angles), sin(angles)], axis=1)
    ramp = np.minimum(1, 7 * np.linspace(0, 1, 17) * np.linspace(1, 0, 17))[:, None]
    top = arch * (half_length, height) + arch * (1.1 * ramp - 0.1)
    bottom = arch * (half_length - 0.7, height - 0.7)
    return extrude(np.concatenate([top, bottom[::-1]]), width, centre, "x", bevel=0.25, segments=1)


def _spoiler():
    """Model a wing that hugs the back of the dome, its trailing edge free."""
    outline = [(6.5, 22.4), (11.8, 18.4), (16.0, 18.2), (16.4, 19.3), (9.5, 23.4)]
    vertices, faces = extrude(outline, 13, axis="x", bevel=0.4, segments=1)
    vertices, faces = meshes.subdivide_long_edges(vertices, faces, 2.5)
    bend = np.square(vertices[:, :1])
    return vertices - bend * (0, 0.02, 0.045), faces


def _both(part):
    """Join the part and its mirror image on the other side."""
    return join(part, mirror(part, "x"))


DESIGNS = {"hard_hat": hard_hat, "motorcycle_helmet": motorcycle_helmet}
