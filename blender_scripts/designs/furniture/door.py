# SPDX-License-Identifier: GPL-3.0-or-later
"""Doors, each a leaf in its frame, one solid. Centimetres; z up, the front towards -y.

The leaf stands free of the frame by a visible joint, `JOINT` wide. A stop in the middle of the
frame's depth closes the joint and holds the two together.
"""

from itertools import pairwise

import numpy as np

from blender_scripts.designs.shapes import (
    arc,
    box,
    cylinder,
    difference,
    extrude,
    join,
    lathe,
    move,
    rotate,
    rounded_rectangle,
    sphere,
    sweep,
    torus,
    union,
)

THICKNESS = 0.06  # of the height: thicker than a real leaf, so that it is not paper thin
JOINT = 2.2  # between leaf and frame, and below the leaf


def panel_door(width=80, height=200, rose=5.5):
    """Model a six-panel house door: raised panels, moulded architrave, plinth blocks, knobs."""
    thickness = THICKNESS * height
    recesses, panels = [], []
    stile = 0.13 * width
    column = (width - 3 * stile) / 2
    for low, high in ((0.1, 0.4), (0.465, 0.765), (0.83, 0.945)):
        size = column, (high - low) * height
        for side in (-1, 1):
            centre = side * (column + stile) / 2, 0, JOINT + (low + high) / 2 * height
            recesses += _both_faces(size, centre, thickness, 0.27 * thickness)
            raised = size[0] - 4, 0.86 * thickness, size[1] - 4
            panels.append(box(raised, centre, bevel=0.24 * thickness, segments=1))
    leaf = difference(_leaf(width, height), join(*recesses))
    # (radius, distance from the middle of the leaf): rose, neck and ball of the front knob
    face = thickness / 2
    half = [(rose, face + 1), (0.8 * rose, face + 2.5), (0.42 * rose, face + 3)]
    half += [(r, face + 9 + 0.8 * z) for r, _, z in arc((0, 0, 0), 0.95 * rose, -50, 90, 9, "xz")]
    half[-1] = 0, half[-1][1]
    knob = lathe([(r, -z) for r, z in half[::-1]] + half, 32)
    knob = move(rotate(knob, "x", 90), (width / 2 - stile / 2, 0, 0.47 * height))

    depth = thickness + 4
    opening = width / 2 + JOINT
    moulding = _portal(opening + 3, height + 2 * JOINT + 3, 10, bottom=2)
    moulding = extrude(moulding, 5, axis="y", bevel=1.6, segments=1)
    architraves = [move(moulding, (0, side * (depth / 2 + 0.8), 0)) for side in (-1, 1)]
    blocks = [
        box((13.5, depth + 9, 20), (side * (opening + 8.6), 0, 10), bevel=1) for side in (-1, 1)
    ]
    frame = union(_frame(width, height, depth, band=8, bottom=1), join(*architraves), join(*blocks))
    return union(frame, leaf, join(*panels), knob)


def glazed_door(width=82, height=200, columns=3, rows=4):
    """Model a patio door: open window grid over a flat panel, lever handles, a threshold."""
    thickness = THICKNESS * height
    stile, sill, head = 0.14 * width, JOINT + 0.36 * height, JOINT + 0.94 * height
    glass = width - 2 * stile, head - sill
    middle = 0, 0, (sill + head) / 2
    lower = glass[0], 0.2 * height
    panel = 0, 0, JOINT + 0.2 * height
    recesses = _both_faces(glass, middle, thickness, 0.2 * thickness)
    recesses += _both_faces(lower, panel, thickness, 0.25 * thickness)
    bar = 4.2
    pane = (glass[0] - (columns + 1) * bar) / columns, (glass[1] - (rows + 1) * bar) / rows
    across = (np.arange(columns) - (columns - 1) / 2) * (pane[0] + bar)
    up = middle[2] + (np.arange(rows) - (rows - 1) / 2) * (pane[1] + bar)
    panes = [box((pane[0], 2 * thickness, pane[1]), (x, 0, z)) for x in across for z in up]
    leaf = difference(_leaf(width, height), join(*recesses), join(*panes))
    fielded = box((lower[0] - 9, 0.75 * thickness, lower[1] - 9), panel, bevel=1.2)

    handle = width / 2 - stile / 2, 0, 0.46 * height
    plate = box((6.5, thickness + 3, 26), handle, bevel=1.2)
    reach = thickness / 2 + 7
    lever = np.concatenate(
        [
            [(-15, -reach, 0)],
            arc((-3, 3 - reach, 0), 3, -90, 0, 6, "xy"),
            arc((-3, reach - 3, 0), 3, 0, 90, 6, "xy"),
            [(-15, reach, 0)],
        ]
    )
    lever = move(sweep(lever, 1.8, 14), np.add(handle, (0, 0, 4)))
    depth = thickness + 5
    threshold = box((width + 2 * JOINT + 6, depth + 12, 3.4), (0, 0, 1.7), bevel=1)
    frame = union(_frame(width, height, depth, band=10, bottom=1), threshold)
    return union(frame, leaf, fielded, plate, lever)


