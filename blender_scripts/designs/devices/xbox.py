# SPDX-License-Identifier: GPL-3.0-or-later
"""Game consoles of four generations, without logos. Lengths in centimetres; the front is at -y."""

import numpy as np

from blender_scripts.designs import shapes
from blender_scripts.designs.shapes import boxes, steps
from blender_scripts.portable import cos, sin


def crossed_lid_console(width=32.0, depth=27.0, height=9.0, ridge=1.7):
    """Model the first generation: a big box, on its lid an X of raised ridges around a disc."""
    half, front = width / 2, -depth / 2
    right = [(0.90, 0), (0.96, 0.40), (0.91, 0.45), (0.91, 0.50), (1, 0.56), (0.97, 1)]
    outline = np.array(right + [(-x, z) for x, z in right[::-1]]) * (half, height)
    body = _from_front(outline, depth, bevel=0.5)
    x, y = 0.93 * half, 0.95 * depth / 2
    arm = np.array([(0.36 * x, 0), (x, 0.55 * y), (0.60 * x, y), (0, 0.42 * y)])
    arms = np.concatenate([arm, (arm * (-1, 1))[2:0:-1]])
    cross = shapes.extrude(
        np.concatenate([arms, -arms]),
        ridge + 1,
        (0, 0, height + (ridge - 1) / 2),
        bevel=0.6,
        segments=1,
    )
    rim = [(0, -1), (6, -1), (6, 2.2), (5.5, 2.7), (4.7, 2.7), (4.7, 2.1)]
    disc = shapes.lathe([*rim, (4, 2.1), (4, 2.6), (0, 3.4)], 48)
    body = shapes.union(body, shapes.union(cross, shapes.move(disc, (0, 0, height))))
    ports = [(x, 2.0) for x in (-10.5, -3.5, 3.5, 10.5)]
    sockets = [shapes.cylinder(1.35, 4, (x, front, z), "y", segments=16) for x, z in ports]
    sockets.append(shapes.span((-13, 3), (front - 1, front + 0.9), (5.7, 8.0)))
    sockets += boxes(
        (1.2, 1.1, 2.4),
        [(side * 0.94 * half, y, 2.2) for side in (-1, 1) for y in steps(7, 2)],
    )
    sockets += boxes((2.6, 2.4, 1.8), [(x, -front, 2.4) for x in (-9, -4.5, 0)])
    sockets += boxes((0.9, 2.4, 4.6), [(x, -front, 4.6) for x in steps(4, 1.8, 7)])
    body = shapes.difference(body, shapes.join(*sockets))
    parts = [shapes.span((-12.6, 2.6), (front - 0.4, front + 1.5), (6.1, 7.6), 0.2)]
    for x, z in ports:
        parts.append(shapes.torus(1.55, 0.4, (x, front, z), "y", 16, 6))
        parts.append(shapes.cylinder(0.6, 1.8, (x, front + 1.4, z), "y", segments=10))
    for x, radius in ((6.5, 1.1), (10.5, 1.5)):
        parts.append(shapes.cylinder(radius, 2, (x, front, 6.9), "y", bevel=0.3, segments=24))
    parts += boxes((4, 4, 2), [(x, y, -0.1) for x in (-10, 10) for y in (-8, 8)], 0.4, 2)
    return shapes.union(body, shapes.join(*parts))


def waisted_console(width=10.5, depth=26.0, height=31.0, waist=1.7):
    """Model the second generation: a standing tower with concave sides, a tray, a round button."""
    slim = _from_front(_waisted(width, height, waist), depth, bevel=0.5)
    deep = _from_front(_waisted(depth, height, 2.2), width + 1, bevel=0.5)
    deep = shapes.rotate(deep, "z", 90)
    body = shapes.intersection(slim, deep)
    front, back = 2.2 - depth / 2, depth / 2 - 2.2
    cuts = [shapes.span((-2.2, 0.9), (front - 9, front + 1), (10.5, 26))]
    cuts += boxes((1.7, 3, 0.9), [(2.3, front, z) for z in (19.5, 21.5)])
    for side in (-1, 1):
        inner = side * (width / 2 - waist)
        for low in (5.5, 21.5):
            cuts += boxes((2, 13, 0.8), [(inner, 1.5, low + 1.6 * i) for i in range(4)])
    cuts += boxes((5, 0.9, 2), [(0, y, height) for y in steps(7, 1.9, 1)])
    cuts += boxes((3, 3, 1.8), [(0, back, z) for z in (8, 12, 16)])
    cuts += boxes((4, 3, 0.8), [(0, back, z) for z in steps(5, 1.6, 23)])
    body = shapes.difference(body, shapes.join(*cuts))
    rim = [(0, -1.5), (2.5, -1.5), (2.5, 0.8), (2.2, 1), (1.7, 1), (1.7, 0.4)]
    button = shapes.lathe([*rim, (1.3, 0.4), (1.2, 1), (0, 1.2)], 40)
    button = shapes.rotate(button, "x", 90)
    parts = [shapes.move(button, (0, front - 0.5, 6.6))]
    parts.append(shapes.span((-1.8, 0.5), (front - 0.7, front + 2), (10.9, 25.6), 0.25))
    foot = shapes.span(
        (-width / 2 - 1.2, width / 2 + 1.2), (-0.44 * depth, 0.44 * depth), (-1, 0.7), 0.5
    )
    return shapes.union(body, shapes.join(*parts), foot)


