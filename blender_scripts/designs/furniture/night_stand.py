# SPDX-License-Identifier: GPL-3.0-or-later
"""Night stands, one solid each. Centimetres; z up, the front towards -y."""

import numpy as np

from blender_scripts.designs.shapes import (
    arc,
    box,
    cylinder,
    difference,
    intersection,
    join,
    lathe,
    move,
    rotate,
    smooth,
    sphere,
    sweep,
    union,
)

CORNERS = (-1, -1), (1, -1), (1, 1), (-1, 1)


def two_drawer_night_stand(width=50, depth=40, height=60):
    """Model an overhanging top, two drawers with bar handles, four turned legs on blocks."""
    body = width - 5, depth - 5, 0.55 * height
    low = height - 3 - body[2]
    middle = low + body[2] / 2 - 0.5
    panels = [box((3, body[1] - 9, body[2] - 8), (x * body[0] / 2, 0, middle)) for x in (-1, 1)]
    panels.append(box((body[0] - 9, 3, body[2] - 8), (0, body[1] / 2, middle)))
    case = difference(box(body, (0, 0, low + body[2] / 2)), join(*panels))
    top = box((width, depth, 4.6), (0, 0, height - 2.3), bevel=1.3)
    legs = [
        move(_turned_leg(low + 2), (x * (body[0] / 2 - 4.2), y * (body[1] / 2 - 4.2), 0))
        for x, y in CORNERS
    ]
    front, size = -body[1] / 2, (body[0] - 6, (body[2] - 7.6) / 2)
    places = [(0, front, low + 2.6 + size[1] * (k + 0.5) + 2.2 * k) for k in range(2)]
    case = add_drawers(case, places, size)
    handles = [move(bar_handle(16), (0, front - 1.2, place[2])) for place in places]
    return union(case, top, join(*legs), join(*handles))


def open_shelf_night_stand(width=46, depth=40, height=60):
    """Model square posts, a drawer with a knob, an open compartment with a shelf, stretchers."""
    post = 5.4
    x, y = width / 2 - post / 2, depth / 2 - post / 2
    posts = [
        box((post, post, height - 3), (i * x, j * y, (height - 3) / 2), bevel=0.9, segments=1)
        for i, j in CORNERS
    ]
    low, high = 0.27 * height, height - 2
    case = box((width - 1.6, depth - 1.6, high - low), (0, 0, (low + high) / 2))
    front, floor, ceiling = 0.8 - depth / 2, low + 2.6, low + 0.44 * height
    inside = width - 2 * post + 0.6
    hollow = box((inside, depth - 3, ceiling - floor), (0, front + depth / 2 - 4.6, 0))
    case = difference(case, move(hollow, (0, 0, (floor + ceiling) / 2)))
    shelf = box((inside + 2, depth - 8, 2.4), (0, 1.4, (floor + ceiling) / 2))
    size = inside, height - 3 - ceiling - 4.6
    drawer = 0, front, ceiling + 2.2 + size[1] / 2
    case = add_drawers(union(case, shelf), [drawer], size)
    top = box((width + 4, depth + 4, 3.6), (0, 0, height - 1.8), bevel=0.9)
    knob = move(round_knob(2.6), (0, front - 1.2, drawer[2]))
    sides = [box((2.4, depth - 4, 3.4), (side * x, 0, 7)) for side in (-1, 1)]
    middle = box((width - 4, 3.4, 2.4), (0, 0, 7))
    return union(case, join(*posts), top, union(middle, join(*sides)), knob)


def pedestal_night_stand(radius=22, height=60, drum=15.5):
    """Model a round dished top on a drum with a drawer, a baluster column and three feet."""
    # (radius, z / height), from the ground up to the dish
    column = [(3.6, 0.09), (5.8, 0.13), (5.4, 0.19), (3.2, 0.23), (3.4, 0.28), (5.8, 0.34)]
    column += [(6.2, 0.38), (5.0, 0.44), (3.2, 0.5), (2.9, 0.55), (4.6, 0.575), (3.6, 0.61)]
    head = [(drum - 2, 0.65), (drum, 0.67), (drum, 0.935), (radius - 1.5, 0.935), (radius, 0.95)]
    head += [(radius, 1.0), (radius - 2.2, 1.0), (radius - 3.4, 0.965), (0, 0.965)]
    profile = np.concatenate([[(0, 0.09)], smooth(column, 45), [(3.6, 0.65)], head])
    body = lathe(profile * (1, height), 64)
    middle, tall = 0.8 * height, 0.18 * height
    gap = 1.3
    joint = difference(
        box((19, 20, tall), (0, -drum, middle)),
        box((19 - 2 * gap, 30, tall - 2 * gap), (0, -drum, middle)),
    )
    band = [(drum - 1.5, -tall), (drum + 1.5, -tall), (drum + 1.5, tall), (drum - 1.5, tall)]
    joint = intersection(joint, move(lathe(band, 64, closed=True), (0, 0, middle)))
    knob = move(round_knob(2.2), (0, 0.3 - drum, middle))
    path = [(2, 0.16), (9, 0.17), (15, 0.1), (19, 0.05), (22.5, 0.035)]
    path = smooth(np.array(path) * (1, height), 20)
    path = np.c_[path[:, 0], np.zeros(20), path[:, 1]]
    foot = sweep(path, np.interp(path[:, 0], (2, 15, 22.5), (3.4, 2.2, 1.7)), 12)
    pad = sphere((4, 3.4, 2.3), (22, 0, 2.3), 24)
    foot = union(foot, pad)
    feet = [rotate(foot, "z", turn) for turn in (30, 150, 270)]
    return union(difference(body, joint), *feet, knob)


