# SPDX-License-Identifier: GPL-3.0-or-later
"""Doors: a leaf in its frame, one solid. Centimetres; z up, the front towards -y.

The leaf stands free of the frame by a visible joint, `JOINT` wide, which a stop in the middle of
the frame's depth closes: that is what holds the two together.
"""

import numpy as np

from blender_scripts.designs.shapes import (
    arc,
    box,
    cylinder,
    difference,
    extrude,
    join,
    lathe,
    mirror,
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
    """A six-panel house door: raised panels, moulded architrave on plinth blocks, round knobs."""
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
    ball, neck, face = rose * 0.95, rose * 0.42, thickness / 2
    angles = np.linspace(-50, 90, 9)
    head = ball * np.cos(np.radians(angles)), face + 9 + ball * 0.8 * np.sin(np.radians(angles))
    half = [(rose, face + 1), (rose * 0.8, face + 2.5), (neck, face + 3), *np.transpose(head)]
    half[-1] = 0, half[-1][1]
    knob = lathe([(r, -z) for r, z in half[::-1]] + half, 32)
    knob = move(rotate(knob, "x", 90), (width / 2 - stile / 2, 0, 0.47 * height))

    depth = thickness + 4
    opening = width / 2 + JOINT
    architraves = [
        move(
            extrude(
                _portal(opening + 3, height + 2 * JOINT + 3, 10, bottom=2),
                5, axis="y", bevel=1.6, segments=1,
            ),
            (0, side * (depth / 2 + 0.8), 0),
        )
        for side in (-1, 1)
    ]  # fmt: skip
    blocks = [
        box((13.5, depth + 9, 20), (side * (opening + 8.6), 0, 10), bevel=1)
        for side in (-1, 1)
    ]
    frame = union(_frame(width, height, depth, band=8), join(*architraves), join(*blocks))
    return union(frame, leaf, join(*panels), knob)


def glazed_door(width=82, height=200, columns=3, rows=4):
    """A patio door: open window grid over a flat panel, lever handles, and a threshold."""
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
    panes = [
        box(
            (pane[0], 2 * thickness, pane[1]),
            (
                (i - (columns - 1) / 2) * (pane[0] + bar),
                0,
                middle[2] + (j - (rows - 1) / 2) * (pane[1] + bar),
            ),
        )
        for i in range(columns)
        for j in range(rows)
    ]
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
    threshold = box((width + 2 * JOINT + 6, depth + 12, 3.4), (0, 0, 1.9), bevel=1)
    frame = union(_frame(width, height, depth, band=10), threshold)
    return union(frame, leaf, fielded, plate, lever)


def louvre_door(width=74, height=200, slats=9, angle=38.0):
    """A shutter door: two fields of slanted slats over and under a mid rail, long pull handles."""
    thickness = THICKNESS * height
    stile = 0.13 * width
    field, openings, blades = width - 2 * stile, [], []
    for low, high in ((0.07, 0.47), (0.55, 0.95)):
        pitch = (high - low) * height / slats
        middle = JOINT + (low + high) / 2 * height
        openings.append(
            box((field, 2 * thickness, (high - low) * height), (0, 0, middle))
        )
        for k in range(slats):
            blade = box((field + 3, 1.02 * thickness, 2.4), bevel=0.7, segments=1)
            centre = 0, 0, middle + (k - (slats - 1) / 2) * pitch
            blades.append(move(rotate(blade, "x", angle), centre))
    leaf = union(difference(_leaf(width, height), join(*openings)), join(*blades))
    loop = rounded_rectangle(thickness + 15, 34, 5)
    loop = np.c_[np.zeros(len(loop)), loop]
    pull = move(sweep(loop, 1.7, 14, closed=True), (width / 2 - stile / 2, 0, 0.51 * height))
    return union(_frame(width, height, thickness + 6, band=7), leaf, pull)


def ledged_door(width=90, height=200, planks=6):
    """A barn door with a round arched top: grooved planks, iron straps and a ring in front,
    three ledges and two braces behind."""
    thickness = THICKNESS * height
    face = thickness / 2
    leaf = _leaf(width, height, arched=True)
    pitch = width / planks
    grooves = [
        rotate(box((3, 3, 2 * height), bevel=0), "z", 45) for _ in range(1)
    ]
    grooves = [
        move(grooves[0], ((k + 1 - planks / 2) * pitch, side * face, height))
        for k in range(planks - 1)
        for side in (-1, 1)
    ]
    leaf = difference(leaf, join(*grooves))
    levels = JOINT + 0.1 * height, JOINT + 0.42 * height, JOINT + 0.74 * height
    ledges = [box((0.93 * width, 7, 13), (0, face + 1, z), bevel=0.8) for z in levels]
    braces = [_brace(0.36 * width, low + 4, high - 4, face + 0.6) for low, high in
              zip(levels, levels[1:], strict=False)]

    straps, knuckles, nails = [], [], []
    for z in (levels[0], levels[2]):
        outline = [(-4, -0.5), (-2.2, 0.72), (-4, 0.78), (0, 0.9), (4, 0.78), (2.2, 0.72), (4, -0.5)]
        outline = np.array(outline) * (1, width / 2) + (0, 0)
        straps.append(move(extrude(outline, 6, axis="y", bevel=0), (0, -face - 0.2, z)))
    return leaf


def _leaf(width, height, arched=False):
    """A plain leaf standing `JOINT` above the ground."""
    thickness = THICKNESS * height
    outline = _outline(width / 2, height + JOINT, JOINT, arched)
    return extrude(outline, thickness, axis="y", bevel=0.6, segments=1)


def _frame(width, height, depth, band, arched=False):
    """Jambs and head around the leaf, and the stop that reaches into the leaf."""
    half, top = width / 2 + JOINT, height + 2 * JOINT
    jambs = extrude(_portal(half, top, band, 1, arched), depth, axis="y", bevel=0.8, segments=1)
    reach = JOINT + 1.5
    stop = _portal(half - reach, top - reach, reach + 2, JOINT + 1, arched)
    return union(jambs, extrude(stop, 0.35 * THICKNESS * height, axis="y"))


def _portal(half, top, band, bottom=0.0, arched=False):
    """(z, x) outline of a band of that width around an opening, open at the bottom."""
    outer = _outline(half + band, top + band, bottom, arched)
    return np.concatenate([outer, _outline(half, top, bottom, arched)[::-1]])


def _outline(half, top, bottom, arched):
    """(z, x) outline of an opening: a rectangle, or one under a half circle."""
    if not arched:
        return np.array([(bottom, -half), (top, -half), (top, half), (bottom, half)])
    bow = arc((0, 0, top - half), half, -90, 90, 25, "zx")[:, [2, 0]]
    return np.concatenate([[(bottom, -half)], bow, [(bottom, half)]])


def _both_faces(size, centre, thickness, depth):
    """Two cutters that sink a field of (x, z) `size` into the two faces of a leaf."""
    return [
        box((size[0], 2 * depth, size[1]), np.add(centre, (0, side * thickness / 2, 0)))
        for side in (-1, 1)
    ]


DESIGNS = {
    "panel_door": panel_door,
    "glazed_door": glazed_door,
    "louvre_door": louvre_door,
    # "ledged_door": ledged_door,
}
