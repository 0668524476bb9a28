# SPDX-License-Identifier: GPL-3.0-or-later
"""Desks, one solid each. Centimetres; z up, the side the user sits at towards -y."""

import numpy as np

from blender_scripts.designs.furniture.night_stand import add_drawers, bar_handle, round_knob
from blender_scripts.designs.shapes import (
    box,
    cylinder,
    difference,
    extrude,
    join,
    lathe,
    mirror,
    move,
    rotate,
    smooth,
    sphere,
    sweep,
    union,
)


def pedestal_desk(width=150, depth=76, height=78):
    """Model a writing desk on two pedestals of three drawers.

    Between them are a kneehole and a modesty panel, on top is a sunk writing surface.
    """
    pedestal, inset, low = 0.29 * width, 4, 9
    tall = height - 4 - low
    size, gap = (pedestal - 8, (tall - 12) / 3), 3
    heights = [low + 2.6 + (size[1] + gap) * k + size[1] / 2 for k in range(3)]
    front = inset - depth / 2
    block = box((pedestal, depth - 2 * inset, tall + 2), (0, 0, low + tall / 2))
    block = add_drawers(block, [(0, front, z) for z in heights], size, gap=1.8, sunk=4, proud=2)
    handles = [move(bar_handle(18, 6, 1.7), (0, front - 2, z)) for z in heights]
    panels = [box((3, depth - 24, tall - 14), (pedestal / 2, 0, low + tall / 2 - 1))]
    panels.append(box((pedestal - 13, 3, tall - 14), (0, -front, low + tall / 2 - 1)))
    plinth = box((pedestal + 4, depth - inset, low + 2), (0, 0, low / 2 + 1), bevel=2, segments=1)
    block = union(difference(block, join(*panels)), join(*handles), plinth)
    x = width / 2 - pedestal / 2 - inset
    blocks = [move(block, (x, 0, 0)), move(mirror(block, "x"), (-x, 0, 0))]
    modesty = box((2 * x - pedestal + 4, 5, 0.7 * tall), (0, 0.2 * depth, height - 0.37 * tall))
    drawer = width - 2 * pedestal - 2 * inset - 8, 9
    apron = box((2 * x - pedestal + 4, depth / 2, 15), (0, 0.2 * depth - 15, height - 10))
    face = 0.2 * depth - 15 - depth / 4
    apron = add_drawers(apron, [(0, face, height - 11)], drawer, gap=1.6, sunk=4, proud=2)
    apron = union(apron, move(bar_handle(22, 6, 1.7), (0, face - 2, height - 11)))
    top = box((width, depth, 6), (0, 0, height - 3), bevel=2, segments=2)
    leather = box((width - 22, depth - 20, 3), (0, 0, height + 0.2))
    return union(difference(top, leather), join(*blocks), modesty, apron)


def trestle_desk(width=150, depth=74, height=74):
    """Model a thick top on two A-shaped trestles with crossed braces.

    A cable tray hangs under the top and a raised monitor shelf stands on it.
    """
    top = box((width, depth, 6), (0, 0, height - 3), bevel=1.5, segments=1)
    high = height - 4
    foot, head, leg, beam = 0.44 * depth, 0.17 * depth, 7, 8
    slope = (foot - head) / high
    outline = [(-foot, 0), (foot, 0), (head, high), (-head, high)]

    def between(low, top):
        """Return the (y, z) opening between the legs from one level to another."""
        left, right = foot - leg - slope * low, foot - leg - slope * top
        return extrude([(-left, low), (left, low), (right, top), (-right, top)], 30, axis="x")

    bar = 0.28 * high
    holes = join(between(-5, bar), between(bar + beam, high - beam))
    trestle = difference(extrude(outline, 8, axis="x"), holes)
    x = 0.34 * width
    trestles = [move(trestle, (side * x, 0, 0)) for side in (-1, 1)]
    low, up = bar + beam / 2, high - beam / 2
    braces = [
        sweep([(-x * side, 0.8 * side, low), (x * side, 0.8 * side, up)], 2.6, 12)
        for side in (-1, 1)
    ]
    tray = _cable_tray(2 * x - 18, depth, high)
    shelf = box((0.62 * width, 0.34 * depth, 4), (0, 0.3 * depth, height + 13), bevel=1, segments=1)
    props = [
        box((5, 0.28 * depth, 14), (side * 0.25 * width, 0.3 * depth, height + 5.5))
        for side in (-1, 1)
    ]
    return union(join(*trestles), *braces, top, tray, shelf, join(*props))


