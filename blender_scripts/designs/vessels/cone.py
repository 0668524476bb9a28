# SPDX-License-Identifier: GPL-3.0-or-later
"""Cones: a traffic cone, an ice cream, a funnel, the nose of a rocket."""

import numpy as np

from blender_scripts.designs.shapes import (
    box,
    cylinder,
    difference,
    extrude,
    intersection,
    join,
    lathe,
    move,
    rotate,
    rounded_rectangle,
    smooth,
    sphere,
    sweep,
    union,
)
from blender_scripts.designs.vessels.profiles import refined
from blender_scripts.portable import cos, exp, power, sin


def traffic_cone(height=70.0, base=42.0, wall=2.6):
    """Model a road cone: square base on feet, hollow from below, two raised reflective collars."""
    floor, plate, collar = 2.5, 5.0, 1.4
    low, high = 14.0, 3.6

    def radius(z):
        return low + (high - low) * (z - floor) / (height - floor)

    outside = [(0, floor + 1), (radius(plate) + 3, floor + 1), (radius(plate) + 3, plate + 2.0)]
    outside += [(radius(plate + 4) + 0.6, plate + 4.5)]
    for start, stop in ((0.34 * height, 0.52 * height), (0.66 * height, 0.80 * height)):
        outside += [(radius(start), start), (radius(start) + collar, start + 1.2)]
        outside += [(radius(stop) + collar, stop - 1.2), (radius(stop), stop)]
    outside += [(high + 0.2, height - 5), (high + 1.4, height - 3.8), (high + 1.2, height - 0.8)]
    outside += [(high + 0.4, height), (0, height)]
    inside = [(0, -1), (radius(0) - wall + 1, -1), (radius(plate) - wall, plate)]
    inside += [(high - wall * 0.6, height + 1), (0, height + 1)]
    sheet = extrude(
        rounded_rectangle(base, base, 5), plate - floor, (0, 0, (plate + floor) / 2), bevel=1.0
    )
    span = base / 2 - 5.5
    places = [(x * span, y * span) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]
    feet = join(*(box((6, 6, floor + 1), (x, y, (floor + 1) / 2), bevel=0.6) for x, y in places))
    body = union(lathe(refined(outside, 2.5), 60), sheet, feet)
    return difference(body, lathe(refined(inside, 2.5), 60))


def ice_cream_cone(height=11.0, radius=4.0, lines=8):
    """Model two scoops with drips and a cherry in a waffle cone with a lattice in relief."""

    def waffle(angle, r, z):
        turns, climb = lines * angle, 3.3 * z
        crest = np.maximum(cos(turns + climb), cos(turns - climb))
        fade = np.clip((height - 0.6 - z) / 0.5, 0, 1) * np.clip(z / 2, 0, 1)
        return 1 + fade * 0.44 * power(np.clip((crest - 0.3) / 0.65, 0, 1), 1.5) / np.maximum(
            r, 1.0
        )

    z = np.linspace(0, height, 56)
    side = np.stack([0.5 + (radius - 0.5) * z / height, z], axis=1)
    cone = lathe(np.concatenate([[(0, -0.25)], side, [(0, height)]]), 108, radius_at=waffle)
    rim = [(0, height - 0.8), (radius + 0.1, height - 0.8), (radius + 0.45, height - 0.4)]
    rim += [(radius + 0.6, height + 0.7), (radius + 0.2, height + 1.1), (0, height + 1.1)]
    lower, upper = height + 3.2, height + 7.6
    drips, drops = [], []
    for degrees, length in ((-128, 3.8), (-62, 2.4), (35, 3.2), (150, 2.6)):
        out = np.array([cos(np.radians(degrees)), sin(np.radians(degrees))])
        low = height - length
        course = [(radius + 0.5, lower - 1.4), (radius + 0.5, height + 0.5)]
        course += [(radius + 0.25, height - 0.9), (radius * low / height + 0.3, low)]
        path = smooth([(*(r * out), z) for r, z in course], 14)
        drips.append(sweep(path, np.linspace(0.75, 0.55, 14), 12))
        drops.append(sphere(0.75, path[-1], 16))
    top = upper + radius
    stem = smooth([(0.6, 0.2, top + 1), (0.9, 0.2, top + 2.6), (1.9, 0.2, top + 3.8)], 12)
    first = move(_scoop(radius + 0.6, 11), (0, 0, lower))
    second = move(_scoop(radius, 9), (0.4, 0.2, upper))
    cherry = union(sphere(1.3, (0.6, 0.2, top + 0.6), 24), sweep(stem, 0.35, 12))
    ice = union(join(*drips), join(*drops), first, second, cherry)
    body = union(cone, union(lathe(refined(rim, 0.7), 72), ice))
    return move(body, (0, 0, 0.25))


