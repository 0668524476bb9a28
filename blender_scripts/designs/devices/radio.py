# SPDX-License-Identifier: GPL-3.0-or-later
"""Radios from the 1930s to the 1980s. Lengths in centimetres; the front is at -y."""

import numpy as np

from blender_scripts.designs import shapes
from blender_scripts.designs.shapes import boxes, steps
from blender_scripts.portable import cos, power, sin, tan

# The bars of a seven-segment figure: middle (x, y) in half widths and quarter heights of the
# figure, then whether it lies flat; and which of these bars each digit from 0 to 9 lights.
BARS = ((0, 2, 1), (1, 1, 0), (1, -1, 0), (0, -2, 1), (-1, -1, 0), (-1, 1, 0), (0, 0, 1))
LIT = ("012345", "12", "01346", "01236", "1256", "02356", "023456", "012", "0123456", "012356")


def portable_radio(width=25.0, depth=7.5, height=16.0):
    """Model a transistor radio: slotted round speaker, tuning dial, carrying handle, aerial."""
    half, front = width / 2, -depth / 2
    case = shapes.box((width, depth, height), (0, 0, height / 2), bevel=1.2)
    speaker, dial = (-5.3, front, 6.5), (7.0, front, 5.4)
    spokes = shapes.union(
        shapes.rotate(shapes.span((-0.5, 0.5), (-7, 7), (-4, 4)), "z", 45),
        shapes.rotate(shapes.span((-0.5, 0.5), (-7, 7), (-5, 5)), "z", -45),
    )
    slots = shapes.join(*(_ring(inner, inner + 0.8, 2.6) for inner in (1.0, 2.5, 4.0)))
    slots = shapes.difference(slots, spokes)
    case = shapes.difference(
        case,
        shapes.join(
            _facing(slots, speaker),
            _facing(_ring(3.7, 4.3, 1.6), dial),
            shapes.span((-10.6, 10.6), (front - 1, front + 0.8), (12.6, 14.6)),
            shapes.difference(
                shapes.span((-9, 9), (-front - 0.6, -front + 1), (2, 9)),
                shapes.span((-8.4, 8.4), (-front - 1, -front + 2), (2.6, 8.4)),
            ),
        ),
    )
    marks = [(x, front + 0.6, 13.6) for x in steps(8, 2.4, -0.6)]
    parts = boxes((0.5, 1.2, 1.1), marks)
    parts.append(shapes.span((4.6, 5.2), (front - 0.1, front + 1.2), (12.4, 14.8)))
    parts += [_facing(_ring(5.3, 6.0, 1.2), speaker), _facing(_knob(3.2, 1.6, 20), dial)]
    parts += boxes((5, 2, 1), [(0, -front - 0.7, z) for z in (3.4, 7.4)], bevel=0.2)
    parts += boxes((4, 5, 1.2), [(x, 0, -0.2) for x in (-8, 8)], bevel=0.2)
    parts += [shapes.cylinder(1.0, 2, (x, 0, height), bevel=0.3, segments=20) for x in (-6, -2.5)]
    aerial = shapes.rotate(_aerial(13, 0.62), "y", -24)
    case = shapes.union(case, shapes.join(*parts), shapes.move(aerial, (9.6, 2.2, height)))
    handle = _bail(half + 0.6, 12.6, 20.6, 3.0, grip=1.15, leg=0.75)
    pivots = shapes.join(
        *(
            shapes.cylinder(1.6, 2.4, (x, 0, 12.6), "x", bevel=0.3, segments=24)
            for x in (-half, half)
        )
    )
    return shapes.union(case, pivots, handle)