def _cable_tray(width, depth, high):
    """Model a slotted trough hanging under the top, open above."""
    size, centre = (width, 16, 15), (0, 0.27 * depth, high - 5)
    tray = difference(box(size, centre), box((width - 5, 11, 15), np.add(centre, (0, 0, 2.8))))
    count = 8
    slot, pitch = box((0.55 * width / count, 30, 3.6)), (width - 8) / count
    slots = [move(slot, ((k - (count - 1) / 2) * pitch, centre[1], high - 9)) for k in range(count)]
    return difference(tray, join(*slots))


def secretary_desk(width=92, depth=46, height=112):
    """Model a drop-front writing desk on curved legs, its flap open.

    Behind the flap are pigeonholes and small drawers, below it one wide drawer.
    """
    low, sill, half, wall = 0.38 * height, 0.6 * height, depth / 2, 4.4
    outline = [(-half, low), (half, low), (half, height - 3), (0.04 * depth, height - 3)]
    case = extrude([*outline, (-half, sill)], width, axis="x")
    # the slanted mouth, as far back as the faces of the pigeonholes
    face = 0.1 * depth
    mouth = [(-half - 20, sill + 2), (face, sill + 2), (face, height - 8), (-half - 20, height - 8)]
    case = difference(case, extrude(mouth, width - 2 * wall, axis="x"))
    case = _pigeonholes(case, width - 2 * wall, face, sill + 2, height - 8)
    back = box((0.5 * width - 9, 3, height - low - 18), (0, half, (low + height) / 2 - 1))
    backs = [move(back, (side * 0.245 * width, 0, 0)) for side in (-1, 1)]
    case = difference(case, join(*backs))
    wide = 0, -half, (low + sill) / 2 - 1
    case = add_drawers(case, [wide], (width - 12, sill - low - 8), gap=1.6, sunk=4, proud=1.6)
    knobs = [move(round_knob(2.6), (side * 0.26 * width, -half - 1.6, wide[2])) for side in (-1, 1)]
    top = box((width + 5, 0.46 * depth + 6, 4), (0, 0.27 * depth, height - 2), bevel=1, segments=1)
    reach = 0.82 * (height - sill)
    out = 1.4 - half - reach / 2
    flap = box((width - 3, reach, 4.4), (0, out, sill + 0.4), bevel=1, segments=1)
    flap = difference(flap, box((width - 17, reach - 14, 3), (0, out, sill + 2.6)))
    slide = box((3.6, 0.7 * reach + 8, 5), (width / 2 - 3.6, 4 - half - 0.35 * reach, sill - 3.4))
    slides = [slide, mirror(slide, "x")]
    legs = [
        move(rotate(_cabriole_leg(low + 3), "z", turn), (x * (width / 2 - 5), y * (half - 5), 0))
        for x, y, turn in ((-1, -1, 225), (1, -1, 315), (1, 1, 45), (-1, 1, 135))
    ]
    return union(case, top, flap, join(*slides), join(*legs), join(*knobs))


