# SPDX-License-Identifier: GPL-3.0-or-later
"""Water taps: a single-lever kitchen mixer and an old-fashioned bridge tap (centimetres)."""

import numpy as np

from blender_scripts.designs.shapes import (
    arc,
    cylinder,
    extrude,
    join,
    lathe,
    mirror,
    move,
    rotate,
    rounded_rectangle,
    smooth,
    sphere,
    sweep,
    torus,
    turn_to,
    union,
)
from blender_scripts.portable import cos, sin


def mixer_tap(height=30.0, reach=12.0, pipe=1.5, body=2.8):
    """Model a kitchen mixer: base plate, body, swan-neck spout, aerator, side lever."""
    plate = extrude(rounded_rectangle(18, 7.4, 3.6, 8), 1.4, (0, 0, 0.7), bevel=0.4)
    trunk = lathe(
        [(0, 0.5), (3.3, 0.5), (3.3, 2.4), (body, 2.9), (body, 11.2), (body - 0.35, 11.5),
         (body - 0.35, 12.0), (body, 12.3), (body, 13.2), (pipe + 0.2, 14.4), (0, 14.4)],
        48,
    )  # fmt: skip
    bend = reach / 2
    top = height - pipe - bend
    rise = [(0, 0, z) for z in np.linspace(13, top, 7)[:-1]]
    fall = [(0, -reach, top - z) for z in (1.2, 2.4)]
    spout = sweep([*rise, *arc((0, -bend, top), bend, 0, 180, 23, "yz"), *fall], pipe, 24)
    aerator = move(_nozzle(pipe + 0.5, 2.8), (0, -reach, top - 4.6))
    mark = cylinder(0.7, 1.0, (0, -body, 9.5), "y", bevel=0.2, segments=20)
    return union(plate, trunk, spout, join(aerator, mark), _lever(body, 7.6))


def pillar_tap(width=18.0, reach=10.5, height=18.5, pipe=1.5):
    """Model a bridge tap: two cross-head handles on pillars, a bridge, a curved spout between."""
    half, bridge = width / 2, 6.5
    pillar = lathe(
        [(0, 0), (3.4, 0), (3.5, 0.5), (3.1, 1.1), (1.8, 1.7), (1.5, 2.4), (1.5, 3.4), (2.0, 3.7),
         (2.0, 4.3), (1.8, 4.5), (2.3, 5.4), (2.4, 6.5), (2.3, 7.6), (1.8, 8.4), (2.1, 8.7),
         (2.1, 9.4), (1.3, 9.8), (1.1, 11), (0, 11)],
        36,
    )  # fmt: skip
    side = union(pillar, move(rotate(_cross_head(), "z", 25), (0, 0, 11.2)))
    side = move(side, (half, 0, 0))
    rings = [(1.3, 5.1), (1.8, 4.9), (1.8, 4.1), (1.3, 3.9), (1.4, 2.9), (2.0, 2.2), (2.5, 1.2)]
    right = [(radius, -x) for radius, x in rings]
    beam = lathe(
        [(0, -half), (1.3, -half), *right, (2.7, 0), *rings[::-1], (1.3, half), (0, half)], 32
    )
    path = [(0, 0, bridge), (0, 0, height - 6.5), (0, -1.1, height - 2.8), (0, -4.4, height - pipe)]
    path += [(0, -8, height - 3.2), (0, 0.5 - reach, height - 6), (0, -reach, height - 8.2)]
    spout = sweep(smooth(path, 36), np.linspace(pipe + 0.3, pipe - 0.2, 36), 24)
    collar = lathe([(0, 7), (1.9, 7), (2.0, 8.8), (2.5, 9.2), (2.5, 9.9), (2, 10.3), (0, 10.3)], 32)
    nozzle = move(_nozzle(pipe + 0.4, 2.0), (0, -reach, height - 9.6))
    middle = union(move(turn_to(beam, "x"), (0, 0, bridge)), collar, spout, nozzle)
    return union(middle, join(side, mirror(side, "x")))


def _nozzle(radius, height):
    """Model the end of a spout: a ring with a grooved outside and a recess below."""
    inside = radius - 0.6
    profile = [(0, 1.0), (inside, 1.0), (inside, 0), (radius - 0.15, 0), (radius, 0.15)]
    profile += [(radius, 0.9), (radius - 0.25, 1.1), (radius, 1.3)]
    profile += [(radius, height - 0.3), (radius - 0.3, height), (0, height)]
    return lathe(profile, 32)


def _lever(body, z):
    """Model the mixer's valve on the right of the body, its lever pointing up and outwards."""
    stub = cylinder(2.0, 3.4, (body + 1.2, 0, z), "x", bevel=0.3, segments=40)
    groove = torus(2.0, 0.25, (body + 0.9, 0, z), "x", segments=40, rings=8)
    path = smooth([(body + 2.0, 0, z), (body + 3.2, 0, z + 2.4), (body + 5.2, 0, z + 8)], 14)
    handle = sweep(path, np.linspace(0.95, 0.6, 14), 16)
    return union(stub, groove, handle, sphere(0.85, path[-1], 20))


def _cross_head():
    """Model a handle of four ball-ended arms about a hub with a china button."""
    hub = [(0, -1.0), (1.3, -1.0), (1.5, -0.5), (1.5, 1.2), (1.2, 1.6), (0.95, 1.6), (0.95, 1.9)]
    hub += [(0.6, 2.25), (0, 2.35)]
    turns = np.radians(np.linspace(0, 150, 8))
    ball = np.stack([0.9 * sin(turns[::-1]), 3.6 + 0.9 * cos(turns[::-1])], axis=1)
    arm = [(0.62, 1.0), (0.5, 2.5), *ball[:-1], (0, 4.5)]
    bar = turn_to(lathe([*((r, -z) for r, z in arm[::-1]), *arm], 16), "x")
    return union(lathe(hub, 32), bar, rotate(bar, "z", 90))


DESIGNS = {"mixer_tap": mixer_tap, "pillar_tap": pillar_tap}