def _scoop(radius, lobes):
    """Model a ball of ice cream with a lumpy skirt round its lower half."""
    angles = np.radians(np.linspace(-75, 90, 28))
    ball = radius * np.stack([cos(angles), sin(angles)], axis=1)
    ball[:, 0] += 0.15 * radius * exp(-np.square((ball[:, 1] / radius + 0.42) / 0.16))

    def lumps(angle, r, z):
        where = exp(-np.square((z / radius + 0.42) / 0.25))
        return 1 + 0.05 * where * (cos(lobes * angle) + 0.5 * cos((lobes - 4) * angle + 1))

    ball[-1, 0] = 0
    return lathe(np.concatenate([[(0, ball[0, 1])], ball]), 80, radius_at=lumps)


def funnel(height=19.0, radius=8.5, wall=0.8):
    """Model a kitchen funnel: rolled rim, hanging tab with a hole, ribs, an oblique spout."""
    neck, spout = 0.45 * height, 1.8
    low = spout - 0.35
    outside = [(low, 0), (spout, neck - 0.4), (spout + 0.3, neck + 0.3)]
    outside += [(radius - 0.25, height - 2.6), (radius, height - 1.9), (radius, height - 1.0)]
    outside += [(radius + 0.7, height - 1.0), (radius + 1, height - 0.5), (radius + 0.7, height)]
    inside = [(radius - wall + 0.2, height), (radius - wall, height - 0.3)]
    inside += [(radius - wall, height - 1.9), (spout - wall + 0.2, neck + 0.6)]
    inside += [(spout - wall, neck - 0.4), (low - wall + 0.1, 0)]
    body = lathe(refined([*outside, *inside, outside[0]], 0.7)[:-1], 64, closed=True)
    outline = [(spout - 0.4, 0.55 * neck), (spout + 0.3, 0.55 * neck), (spout + 1.0, neck)]
    outline += [(radius + 0.05, height - 2.4), (radius - 0.45, height - 2.4), (spout, neck + 0.1)]
    fin = extrude([(z, x) for x, z in outline][::-1], 0.8, axis="y")
    fins = join(*(rotate(fin, "z", degrees) for degrees in (45, 135, 225, 315)))
    tab = extrude(rounded_rectangle(5, 4, 1.9), 0.8, (radius + 2.2, 0, height - 0.55), bevel=0.2)
    hole = cylinder(0.95, 3, (radius + 2.7, 0, height - 0.5), segments=24)
    body = union(body, fins, difference(tab, hole))
    return difference(body, rotate(box((9, 9, 4), (2, 0, -1.9)), "y", -32, (-low, 0, 0)))


def rocket_nose(height=60.0, radius=12.0):
    """Model the nose of a rocket: blunt ogive, stepped interstage rings, four swept fins."""
    start = 0.4 * height
    rise = np.linspace(0, 0.96, 24)
    ogive = np.stack([radius * (1 - power(rise, 1.8)), start + (height - start) * rise], axis=1)
    tip = [(1.5, height - 0.8), (1.5, height + 0.6), (0.9, height + 1.4), (0, height + 1.5)]
    outer = radius + 2.2
    steps = [(0, 0), (radius - 2.5, 0), (radius - 0.5, 4), (radius - 0.5, 5.5), (outer, 5.5)]
    steps += [(outer, 10), (outer - 1.2, 11), (outer - 1.2, 15), (outer, 15.5), (outer, 18)]
    steps += [(outer - 1.2, 18.5), (radius, 21), (radius, start - 1.5)]
    steps += [(radius + 1, start - 1.2), (radius + 1, start + 0.6)]
    body = lathe(refined([*steps, *ogive[1:], *tip], 2.0), 64)
    outline = [(radius - 2, 5.8), (radius + 2.4, 2), (radius + 11, -3), (radius + 11, 2.5)]
    outline += [(radius + 2.4, 17), (radius - 2, 18)]
    fin = extrude([(z, x) for x, z in outline][::-1], 2.0, axis="y", bevel=0.6)
    fins = join(*(rotate(fin, "z", 45 + 90 * k) for k in range(4)))
    conduit = box((2.8, 2.6, 17), (outer - 0.7, 0, 14.5), bevel=0.7)
    skin = lathe(refined([(0, 0), *(ogive + np.array([1.1, 0])), (0, height)], 2.0), 64)
    window = extrude(rounded_rectangle(10, 8, 2), radius, (0, -radius, start + 7.5), axis="y")
    knobs = join(*(cylinder(0.9, 5, (x, 1.4 - radius, start + 7.5), axis="y") for x in (-2.2, 2.2)))
    return union(body, fins, conduit, intersection(skin, window), knobs)


DESIGNS = {
    "traffic_cone": traffic_cone,
    "ice_cream_cone": ice_cream_cone,
    "funnel": funnel,
    "rocket_nose": rocket_nose,
}