def slotted_console(width=33.0, depth=27.0, height=7.6):
    """Model the third generation: a flat two-tone slab, half of its lid parallel slots."""
    half, front, top = width / 2, -depth / 2, height
    base = shapes.span((1 - half, half - 1), (front + 1, -front - 0.6), (0, 3.6), 0.3)
    lid = shapes.span((-half, half), (front, -front), (3, top), 0.3)
    body = shapes.union(base, lid)
    cuts = [shapes.span((-0.3, 0.5), (front - 1, -front + 1), (top - 0.8, top + 1))]
    cuts += boxes((0.8, depth - 5, 3), [(x, 0, top) for x in steps(9, 0.05 * width, 0.255 * width)])
    cuts.append(shapes.span((3 - half, -1.5), (front - 1, front + 1.4), (4.6, 5.4)))
    cuts.append(shapes.span((-0.3, 0.5), (front - 1, front + 0.8), (2.8, top - 1.2)))
    for side in (-1, 1):
        cuts += boxes((3, 1, 2.4), [(side * half, y, 5.2) for y in steps(8, 2.0, 1)])
    ports = [(-12, 2.6), (-8.2, 1.8), (-5.2, 1.8), (-2.2, 1.6), (2.5, 2), (6, 2), (10.5, 3.2)]
    for x, size in ports:
        cuts.append(shapes.span((x - size / 2, x + size / 2), (-front - 2, -front + 1), (4.3, 6.2)))
    body = shapes.difference(body, shapes.join(*cuts))
    parts = [shapes.span((half - 4.3, half - 1.9), (front - 0.45, front + 1), (4.2, 6.6), 0.2)]
    parts.append(
        shapes.cylinder(0.6, 2, (1.7 - half, front + 0.5, 5), "y", bevel=0.15, segments=16)
    )
    parts.append(shapes.span((2, 8), (front - 0.3, front + 1), (3.8, 5.2), 0.15))
    for x, y in [(x, y) for x in (-11, 11) for y in (-9, 9)]:
        parts.append(shapes.cylinder(1.7, 1.6, (x, y, -0.3), bevel=0.2, segments=24))
    return shapes.union(body, shapes.join(*parts))


def tower_console(width=15.0, height=30.0, rings=4):
    """Model the fourth generation: a monolith with a round grille on top, a disc slot in front."""
    half = width / 2
    body = shapes.extrude(
        shapes.rounded_rectangle(width, width, 1.0, 2),
        height,
        (0, 0, height / 2),
        bevel=0.3,
        segments=1,
    )
    dish = shapes.lathe([(0, -1.3), (3.6, -1.1), (6.0, -0.4), (6.9, 0.6), (0, 0.6)], 30)
    body = shapes.difference(body, shapes.move(dish, (0, 0, height)))
    spots = [(0.0, 0.0)]
    for ring in range(1, rings + 1):
        turns = np.linspace(0, 2 * np.pi, 6 * ring, endpoint=False) + 0.3 * ring
        spots += [(1.42 * ring * cos(t), 1.42 * ring * sin(t)) for t in turns]
    cuts = [shapes.cylinder(0.5, 4, (x, y, height - 0.5), segments=6) for x, y in spots]
    cuts.append(shapes.span((-4.9, -4.1), (-half - 1, -half + 1.6), (13, 26)))
    cuts.append(shapes.span((3.4, 5.4), (-half - 1, -half + 1.2), (5, 6)))
    for z in steps(6, 1.7, 22):
        cuts += boxes((2.6, 2.4, 0.9), [(x, half, z) for x in (-3.6, 0, 3.6)])
    for z, size in ((3.6, 3.4), (6.3, 2.4), (8.9, 2.4), (11.5, 1.8), (14, 3.0)):
        cuts.append(shapes.span((-size / 2, size / 2), (half - 1.2, half + 1), (z - 0.8, z + 0.8)))
    body = shapes.difference(body, shapes.join(*cuts))
    parts = [
        shapes.cylinder(1.2, 1.6, (-4.5, -half, 27.6), "y", bevel=0.3, segments=24),
        shapes.cylinder(0.6, 1.4, (-4.5, -half, 11.4), "y", bevel=0.15, segments=16),
        shapes.cylinder(0.6, 1.4, (4.4, -half, 3.4), "y", bevel=0.15, segments=16),
        shapes.cylinder(6.8, 2.2, (0, 0, -0.6), bevel=0.3, segments=32),
    ]
    return shapes.union(body, shapes.join(*parts))


def _from_front(outline, depth, bevel=0.0):
    """Model a prism along y over an outline (K, 2) of (x, z), counter-clockwise in front."""
    return shapes.extrude(np.asarray(outline)[::-1, ::-1], depth, axis="y", bevel=bevel, segments=1)


def _waisted(width, height, waist, count=13):
    """Return the (2 * count, 2) outline from z 0 to the height, its sides bowed in by `waist`."""
    z = np.linspace(0, height, count)
    x = width / 2 - waist * (1 - np.square(2 * z / height - 1))
    return np.concatenate([np.c_[x, z], np.c_[-x, z][::-1]])


DESIGNS = {
    "crossed_lid_console": crossed_lid_console,
    "waisted_console": waisted_console,
    "slotted_console": slotted_console,
    "tower_console": tower_console,
}