def cabinet_night_stand(width=44, depth=38, height=62):
    """Model a cupboard on a plinth: panelled door with hinges, grooved sides, a gallery rail."""
    plinth = box((width + 3, depth + 3, 8), (0, 0, 4), bevel=1.2, segments=1)
    board = height - 9
    case = box((width, depth, board - 5), (0, 0, (board + 5) / 2))
    size, front = (width - 7, board - 16), -depth / 2
    middle = 0, front, 8 + (board - 10) / 2
    case = add_drawers(case, [middle], size)
    sunk = box((size[0] - 10, 2.6, size[1] - 12), (0, front - 1.4, middle[2]))
    field = box((size[0] - 15, 4, size[1] - 17), (0, front + 1, middle[2]), bevel=1.2, segments=1)
    groove = box((3, 1.6, size[1]))
    grooves = [
        move(groove, (side * width / 2, (k - 2) * 6.2, middle[2]))
        for side in (-1, 1)
        for k in range(5)
    ]
    case = union(difference(case, join(sunk, *grooves)), field)
    hinges = [
        cylinder(1.3, 6, (-size[0] / 2 - 0.2, front - 1, middle[2] + side * size[1] * 0.34))
        for side in (-1, 1)
    ]
    knob = move(round_knob(2.2), (size[0] / 2 - 2.6, front - 1.2, middle[2]))
    top = box((width + 4, depth + 4, 3.4), (0, 0, board), bevel=1, segments=1)
    return union(case, plinth, top, _gallery(width, depth, board + 1, height), knob, join(*hinges))


def add_drawers(case, places, size, gap=1.1, sunk=2.4, proud=1.2):
    """Set drawer fronts of (x, z) `size` into the front face of a case, with joints around them.

    places : centres (x, y of the face, z); the joints are `gap` wide and `sunk` deep.
    """
    pockets = [box((size[0], 2 * sunk, size[1]), place) for place in places]
    thickness = sunk + proud + 1  # 1 into the case behind the joint
    fronts = [
        box(
            (size[0] - 2 * gap, thickness, size[1] - 2 * gap),
            np.add(place, (0, thickness / 2 - proud, 0)),
            bevel=0.6,
            segments=1,
        )
        for place in places
    ]
    return union(difference(case, join(*pockets)), join(*fronts))


def bar_handle(length, reach=3.4, radius=1.0):
    """Model a bow handle on the face y = 0, along x."""
    bend, x = 1.6, length / 2
    path = np.concatenate(
        [
            [(-x, 1, 0)],
            arc((bend - x, bend - reach, 0), bend, 180, 270, 5, "xy"),
            arc((x - bend, bend - reach, 0), bend, 270, 360, 5, "xy"),
            [(x, 1, 0)],
        ]
    )
    return sweep(path, radius, 12)


def round_knob(radius):
    """Model a knob on the face y = 0."""
    r = radius
    profile = [(0, -1), (0.6 * r, -1), (0.5 * r, 0.5 * r), (0.5 * r, 0.9 * r), (0.9 * r, 1.2 * r)]
    profile += [(r, 1.5 * r), (0.85 * r, 1.9 * r), (0.5 * r, 2.1 * r), (0, 2.15 * r)]
    return rotate(lathe(profile, 24), "x", 90)


def _turned_leg(height):
    """Model a turned leg with a vase, a ring and a ball foot."""
    profile = [(0, 0), (1.8, 0), (2.7, 0.05), (2.7, 0.11), (1.5, 0.17), (1.6, 0.22), (2.9, 0.5)]
    profile += [(2.9, 0.58), (1.8, 0.68), (1.8, 0.72), (3.2, 0.75), (3.2, 0.82), (2.2, 0.85)]
    profile += [(3.4, 0.88), (3.4, 1), (0, 1)]
    return lathe(np.array(profile) * (1, height), 24)


def _gallery(width, depth, low, high):
    """Model a rail on small posts around the back and the sides of the top."""
    x, y, level = width / 2 - 1, depth / 2 - 1, high - 1.4
    bend = 3
    path = np.concatenate(
        [
            [(-x, -y, level)],
            arc((bend - x, y - bend, level), bend, 180, 90, 6, "xy"),
            arc((x - bend, y - bend, level), bend, 90, 0, 6, "xy"),
            [(x, -y, level)],
        ]
    )
    spots = [(side * x, place) for side in (-1, 1) for place in np.linspace(1 - y, y - 5, 4)]
    spots += [(place, y) for place in np.linspace(5 - x, x - 5, 5)]
    tall = level - low + 1
    profile = [(0, 0), (1, 0), (0.8, 0.3), (1.3, 0.5), (0.8, 0.7), (1, 1), (0, 1)]
    post = lathe(np.array(profile) * (1, tall), 12)
    ends = [sphere(2, (side * x, -y, level), 16) for side in (-1, 1)]
    posts = [move(post, (*spot, low)) for spot in spots]
    return union(sweep(path, 1.4, 12), join(*posts), join(*ends))


DESIGNS = {
    "two_drawer_night_stand": two_drawer_night_stand,
    "open_shelf_night_stand": open_shelf_night_stand,
    "pedestal_night_stand": pedestal_night_stand,
    "cabinet_night_stand": cabinet_night_stand,
}
