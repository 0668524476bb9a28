# SPDX-License-Identifier: GPL-3.0-or-later
"""Cups: a coffee mug; a tea cup on its saucer, with a spoon."""

import numpy as np

from blender_scripts.designs.shapes import (
    lathe,
    smooth,
    sphere,
    sweep,
    torus,
    union,
)
from blender_scripts.designs.vessels.profiles import hollow, refined, strap
from blender_scripts.portable import cos


def coffee_mug(radius=4.3, height=10.4, wall=0.6, facets=12):
    """Model a diner mug: foot ring, faceted lower half, bands, big handle."""
    curve = np.array([(0, 0.7), (radius - 0.8, 0.7), (radius - 0.1, 1.4), (radius, 2.4)])
    curve = refined([*curve, (radius, 6), (radius - 0.15, 8), (radius + 0.05, height)], 0.7)
    foot = [(0, 0.5), (2.7, 0.5), (2.9, 0), (3.7, 0), (3.9, 0.3), (3.9, 1.0)]

    def faceted(angle, r, z):
        where = np.clip((z - 1.6) / 0.5, 0, 1) * np.clip((5.9 - z) / 0.5, 0, 1)
        return 1 + 0.07 * where * (2 * np.abs(cos(facets / 2 * angle)) - 1.4)

    body = lathe(refined(hollow(curve, wall, foot, bead=0.08), 0.6), 96, radius_at=faceted)
    band = torus(radius, 0.38, (0, 0, 6.5), segments=72)
    loop = [(radius - 0.3, 8.9), (radius + 2.0, 9.2), (radius + 3.3, 7.4), (radius + 3.0, 4.6)]
    handle = strap([*loop, (radius + 1.4, 2.8), (radius - 0.35, 2.6)], 1.1, 1.7)
    return union(body, band, handle)


def tea_cup(radius=4.9, height=7.4, wall=0.55, lobes=10):
    """Model a flared tea cup with an ear handle on a scalloped saucer, a spoon beside it."""
    base = 1.1

    def scallops(angle, r, z):
        rise = np.clip((z - base - 1.5) / 4, 0, 1)
        return 1 + 0.09 * rise * (np.abs(cos(lobes / 2 * angle)) - 0.6)

    curve = [(0, 1.0), (1.9, 1.05), (3.2, 2.2), (3.7, 4), (4.0, 5.6), (radius, height)]
    foot = [(0, 0), (2.3, 0), (2.4, 0.3), (1.9, 0.9), (2.2, 1.3)]
    profile = refined(hollow(smooth(curve, 24), wall, foot), 0.6) + np.array([0, base])
    cup = lathe(profile, 100, radius_at=scallops)
    loop = [(3.4, 6.6), (5.6, 7.5), (6.9, 6.6), (6.3, 5.0), (4.9, 3.9), (3.3, 3.7)]
    handle = union(strap(loop, 0.8, 1.2, 40), sphere((0.9, 0.65, 0.55), (6.4, 0, 7.8), 20))

    def petals(angle, r, z):
        return 1 + 0.07 * np.clip((r - 5) / 3, 0, 1) * (np.abs(cos(lobes / 2 * angle)) - 0.6)

    top = smooth([(2.6, 1.3), (4.6, 1.4), (6.8, 2.0), (8.8, 3.0)], 12)
    under = smooth([(9.0, 2.6), (7.0, 1.3), (5.2, 0.6), (4.8, 0)], 12)
    saucer = [(0, 0.5), (3.6, 0.5), (3.9, 0), *under[::-1], (9.1, 2.85), *top[::-1], (0, 1.3)]
    saucer = lathe(refined(saucer, 0.7), 100, radius_at=petals)
    stem = smooth([(-2.2, -5.7, 2.1), (1.0, -5.5, 2.4), (4.4, -5.1, 2.9), (7.6, -4.6, 3.8)], 24)
    spoon = union(
        sweep(stem, np.linspace(0.36, 0.5, 24), 12),
        sphere((1.7, 1.05, 0.5), (-3.0, -5.75, 2.0), 24),
        sphere((0.9, 0.65, 0.45), stem[-1], 16),
    )
    return union(saucer, cup, handle, spoon)


DESIGNS = {"coffee_mug": coffee_mug, "tea_cup": tea_cup}