def louvre_door(width=74, height=200, slats=9, angle=38.0):
    """Model a shutter door: two fields of slanted slats over and under a mid rail, pull handles."""
    thickness = THICKNESS * height
    stile = 0.13 * width
    field, openings, blades = width - 2 * stile, [], []
    for low, high in ((0.07, 0.47), (0.55, 0.95)):
        pitch = (high - low) * height / slats
        middle = JOINT + (low + high) / 2 * height
        openings.append(box((field, 2 * thickness, (high - low) * height), (0, 0, middle)))
        for k in range(slats):
            blade = box((field + 3, 1.02 * thickness, 2.4))
            centre = 0, 0, middle + (k - (slats - 1) / 2) * pitch
            blades.append(move(rotate(blade, "x", angle), centre))
    leaf = union(difference(_leaf(width, height), join(*openings)), join(*blades))
    loop = rounded_rectangle(thickness + 15, 34, 5)
    loop = np.c_[np.zeros(len(loop)), loop]
    pull = move(sweep(loop, 1.7, 14, closed=True), (width / 2 - stile / 2, 0, 0.51 * height))
    return union(_frame(width, height, thickness + 6, band=7), leaf, pull)


def ledged_door(width=90, height=200, planks=6):
    """Model a cottage door under a round arch.

    In front are grooved planks with strap hinges and ring handles, and on the back the three
    ledges and two braces that hold them.
    """
    thickness = THICKNESS * height
    face = thickness / 2
    groove = rotate(box((3.2, 3.2, 2 * height)), "z", 45)
    grooves = [
        move(groove, ((k + 1 - planks / 2) * width / planks, side * (face + 0.3), height))
        for k in range(planks - 1)
        for side in (-1, 1)
    ]
    leaf = difference(_leaf(width, height, arched=True), join(*grooves))

    levels = [JOINT + share * height for share in (0.1, 0.4, 0.7)]
    ledges = [box((0.92 * width, 8, 14), (0, face + 1, z), bevel=1.2, segments=1) for z in levels]
    braces = [
        _brace(0.4 * width, low + 5, high - 5, 10, face + 0.3, 6) for low, high in pairwise(levels)
    ]

    # (z, x): a bar that widens into a spearhead
    reach = 0.78 * width
    strap = [(-3, 0), (3, 0), (2.2, reach - 14), (5, reach - 11), (0, reach)]
    strap += [(-5, reach - 11), (-2.2, reach - 14)]
    straps = [
        move(extrude(strap, 5.4, axis="y"), (-width / 2 - 1, -face, levels[k])) for k in (0, 2)
    ]
    nails = [
        sphere(2, (-width / 2 + share * width, -face - 2.4, levels[k]), segments=10)
        for k in (0, 2)
        for share in (0.12, 0.34, 0.56)
    ]
    knuckles = [
        cylinder(2.8, 13, (-width / 2 - 1, -face - 2.4, levels[k]), segments=16) for k in (0, 2)
    ]

    lock = width / 2 - 11, 0, 0.5 * height
    half = [(2.4, face + 4.4), (2.4, face + 1.8), (4.6, face + 1.7), (5.4, face + 0.9)]
    rose = lathe([(0, -face - 4.4), *((r, -z) for r, z in half), *half[::-1], (0, face + 4.4)], 24)
    rose = move(rotate(rose, "x", 90), lock)
    rings = [
        torus(6, 1.4, np.add(lock, (0, side * (face + 3.6), -6)), "y", 28, 8) for side in (-1, 1)
    ]
    frame = _frame(width, height, thickness + 8, band=11, arched=True)
    leaf = union(leaf, join(*ledges), join(*braces), join(*straps), join(*nails, *knuckles))
    return union(frame, leaf, rose, join(*rings))


def _brace(half, low, high, width, y, depth):
    """Model a diagonal board from the lower left to the upper right, its ends cut level."""
    lean = width / 2
    outline = [(low, -half), (high, half - 2 * lean), (high, half), (low, 2 * lean - half)]
    return move(extrude(outline, depth, axis="y"), (0, y, 0))


def _leaf(width, height, arched=False):
    """Model a plain leaf standing `JOINT` above the ground."""
    thickness = THICKNESS * height
    outline = _outline(width / 2, height + JOINT, JOINT, arched)
    return extrude(outline, thickness, axis="y", bevel=0.6, segments=1)


def _frame(width, height, depth, band, arched=False, bottom=0.0):
    """Model jambs and head around the leaf from `bottom` up, and the stop inside them."""
    half, top = width / 2 + JOINT, height + 2 * JOINT
    jambs = _portal(half, top, band, bottom, arched)
    jambs = extrude(jambs, depth, axis="y", bevel=0.8, segments=1)
    reach = JOINT + 1.5
    # other facets than the leaf's, so that no edges coincide
    stop = _portal(half - reach, top - reach, reach + 2, JOINT + 1, arched, facets=22)
    return union(jambs, extrude(stop, 0.35 * THICKNESS * height, axis="y"))


def _portal(half, top, band, bottom=0.0, arched=False, facets=25):
    """Return the (z, x) outline of a band around an opening, open at the bottom."""
    outer = _outline(half + band, top + band, bottom, arched, facets)
    return np.concatenate([outer, _outline(half, top, bottom, arched, facets)[::-1]])


def _outline(half, top, bottom, arched, facets=25):
    """Return the (z, x) outline of an opening: a rectangle, or one under a half circle."""
    if not arched:
        return np.array([(bottom, -half), (top, -half), (top, half), (bottom, half)])
    bow = arc((0, 0, top - half), half, -90, 90, facets, "zx")[:, [2, 0]]
    return np.concatenate([[(bottom, -half)], bow, [(bottom, half)]])


def _both_faces(size, centre, thickness, depth):
    """Return two cutters that sink a field of (x, z) `size` into the two faces of a leaf."""
    return [
        box((size[0], 2 * depth, size[1]), np.add(centre, (0, side * thickness / 2, 0)))
        for side in (-1, 1)
    ]


DESIGNS = {
    "panel_door": panel_door,
    "glazed_door": glazed_door,
    "louvre_door": louvre_door,
    "ledged_door": ledged_door,
}