def cathedral_radio(width=29.0, depth=19.0, height=40.0):
    """Model a 1930s set: arched cabinet with tracery before the cloth, two knobs, a plinth."""
    half, front = width / 2, -depth / 2
    cabinet = _standing_prism(_arch(width, 0, 0.45 * height, height, 9), front, -front, 0.6)
    rim = _standing_prism(_arch(width - 2.4, 1, 0.46 * height, height - 2), front - 1.0, front + 1)
    hole = _standing_prism(_arch(width - 5.6, -1, 0.47 * height, height - 5), front - 3, front + 2)
    cabinet = shapes.union(cabinet, shapes.difference(rim, hole))
    windows = [(0, 6.4, 16.5, 26, 33.5)]
    windows += [(x, 4.6, 16.5, 22, 28.5) for x in (-7.2, 7.2)]
    cuts = [
        shapes.move(_standing_prism(_arch(w, low, spring, top), front - 2, front + 1.8), (x, 0, 0))
        for x, w, low, spring, top in windows
    ]
    back = -front
    cuts += boxes((width - 9, 2.4, 1.5), [(0, back, z) for z in steps(6, 3.2, 15)])
    cabinet = shapes.difference(cabinet, shapes.join(*cuts))
    deep = (front - 0.4, front + 2.5)
    bars = [
        shapes.span((x - 0.5, x + 0.5), deep, (15.8, 33.9 - 0.7 * abs(x))) for x in (-7.2, 0, 7.2)
    ]
    rail = shapes.span((-11, 11), (front - 0.3, front + 2.4), (21.3, 22.2))
    cabinet = shapes.union(cabinet, shapes.join(*bars), rail)
    dial = _standing_prism(_arch(6, 7.6, 10, 14), front - 0.8, front + 1)
    dial = shapes.difference(
        dial, _standing_prism(_arch(4, 8.6, 10.2, 12.6), front - 2, front - 0.1)
    )
    knobs = [_facing(_knob(2.1, 2.4, 12), (x, front, 8.8)) for x in (-7.4, 7.4)]
    plinth = shapes.union(
        shapes.span((-half - 2, half + 2), (front - 2.4, back + 1), (-2.4, 1.2), 0.5),
        shapes.span((-half - 0.9, half + 0.9), (front - 1.5, back + 0.5), (0, 3), 0.5),
    )
    columns = [shapes.cylinder(1.1, 15, (x, front, 9), segments=10) for x in (1 - half, half - 1)]
    capitals = boxes((3, 3, 1.6), [(x, front, 16.6) for x in (1.2 - half, half - 1.2)], bevel=0.3)
    cabinet = shapes.union(cabinet, shapes.join(*columns), shapes.join(*capitals))
    return shapes.union(cabinet, shapes.join(dial, *knobs), plinth)


def clock_radio(width=27.0, depth=15.0, height=10.5, time="10:58"):
    """Model a bedside wedge: a sunk display with big figures, a snooze bar, buttons, grilles."""
    half, lean = width / 2, 22.0
    foot, brow = -depth / 2, -depth / 2 + height * tan(np.radians(lean))
    side = [(foot, 0), (-foot, 0), (-foot, 0.72 * height), (0.75 * -foot, height), (brow, height)]
    body = shapes.extrude(side, width, axis="x", bevel=0.6)

    def on_face(mesh):  # built with x to the right, y up the face, z out of it
        middle = (0, (foot + brow) / 2, height / 2)
        return shapes.move(shapes.rotate(mesh, "x", 90 - lean), middle)

    cuts = [on_face(shapes.span((-11, 11), (-2.3, 4.0), (-1.4, 2)))]
    cuts += boxes(
        (1.6, 0.9, 4.6), [(s * half, y, 4.4) for s in (-1, 1) for y in steps(5, 1.8, 1.4)]
    )
    cuts += boxes((15, 0.8, 1.8), [(0, y, height) for y in (2.6, 4.1)])
    body = shapes.difference(body, shapes.join(*cuts))
    figures = []
    for digit, x in zip(time.replace(":", ""), (-7.4, -3.1, 3.1, 7.4), strict=True):
        figures.append(shapes.move(_figure(digit, 2.0, 3.7, 0.75), (x, 0.85, -1.4)))
    figures += [shapes.box((0.8, 0.8, 1.4), (0, y, -1.2)) for y in (-0.1, 1.8)]
    keys = boxes((2.6, 1.1, 1.4), [(x, -3.6, 0) for x in steps(6, 3.6)], bevel=0.25)
    snooze = shapes.span((-6.5, 6.5), (brow + 0.9, brow + 3.4), (height - 1, height + 1.1), 0.5)
    buttons = [
        shapes.cylinder(0.9, 1.8, (s * x, brow + 2.1, height), bevel=0.2, segments=20)
        for s in (-1, 1)
        for x in (8.4, 11)
    ]
    wheel = shapes.turn_to(_knob(2.1, 1.2, 16), "x")
    feet = [
        shapes.cylinder(1.1, 1.4, (x, y, -0.2), bevel=0.2, segments=20)
        for x in (2.4 - half, half - 2.4)
        for y in (-5.4, 5.4)
    ]
    top = shapes.join(snooze, *buttons, *feet, shapes.move(wheel, (half, 4.2, 7.6)))
    body = shapes.union(body, on_face(shapes.join(*figures, *keys)), top)
    return body