def _pigeonholes(case, width, face, low, high):
    """Cut three small drawers under five open holes into the wall behind the case's mouth."""
    small, board = 9, 2.8
    holes = 5
    pitch = (width - board) / holes
    size = pitch - board, high - low - small - 3 * board
    cutters = [
        box((size[0], 24, size[1]), ((k - 2) * pitch, face, high - board - size[1] / 2))
        for k in range(holes)
    ]
    case = difference(case, join(*cutters))
    drawer = (width - board) / 3 - board, small
    places = [((k - 1) * (drawer[0] + board), face, low + board + small / 2) for k in range(3)]
    case = add_drawers(case, places, drawer, gap=1.2, sunk=3, proud=1)
    return union(case, join(*(move(round_knob(1.7), np.add(p, (0, -1, 0))) for p in places)))


def _cabriole_leg(height):
    """Model a leg that bows to +x at the knee and inwards at the ankle, on a pad foot."""
    path = smooth([(0.6, 1), (2.6, 0.82), (1.8, 0.55), (-0.6, 0.25), (0.6, 0.09), (1.4, 0.04)], 18)
    radius = np.interp(path[::-1, 1], (0.04, 0.12, 0.3, 0.8, 1), (2.8, 2, 2.1, 4.6, 4.6))[::-1]
    leg = sweep(np.c_[path[:, 0], np.zeros(18), path[:, 1] * height], radius, 12)
    return union(leg, sphere((4.6, 4.6, 2.2), (1.6, 0, 2.2), 16))


def corner_desk(width=160, wing=140, depth=62, height=75):
    """Model an L-shaped desk on a drawer unit, a panel leg and round legs.

    At the back stands a screen, and the top has two cable ports.
    """
    x, y, thick, cut = width / 2, wing / 2, 6, 22
    # the wing along the back, and the one on the right that comes forward; the inner corner is cut
    outline = [(-x, y - depth), (x - depth - cut, y - depth), (x - depth, y - depth - cut)]
    outline += [(x - depth, -y), (x, -y), (x, y), (-x, y)]
    top = extrude(outline, thick, (0, 0, height - thick / 2), bevel=1.4, segments=1)
    ports = [(-0.2 * width, y - 14, height), (x - 14, -0.1 * wing, height)]
    rims = [cylinder(6.5, 4, port, bevel=1, segments=24) for port in ports]
    holes = [cylinder(4, 30, port, segments=24) for port in ports]
    top = difference(union(top, join(*rims)), join(*holes))

    # drawers at the front end of the right wing, open towards the user on the left
    tall, size = height - 3, (0.42 * wing, depth - 10)
    unit = box((*size, tall), (0, 0, tall / 2))
    face = -size[1] / 2
    drawer = size[0] - 8, (tall - 20) / 3
    places = [(0, face, 8 + drawer[1] / 2 + k * (drawer[1] + 3)) for k in range(3)]
    unit = add_drawers(unit, places, drawer, gap=1.8, sunk=4, proud=2)
    handles = [move(bar_handle(24, 6, 1.8), np.add(place, (0, -2, 3))) for place in places]
    unit = rotate(union(unit, join(*handles)), "z", -90)
    unit = move(unit, (x - depth / 2, size[0] / 2 + 5 - y, 0))

    panel = box((6, depth - 8, height - 2), (7 - x, y - depth / 2, height / 2 - 1))
    spots = (x - 9, y - 9), (x - depth + 2, y - depth + 2)
    leg = [(0, 0), (4.6, 0), (5.6, 1), (5.6, 3), (4.4, 4.4), (3.6, 5), (3.6, height - 2)]
    leg = lathe([*leg, (0, height - 2)], 24)
    legs = [move(leg, (*spot, 0)) for spot in spots]
    place, size = (-0.02 * width, y - 5, height + 11), (0.78 * width, 5.4, 48)
    screen = box(size, place, bevel=1.4, segments=1)
    fields = [box((size[0] - 12, 3, 28), np.add(place, (0, side * 2.7, 6))) for side in (-1, 1)]
    screen = difference(screen, join(*fields))
    return union(top, unit, panel, join(*legs), screen)


DESIGNS = {
    "pedestal_desk": pedestal_desk,
    "trestle_desk": trestle_desk,
    "secretary_desk": secretary_desk,
    "corner_desk": corner_desk,
}
