# SPDX-License-Identifier: GPL-3.0-or-later
"""Bowls: a lugged soup bowl, a batter bowl with a spout, a pet's bowl, a fluted fruit bowl."""

import numpy as np

from blender_scripts.designs.shapes import (
    cylinder,
    extrude,
    join,
    lathe,
    move,
    rotate,
    scale,
    smooth,
    torus,
    union,
)
from blender_scripts.designs.vessels.profiles import hollow, refined, strap
from blender_scripts.portable import arcsin, arctan, arctan2, cos, exp, power, sin


def soup_bowl(radius=8.0, height=7.5, wall=0.75, ribs=20):
    """Model a soup bowl: foot ring, ribbed belly, wide flat rim, a loop handle on either side."""
    curve = [(0, 1), (3.4, 1.1), (6.6, 2.6), (radius, 5.0), (radius + 0.2, 6.4)]
    curve = smooth([*curve, (radius + 1.7, height)], 32)
    foot = [(0, 0.7), (3.0, 0.7), (3.3, 0), (4.4, 0), (4.7, 0.3), (4.7, 1.2)]

    def gadroons(angle, r, z):
        where = sin(np.pi * np.clip((z - 1.8) / 4.2, 0, 1))
        return 1 + 0.035 * where * (2 * np.abs(cos(ribs / 2 * angle)) - 1)

    body = lathe(refined(hollow(curve, wall, foot), 0.8), 120, radius_at=gadroons)
    loop = [(radius - 0.5, 6.0), (radius + 2.4, 6.2), (radius + 3.6, 5.0), (radius + 2.6, 3.6)]
    handle = strap([*loop, (radius - 1.2, 3.2)], 1.1, 2.4)
    return union(body, handle, rotate(handle, "z", 180))


def mixing_bowl(radius=10.0, height=12.5, wall=0.9):
    """Model a batter bowl: flat base, steep banded side, rolled rim, pouring spout, loop handle."""
    side = [(0.66 * radius, 0.7), (0.8 * radius, 4), (0.92 * radius, 8), (radius, height)]
    curve = np.concatenate([[(0, 0), (0.62 * radius, 0)], smooth(side, 20)])

    def spout(angle, r, z):
        aside = arctan2(cos(angle), -sin(angle))
        rise = np.clip((z - 0.5 * height) / (0.5 * height), 0, 1.05)
        return 1 + 0.26 * np.square(rise) * exp(-np.square(aside / 0.27))

    body = lathe(refined(hollow(curve, wall, bead=0.35), 1.1), 96, radius_at=spout)
    bands = [torus(radius * (0.66 + 0.034 * z), 0.5, (0, 0, z), segments=64) for z in (2.6, 4.4)]
    loop = [(radius - 0.5, 10), (radius + 3.0, 10.6), (radius + 4.4, 8), (radius + 3.0, 5)]
    handle = strap([*loop, (radius * 0.84, 4.2)], 1.3, 2.4)
    return union(body, join(*bands), rotate(handle, "z", 90))


def pet_bowl(radius=11.0, height=6.5, rim=8.2):
    """Model a dog's bowl: broad flared skirt with bones and paw prints in relief, hollow below."""
    profile = [(0, 1.2), (radius - 3.5, 1.2), (radius - 2.2, 0), (radius, 0), (radius, 1.0)]
    profile += [(rim, height - 0.4), (rim - 0.4, height), (rim - 1.2, height)]
    profile += [(rim - 1.6, height - 0.4), (rim - 2.0, 3.0), (rim - 2.5, 2.3), (rim - 3.2, 2.1)]
    slope = np.degrees(arctan((radius - rim) / (height - 1.4)))
    bone = extrude(_bone_outline(2.3, 0.72, 1.08), 2.6, axis="y", bevel=0.25)
    pad = scale(_post(1.4, 0, -0.7), (1.15, 1, 0.8), (0, 0, -0.7))
    paw = join(pad, *(_post(0.66, x, 1.8 - 0.45 * x * x) for x in (-1.75, -0.6, 0.6, 1.75)))
    relief = []
    for turn, part in ((0, bone), (90, paw), (180, bone), (270, paw)):
        upright = move(rotate(part, "x", -slope), (0, 0.6 - (radius + rim) / 2, height / 2 + 0.2))
        relief.append(rotate(upright, "z", turn))
    return union(lathe(refined([*profile, (0, 2.1)], 0.9), 96), join(*relief))


def _bone_outline(x, z, radius):
    """Return the outline (K, 2) of a dog's bone in the (z, x) plane.

    Its lobes have the given radius and lie at (+-x, +-z).
    """
    angles = np.radians(np.linspace(-np.degrees(arcsin(z / radius)), 180, 16))
    lobe = np.stack([x + radius * cos(angles), z + radius * sin(angles)], axis=1)
    back = lobe[:0:-1]  # without the crotch, which two lobes share
    outline = np.concatenate([lobe, back * (-1, 1), -lobe, back * (1, -1)])
    return outline[::-1, ::-1]


def _post(radius, x, z):
    """Model a short post along y: one pad of a paw."""
    return cylinder(radius, 2.6, (x, 0, z), axis="y", bevel=0.2, segments=24)


def fluted_bowl(radius=9.6, height=10.5, wall=0.8, lobes=12):
    """Model a fruit bowl of deep scalloped flutes, with a wavy edge, on a pedestal foot."""
    curve = smooth([(0, 3.6), (2.4, 3.7), (5.8, 5.0), (8.4, 7.6), (radius, height)], 28)
    foot = [(0, 0.9), (2.8, 0.9), (3.6, 0), (5.0, 0), (5.2, 0.5), (4.0, 1.3), (2.5, 2.1)]
    foot += [(2.0, 2.9), (2.5, 3.7)]

    def share(z):
        return np.clip((z - 3.8) / (height - 3.8), 0, 1)

    def flutes(angle, r, z):
        return 1 + 0.17 * power(share(z), 0.7) * (np.abs(cos(lobes / 2 * angle)) - 0.6)

    vertices, faces = lathe(refined(hollow(curve, wall, foot), 0.9), 120, radius_at=flutes)
    angle = arctan2(vertices[:, 1], vertices[:, 0])
    wave = np.abs(cos(lobes / 2 * angle)) - 0.6
    vertices[:, 2] += 1.1 * np.square(share(vertices[:, 2])) * wave
    return vertices, faces


DESIGNS = {
    "soup_bowl": soup_bowl,
    "mixing_bowl": mixing_bowl,
    "pet_bowl": pet_bowl,
    "fluted_bowl": fluted_bowl,
}