def boombox(width=50.0, depth=13.0, height=25.0, cone=8.0):
    """Model a cassette recorder: two speakers, cassette door, keys, dial, handle and aerial."""
    half, front = width / 2, -depth / 2
    body = shapes.box((width, depth, height), (0, 0, height / 2), bevel=1.3)
    horn = [(0, -2.6), (2.2, -2.6), (cone, -0.4), (cone, 2), (0, 2)]
    tweeter = [(0, -1.2), (1, -1.2), (2, 0.6), (0, 0.6)]
    cuts = []
    for x in (-1, 1):
        cuts.append(_facing(shapes.lathe(horn, 40), (x * 15.2, front, 10)))
        cuts.append(_facing(shapes.lathe(tweeter, 20), (x * 18.5, front, 21.3)))
    cuts.append(shapes.span((-6.2, 6.2), (front - 1, front + 1.4), (6.2, 16.2)))
    cuts.append(shapes.span((-12, 6.5), (front - 1, front + 0.9), (19.2, 23.2)))
    frame = shapes.span((-14, 14), (-front - 0.9, -front + 1), (3, 13))
    cuts.append(shapes.difference(frame, shapes.span((-13, 13), (-front - 2, -front + 2), (4, 12))))
    cuts += boxes((1.2, 1.6, 6), [(x, -front, 19) for x in steps(7, 2.6)])
    body = shapes.difference(body, shapes.join(*cuts))
    parts = []
    for x in (-15.2, 15.2):
        parts.append(_facing(_ring(cone - 0.1, cone + 1.1, 2), (x, front, 10)))
        parts.append(shapes.sphere((2, 1.4, 2), (x, front + 2.4, 10), 20))
    door = shapes.span((-5.6, 5.6), (front - 0.5, front + 2), (6.8, 15.6), 0.3)
    window = shapes.span((-4.5, 4.5), (front - 2, front + 0.7), (9.2, 13.6))
    reels = [_facing(_knob(1.4, 1.2, 6), (x, front + 1.2, 11.4)) for x in (-2.3, 2.3)]
    parts.append(shapes.union(shapes.difference(door, window), shapes.join(*reels)))
    parts += boxes((1.75, 2.4, 2.4), [(x, front - 0.2, 3.8) for x in steps(6, 2.1)], bevel=0.3)
    parts += boxes((0.5, 1.2, 1.8), [(x, front + 0.7, 21.2) for x in steps(7, 2.5, -2.8)])
    parts += [_facing(_knob(1.5, 1.6, 12), (x, front, 21.2)) for x in (9.4, 13.6)]
    parts += boxes((2.6, 2.6, 2), [(x, -1.6, height) for x in steps(6, 3.2)], bevel=0.4)
    parts += boxes((5, 8, 1.4), [(x, 0, -0.2) for x in (-17, 17)], bevel=0.3)
    aerial = shapes.move(shapes.rotate(_aerial(19, 0.8), "y", 33), (9, 4, height))
    body = shapes.union(body, shapes.join(*parts), aerial)
    handle = _bail(half - 3, height - 1.5, height + 7.5, 2.5, grip=1.5, leg=1.1)
    lugs = boxes((4.4, 4.4, 4), [(x, 0, height) for x in (3 - half, half - 3)], bevel=0.6)
    return shapes.union(body, shapes.join(*lugs), handle)


