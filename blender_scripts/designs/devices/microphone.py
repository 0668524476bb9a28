# SPDX-License-Identifier: GPL-3.0-or-later
"""Microphones: a handheld stage microphone and a studio condenser in its shock mount (cm)."""

import numpy as np

from blender_scripts.designs.shapes import (
    box,
    cylinder,
    extrude,
    join,
    lathe,
    move,
    rotate,
    rounded_rectangle,
    sweep,
    torus,
    union,
)
from blender_scripts.portable import arctan, arctan2, cos, exp, log, norm, power, sin


def handheld_microphone(length=19.0, head=3.3, grip=2.3, foot=1.5):
    """Model a stage microphone: wire-mesh ball, collar, body with a switch, plug socket."""
    neck = length - 1.72 * head
    profile = [(0, 1.3), (foot - 0.5, 1.3), (foot - 0.5, 0), (foot - 0.1, 0), (foot, 0.1)]
    profile += [(foot, 1.5), (foot - 0.22, 1.7), (foot - 0.22, 2.0), (foot + 0.05, 2.2)]
    profile += [(grip - 0.1, neck - 2.6), (grip, neck - 2.2), (grip, neck - 1.4)]
    profile += [(grip + 0.4, neck - 1.2), (grip + 0.4, neck - 0.3), (grip + 0.1, neck), (0, neck)]
    pins = [
        cylinder(0.2, 1.2, (0.45 * cos(a), 0.45 * sin(a), 0.9), segments=12)
        for a in np.radians([30, 150, 270])
    ]
    plate = extrude(rounded_rectangle(4.2, 1.7, 0.8), 1.4, axis="y", bevel=0.2)
    slide = box((1.0, 1.2, 1.4), (0, -0.7, 0.6), bevel=0.2)
    switch = rotate(union(plate, slide), "x", 4)  # along the taper
    switch = move(switch, (0, 0.7 - grip, 0.63 * neck))
    band = cylinder(head + 0.2, 1.0, (0, 0, length - head), bevel=0.2, segments=64)
    body = union(lathe(profile, 48), join(switch, *pins))
    return union(body, move(_mesh_ball(head), (0, 0, length - head)), band)


def studio_microphone(height=21.0, radius=2.8, ring=5.6):
    """Model a large condenser: slotted grille, badge, shock mount, swivel and stand thread."""
    mount = _shock_mount(radius, ring, (5.0, 10.2))
    badge = cylinder(0.9, 1.2, (0, 0.1 - radius, 8.2), "y", bevel=0.15, segments=24)
    return union(_condenser(radius, height), badge, mount)


def _mesh_ball(radius, cells=12, relief=0.26):
    """Model a ball with two crossing families of wires wound around it."""
    segments = 8 * cells
    # Rows evenly spaced in Mercator's latitude: the wires then follow the mesh's diagonals.
    mercator = np.arange(-14, 32) * 2 * np.pi / segments
    latitude = np.r_[-np.pi / 2, 2 * arctan(exp(mercator)) - np.pi / 2, np.pi / 2]
    profile = radius * np.stack([cos(latitude), sin(latitude)], axis=1)
    profile[[0, -1], 0] = 0
    vertices, faces = lathe(profile, segments)
    x, y, z = vertices.T / radius
    z = np.clip(z, -0.999, 0.999)
    mercator = 0.5 * log((1 + z) / (1 - z))
    wires = [power(np.abs(cos(cells / 2 * (arctan2(y, x) + s * mercator))), 8) for s in (-1, 1)]
    fade = np.clip((norm(vertices[:, :2] / radius) - 0.15) / 0.3, 0, 1)
    return vertices * (1 - relief / radius * fade * (1 - np.max(wires, axis=0)))[:, None], faces


def _condenser(radius, height, joint=11.6):
    """Model the body and its grille: deep slots below and above a ring, under a flat cap."""
    wide, top = radius + 0.3, height - 3.4
    body = [(0, 2.2), (1.7, 2.2), (1.9, 2.4), (1.9, 3.1), (radius - 0.2, 3.6), (radius, 3.9)]
    # Rows beside the clamps keep the slivers of that union short.
    body += [(radius, z) for z in (5.8, 6.6, 9.0, 9.6)]
    body += [(radius, joint), (wide, joint + 0.3), (wide, joint + 0.9), (radius, joint + 1.1)]
    body += [(radius, joint + 1.6), (radius, joint + 1.7), (radius, top - 0.7)]
    dome = [(1, 0), (0.97, 0.3), (0.86, 0.65), (0.66, 0.88), (0.6, 0.92), (0.3, 1), (0, 1)]
    outline = [*body, *((r * radius, top + z * (height - top)) for r, z in dome)]

    def slotted(angle, r, z):
        inside = (z > joint + 1.65) & (r > 0.63 * radius)
        return 1 - 0.6 / np.maximum(r, 1) * inside * (sin(16 * angle + 0.3) > 0)

    ring = torus(radius - 0.05, 0.4, (0, 0, top - 0.4), rings=8)
    return union(lathe(outline, 64, radius_at=slotted), ring)


def _shock_mount(radius, ring, levels):
    """Model two outer rings on posts, inner clamps on slanting cords, swivel and thread."""
    tall = levels[1] - levels[0]
    rings = [torus(ring, 0.5, (0, 0, z), rings=10) for z in levels]
    clamps = [torus(radius + 0.1, 0.4, (0, 0, z), rings=8) for z in levels]
    cords = []
    for k in range(12):
        start, stop = np.radians(30 * k + 15 + np.array([-9, 9]) * (-1) ** k)
        reach = np.linspace(radius, ring, 5)[:, None]
        turn = np.linspace(start, stop, 5)[:, None]
        path = np.concatenate([reach * cos(turn), reach * sin(turn), 0 * turn], axis=1)
        cords += [move(sweep(path, 0.28, 6), (0, 0, z)) for z in levels]
    post = lathe([(0, 0), *((0.42, z) for z in np.linspace(0, tall, 8)), (0, tall)], 8)
    posts = [
        move(post, (ring * cos(a), ring * sin(a), levels[0]))
        for a in np.radians([33, 147, 213, 327])
    ]
    plate = box((2.4, 1.0, tall + 1.6), (0, ring + 0.5, np.mean(levels)), bevel=0.25, segments=1)
    back = ring + 1.6
    swivel = cylinder(1.3, 2.9, (0.1, back, levels[0] + 0.6), "x", bevel=0.25, segments=32)
    knob = cylinder(0.85, 2.6, (2.2, back, levels[0] + 0.6), "x", bevel=0.25, segments=10)
    turns = [(1.25 - 0.25 * (k % 2), 0.25 + 0.35 * k) for k in range(9)]
    thread = lathe([(0, 0), (1.0, 0), *turns, (0.9, 3.3), (0.9, 5.0), (0, 5.0)], 32)
    frame = union(join(*rings), join(*clamps), join(*cords), join(*posts), plate)
    return union(frame, swivel, knob, move(thread, (0.1, back, 0)))


DESIGNS = {"handheld_microphone": handheld_microphone, "studio_microphone": studio_microphone}
