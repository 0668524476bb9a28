# SPDX-License-Identifier: GPL-3.0-or-later
"""Bottles: a Bordeaux wine bottle, open and hollow; a spray bottle with a trigger."""

import numpy as np

from blender_scripts.designs.shapes import (
    box,
    cylinder,
    difference,
    extrude,
    intersection,
    join,
    lathe,
    regular_polygon,
    rotate,
    rounded_rectangle,
    scale,
    smooth,
    sphere,
    union,
)
from blender_scripts.designs.vessels.profiles import refined, strap
from blender_scripts.portable import cos


def wine_bottle(height=30.0, radius=4.3, wall=0.95):
    """Model a Bordeaux bottle: punt, shoulder, capsule, neck ring, labels front and back."""
    neck, shoulder = 1.9, 0.6 * height
    punt = smooth([(0, 2.6), (1.5, 2.0), (2.7, 0.5), (3.3, 0)], 12)
    slope = np.array([(radius, shoulder), (radius - 0.5, 20.2), (neck + 0.3, 22.4), (neck, 24.2)])
    outside = [*punt, (radius - 0.5, 0), (radius, 0.6), *smooth(slope, 16)]
    outside += [(neck + 0.3, 24.4), (neck + 0.2, height - 2.4), (neck + 0.75, height - 2.2)]
    outside += [(neck + 0.75, height - 0.9), (neck + 0.3, height - 0.7), (neck + 0.1, height)]
    inside = [*(punt[:8] + np.array([0, wall])), (radius - wall - 0.4, wall)]
    inside += [(radius - wall, wall + 0.5), *smooth(slope - np.array([wall, 0.3]), 16)]
    inside += [(neck - wall + 0.1, height + 1), (0, height + 1)]

    def patch(reach, outline, centre):
        """Return what lies between the axis and a cylinder, within an outline seen from -y."""
        shell = lathe(refined([(0, 1), (reach, 1), (reach, 20), (0, 20)], 1.0), 60)
        return intersection(shell, extrude(outline, 7, (0, -4.3, centre), axis="y"))

    emblem = patch(radius + 1.0, regular_polygon(20, 1.0) * np.array([1.6, 1.9]), 12.2)
    lines = [
        patch(radius + 0.95, rounded_rectangle(0.9, width, 0.3), z)
        for width, z in ((4.6, 8.9), (3.4, 7.3))
    ]
    front = union(patch(radius + 0.55, rounded_rectangle(10, 6.6, 0.8), 10.6), emblem, *lines)
    back = rotate(patch(radius + 0.55, rounded_rectangle(5.5, 5, 0.8), 8.4), "z", 180)
    body = union(lathe(refined([*outside, (0, height)], 1.0), 64), join(front, back))
    return difference(body, lathe(refined(inside, 1.2), 64))


def spray_bottle(radius=5.4, flatness=0.64):
    """Model a trigger sprayer: oval body, label, ribbed waist and collar, trigger head."""
    side = [(4.9, 0.2), (radius, 1.2), (radius, 6), (5.2, 10.5), (4.0, 13), (3.6, 15.5), (4.3, 18)]
    side = np.concatenate([[(0, 0), (4.4, 0)], smooth([*side, (3.6, 20.0), (1.9, 21.2)], 40)])
    side = refined([*side, (1.9, 22), (0, 22)], 0.7)

    def waist(angle, r, z):
        """Scale the radius to ribs around the waist."""
        where = np.clip((z - 12) / 0.6, 0, 1) * np.clip((17.6 - z) / 0.6, 0, 1)
        return 1 + 0.06 * where * cos(2 * np.pi * (z - 12) / 1.87)

    body = scale(lathe(side, 72, radius_at=waist), (flatness, 1, 1))
    label = extrude(
        rounded_rectangle(5.6, 7.6, 1.4),
        2 * (radius * flatness + 0.15),
        (0, 0, 6.4),
        "x",
        bevel=0.3,
    )
    drop = [sphere((0.9, 1.4, 1.9), (x, 0, 6.4), 24) for x in (-3.6, 3.6)]
    collar = lathe(
        refined([(0, 21.4), (2.5, 21.4), (2.7, 21.7), (2.5, 24.2), (2.2, 24.5), (0, 24.5)], 0.7),
        72,
        radius_at=lambda angle, r, z: 1 + 0.07 * cos(12 * angle) * (r > 2),
    )
    # the head's side view, (y, z); its nozzle points to -y
    outline = smooth(
        [
            (1.8, 24),
            (2.6, 25.4),
            (4.3, 26.3),
            (4.6, 27.8),
            (3.4, 29.2),
            (0.5, 29.7),
            (-3, 29.5),
            (-4.6, 29.2),
        ],
        20,
    )
    outline = np.concatenate([outline, [(-5.0, 28.9), (-5.0, 26.4), (-2.2, 25.8), (-1.8, 24)]])
    head = extrude(outline, 3.4, axis="x", bevel=0.5)
    nozzle = union(
        cylinder(1.15, 3, (0, -5.6, 27.7), axis="y", segments=32),
        box((3.0, 1.8, 3.0), (0, -7.0, 27.7), bevel=0.45),
    )
    nozzle = difference(nozzle, cylinder(0.6, 2, (0, -8.2, 27.7), axis="y", segments=24))
    trigger = strap([(-3.6, 27), (-3.9, 25), (-4.9, 23), (-5.4, 21.2), (-6.4, 19.8)], 1.1, 2.2)
    body = union(body, label, join(*drop), collar, head)
    return union(body, nozzle, rotate(trigger, "z", 90))


DESIGNS = {"wine_bottle": wine_bottle, "spray_bottle": spray_bottle}
