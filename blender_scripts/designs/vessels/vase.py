# SPDX-License-Identifier: GPL-3.0-or-later
"""Vases: a fluted vase, an amphora with handles, a double gourd, a square panelled vase."""

import numpy as np

from blender_scripts.designs.shapes import (
    extrude,
    join,
    lathe,
    move,
    regular_polygon,
    rotate,
    smooth,
    sphere,
    sweep,
    torus,
    union,
)
from blender_scripts.designs.vessels.profiles import cushion, hollow, refined, strap
from blender_scripts.portable import arctan, cos, sin


def _flutes(count, depth, bottom, top):
    """Return a `radius_at` for `lathe`: convex flutes between two heights."""

    def radius_at(angle, r, z):
        share = np.clip((z - bottom) / (top - bottom), 0, 1)
        where = np.clip(4 * share, 0, 1) * np.clip(4 * (1 - share), 0, 1)
        crest = np.sqrt(np.square(cos(count / 2 * angle)) + 0.04)  # |cos|, rounded
        return 1 + depth * where * (2 * crest - 1.4)

    return radius_at


def fluted_vase(height=34.0, wall=1.1, flutes=14):
    """Model a tall slender vase: broad flutes up to the shoulder, waisted foot, flared lip."""
    curve = [(3.2, 2.6), (4.2, 5), (5.8, 12), (6.9, 19), (6.3, 24), (4.1, 28), (4.2, 31)]
    curve = np.concatenate([[(0, 2.4), (2.6, 2.4)], smooth([*curve, (6.4, height)], 28)])
    foot = [(0, 0.8), (3.6, 0.8), (4.4, 0), (5.6, 0), (5.9, 0.4), (5.6, 1.1), (4.0, 1.8)]
    foot += [(3.4, 2.7)]
    profile = refined(hollow(curve, wall, foot, bead=0.2), 1.5)
    body = lathe(profile, 7 * flutes, radius_at=_flutes(flutes, 0.12, 3.6, 26))
    return union(body, torus(4.15, 0.75, (0, 0, 27.8)))


def handled_vase(height=36.0, wall=1.2):
    """Model an amphora: egg-shaped body with a rayed base, a studded band, two high handles."""
    curve = [(2.6, 3.6), (5.6, 8), (8.6, 15), (8.9, 20), (6.2, 25.5), (3.7, 28.5), (3.4, 32)]
    curve = np.concatenate([[(0, 3.2), (1.8, 3.2)], smooth([*curve, (4.9, height)], 26)])
    foot = [(0, 0.7), (2.8, 0.7), (3.4, 0), (4.8, 0), (5.0, 0.7), (3.8, 1.4), (2.4, 2.4)]
    foot += [(2.6, 3.7)]
    profile = refined(hollow(curve, wall, foot, bead=0.35), 1.4)
    body = lathe(profile, 84, radius_at=_flutes(12, 0.09, 4.2, 13.5))
    handle = strap(
        [(3.3, 32.6), (6.2, 34.2), (8.6, 33), (9.6, 29), (8.9, 25), (7.0, 22.8)], 1.4, 2.2, 28
    )
    rings = [torus(8.75, 0.55, (0, 0, z), rings=10) for z in (16.4, 20.6)]
    studs = [rotate(sphere(1.05, (8.9, 0, 18.5), 12), "z", 360 * (k + 0.5) / 16) for k in range(16)]
    body = union(body, join(*rings), join(*studs), torus(3.55, 0.7, (0, 0, 28.9)))
    return union(body, handle, rotate(handle, "z", 180))


def gourd_vase(height=30.0, wall=1.05, ridges=8, winding=0.13):
    """Model a double gourd: two bulbs with spiral ridges, a collar at the waist, a small mouth.

    `winding` : radians by which the ridges turn for each centimetre of height.
    """
    curve = [(3.4, 0.9), (7.2, 2.8), (8.8, 7.0), (7.4, 11.5), (4.2, 15.2), (4.1, 17.2)]
    curve += [(5.6, 20), (5.7, 22.6), (4.0, 25.6), (2.7, 27.4), (2.9, 28.8)]
    curve = np.concatenate([[(0, 0.9), (3.0, 0.9)], smooth([*curve, (3.9, height)], 32)])
    foot = [(0, 0.5), (3.2, 0.5), (3.6, 0), (4.9, 0), (5.1, 0.5), (4.6, 1.4)]
    lower, upper = _flutes(ridges, 0.1, 1.6, 15.4), _flutes(ridges, 0.1, 16.6, 26.6)

    def both(angle, r, z):
        return lower(angle, r, z) + upper(angle, r, z) - 1

    profile = refined(hollow(curve, wall, foot, bead=0.3), 1.1)
    (x, y, z), faces = (part.T for part in lathe(profile, 96, radius_at=both))
    turn = winding * z  # straight flutes wound up: the faces follow the ridges
    wound = np.stack([x * cos(turn) - y * sin(turn), x * sin(turn) + y * cos(turn), z])
    collar = torus(3.9, 1.1, (0, 0, 16.2))
    knot = [sphere((1.5, 1.0, 1.2), (0, y, 16.2), 20) for y in (-4.9, 4.9)]
    return union((wound.T, faces.T), collar, join(*knot))


def square_vase(height=30.0, bottom=4.2, top=6.6, wall=1.2):
    """Model a square vase widening upwards: plinth, stepped lip, a framed lozenge on each side."""
    low, high = 3.0, height - 4.0
    outside = [(0, 0), (bottom + 1.2, 0), (bottom + 1.2, 1.5), (bottom + 0.6, 1.8)]
    outside += [(bottom + 0.6, 2.6), (bottom, low), (top, high), (top + 0.8, high + 0.4)]
    outside += [(top + 0.8, high + 1.6), (top + 1.6, high + 2), (top + 1.6, height)]
    inside = [(top - 0.2, height), (top - 0.2, high + 1.8), (top - wall, high + 1.6)]
    inside += [(top - wall, high), (bottom - wall, low), (0, low)]
    body = lathe(refined(outside + inside, 1.2), 96, radius_at=cushion)

    half, length = (bottom + top) / 2 - 1.9, (high - low) / 2 - 1.9
    slope = (top - bottom) / (high - low)

    corners = [(x * (half + slope * z), z) for x, z in ((-1, -length), (1, -length))]
    corners += [(x * (half + slope * z), z) for x, z in ((1, length), (-1, length))]
    frame = sweep(
        np.insert(refined([*corners, corners[0]], 1.0)[:-1], 1, 0.0, axis=1), 0.75, 12, closed=True
    )
    lozenge = extrude(regular_polygon(4, 1.0) * (5.0, 1.9), 2.2, axis="y", bevel=0.4)
    relief = rotate(join(frame, lozenge), "x", np.degrees(arctan(slope)))
    relief = move(relief, (0, -1.05 * (bottom + top) / 2 - 0.1, (low + high) / 2))
    return union(body, join(*(rotate(relief, "z", 90 * k) for k in range(4))))


DESIGNS = {
    "fluted_vase": fluted_vase,
    "handled_vase": handled_vase,
    "gourd_vase": gourd_vase,
    "square_vase": square_vase,
}
