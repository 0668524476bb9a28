# SPDX-License-Identifier: GPL-3.0-or-later
"""Buckets: a pail with a wire handle; a mop bucket with a wringer on casters."""

import numpy as np

from blender_scripts.designs.shapes import (
    box,
    cylinder,
    difference,
    join,
    lathe,
    move,
    rotate,
    scale,
    smooth,
    sweep,
    torus,
    union,
)
from blender_scripts.designs.vessels.profiles import cushion, hollow, refined
from blender_scripts.portable import arctan2, cos, exp, sin


def pail(top=13.5, bottom=9.8, height=25.0, wall=1.1):
    """Model a tapered pail: rolled rim, hoops, a seam, a wire handle with a grip in two ears."""
    curve = refined([(0, 1.2), (bottom - 0.6, 1.2), (bottom + 0.1, 1.9), (top, height)], 1.8)
    foot = [(0, 1.0), (bottom - 1.6, 1.0), (bottom - 1.3, 0), (bottom, 0), (bottom + 0.15, 2.0)]
    body = lathe(refined(hollow(curve, wall, foot, bead=0.3), 1.8), 72)

    def radius(z):
        return bottom + (top - bottom) * z / height

    hoops = [torus(radius(z), 0.75, (0, 0, z), segments=72, rings=12) for z in (5.5, 15.5)]
    pivot = height - 3.5
    ears = [
        cylinder(2.4, 3.4, (x * (radius(pivot) + 1.3), 0, pivot), axis="x", bevel=0.2, segments=32)
        for x in (-1, 1)
    ]
    seam = sweep([(0, radius(z), z) for z in np.linspace(2.5, pivot + 1, 12)], 1.0, 12)
    reach = radius(pivot) + 2.05  # clear of the rim
    angles = np.linspace(-0.04, np.pi + 0.04, 40)
    wire = np.stack([reach * cos(angles), 0 * angles, pivot + 18 * sin(angles)], axis=1)
    grip = cylinder(1.5, 9, (0, 0, pivot + 17.6), axis="x", bevel=0.4, segments=24)
    handle = rotate(union(sweep(wire, 0.65, 12), grip), "x", -20, (0, 0, pivot))
    return union(body, join(*hoops), seam, join(*ears), handle)


def mop_bucket(length=17.0, slimness=0.68, height=24.0, wall=1.5):
    """Model a janitor's bucket: pouring lip, slotted wringer with a lever, four casters."""
    floor = 5.0
    base = [(0, 0), (length - 3.6, 0), (length - 3.0, 0.6), (length - 2.7, 2), (length - 0.4, 2)]
    bumper = [*base, (length - 0.4, 4.6), (length - 2.0, 4.6)]
    curve = refined([*base[:2], (length - 2.6, 1.0), (length, height)], 2)
    profile = refined(hollow(curve, wall, bumper, bead=0.4), 2) + np.array([0, floor])

    def plan(angle, r, z):
        aside = arctan2(cos(angle), -sin(angle))
        rise = np.clip((z - floor - 0.55 * height) / (0.45 * height), 0, 1.05)
        return cushion(angle, r, z) + 0.26 * np.square(rise) * exp(-np.square(aside / 0.3))

    tub = scale(lathe(profile, 88, radius_at=plan), (slimness, 1, 1))
    casters = [move(_caster(floor), (x, y, 0)) for x in (-7.2, 7.2) for y in (-10.4, 10.4)]
    return union(tub, join(*casters), _wringer(floor + height))


def _caster(floor):
    """Model a swivel caster: a wheel in a fork, on a plate under the bucket."""
    wheel = cylinder(2.5, 1.8, (0, 0, 2.5), axis="x", bevel=0.4, segments=28)
    fork = box((3.2, 2.6, 3.6), (0, 0, 4.2), bevel=0.4)
    return union(wheel, fork, cylinder(2.2, 1.6, (0, 0, floor + 0.2), bevel=0.3, segments=32))


def _wringer(rim):
    """Model a slotted basket over the back half of the rim, its press plate and its lever."""
    places = np.linspace(-8, 8, 6)
    slots = [box((1.5, 6, 7.5), (x, 3, rim + 4)) for x in places]
    slots += [box((1.5, 6, 4.5), (x, 13, rim + 5.2)) for x in places]
    basket = box((26, 12, 15), (0, 8, rim + 1.5), bevel=0.8, segments=1)
    basket = difference(basket, box((21.6, 8.6, 15), (0, 8, rim + 3.4)), join(*slots))
    plate = rotate(
        box((23, 1.8, 11), (0, 8, rim + 4.5), bevel=0.3, segments=1), "x", 28, (0, 8, rim + 4.5)
    )
    hub = cylinder(2.3, 3, (13.6, 8, rim + 5), axis="x", bevel=0.4, segments=28)
    path = smooth([(14, 8, rim + 5), (14.3, 9.5, rim + 13), (14.3, 12, rim + 21)], 16)
    grip = sweep(smooth([path[-4], path[-1], 2 * path[-1] - path[-3]], 8), 1.5, 16)
    return union(basket, plate, hub, sweep(path, 0.95, 12), grip)


DESIGNS = {"pail": pail, "mop_bucket": mop_bucket}