def _figure(digit, width, height, bar):
    """Model a seven-segment figure in the (x, y) plane, its bars reaching from z -0.4 to 0.6."""
    bars = []
    for k in map(int, LIT[int(digit)]):
        x, y, flat = BARS[k]
        thick = bar * (1 + 0.02 * k)  # so that no two bars have faces in one plane
        size = (width + 0.5 * bar, thick, 1) if flat else (thick, height / 2 + bar, 1 + thick / 4)
        bars.append(shapes.box(size, (x * width / 2, y * height / 4, 0.1)))
    return shapes.union(*bars)


def _knob(radius, height, ridges):
    """Model a ridged knob about z, sunk by 0.8 below z 0."""
    edge = 0.2 * radius
    profile = [(0, -0.8), (radius, -0.8), (radius, height - edge), (radius - edge, height)]
    return shapes.lathe(
        [*profile, (0, height)],
        segments=2 * ridges,
        radius_at=lambda angle, r, z: 1 + 0.06 * cos(ridges * angle) * (r > 0),
    )


def _ring(inner, outer, depth):
    """Model a ring of rectangular section about z, half of its depth either side of z 0."""
    low, high = -depth / 2, depth / 2
    return shapes.lathe([(inner, low), (outer, low), (outer, high), (inner, high)], 36, closed=True)


def _aerial(length, radius):
    """Model a telescopic aerial up z: three tubes, a knob at its tip and a joint at its foot."""
    profile = [(0, -1), (1.8 * radius, -1), (1.8 * radius, 1.2), (radius, 1.6)]
    for k, thickness in enumerate((1, 0.85, 0.7)):
        start, stop = (1.6 + (length - 1.6) * end / 3 for end in (k, k + 1))
        profile += [(thickness * radius, start + 0.2), (thickness * radius, stop - 0.2)]
    profile += [(1.1 * radius, length), (1.1 * radius, length + 0.8), (0, length + 1.1)]
    return shapes.lathe(profile, 12)


def _bail(half, low, high, bend, grip, leg):
    """Model a handle: two legs at x = -half and half from z low up to a thicker grip at z high."""
    left = shapes.arc((bend - half, 0, high - bend), bend, 180, 90, 7)
    right = shapes.arc((half - bend, 0, high - bend), bend, 90, 0, 7)
    start, shoulder = left[-1] + [1, 0, 0], left[-1] + [2, 0, 0]
    middle = np.array([start, shoulder, shoulder * (-1, 1, 1), start * (-1, 1, 1)])
    path = np.concatenate([[(-half, 0, low)], left, middle, right, [(half, 0, low)]])
    radii = np.full(len(path), leg)
    radii[9:11] = grip
    return shapes.sweep(path, radii, 14)


def _arch(width, low, spring, top, count=7):
    """Return the (2 * count + 1, 2) outline (x, z) of an arch with a slight peak.

    Its sides go up from `low` to `spring`.
    """
    t = sin(np.linspace(0, np.pi / 2, count))
    x, z = width / 2 * power(1 - np.square(t), 0.62), spring + (top - spring) * t
    right = np.concatenate([[(width / 2, low)], np.c_[x, z]])
    return np.concatenate([right, (right * (-1, 1))[-2::-1]])


def _standing_prism(outline, front, back, bevel=0.0):
    """Model a prism from y = front to back over an outline (x, z), counter-clockwise in front."""
    turned = np.asarray(outline)[::-1, ::-1]
    middle = (0, (front + back) / 2, 0)
    return shapes.extrude(turned, back - front, middle, "y", bevel, segments=1)


def _facing(mesh, at):
    """Turn a mesh built along z to face the front, its z 0 at the point `at`."""
    return shapes.move(shapes.rotate(mesh, "x", 90), at)


DESIGNS = {
    "portable_radio": portable_radio,
    "cathedral_radio": cathedral_radio,
    "clock_radio": clock_radio,
    "boombox": boombox,
}
