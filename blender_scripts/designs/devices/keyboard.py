# SPDX-License-Identifier: GPL-3.0-or-later
"""Computer keyboards. Lengths in centimetres; keys are laid out in units of the key pitch."""

import numpy as np

from blender_scripts import meshes
from blender_scripts.designs import shapes
from blender_scripts.portable import arcsin, arctan2, cos, sin

# Key widths in units of the pitch, left to right and back to front; a negative width is a gap.
FUNCTION_ROW = (1, -1, *(1,) * 4, -0.5, *(1,) * 4, -0.5, *(1,) * 4)
LETTER_ROWS = (
    (*(1,) * 13, 2),
    (1.5, *(1,) * 12, 1.5),
    (1.75, *(1,) * 11, 2.25),
    (2.25, *(1,) * 10, 2.75),
    (*(1.25,) * 3, 6.25, *(1.25,) * 4),
)
NAVIGATION_ROWS = ((1, 1, 1), (1, 1, 1), (-3,), (-1, 1, -1), (1, 1, 1))
NUMBER_ROWS = ((1,) * 4, (1,) * 3, (1,) * 3, (1,) * 3, (2, 1))
TALL_NUMBER_KEYS = ((3.5, 3.0, 1, 2), (3.5, 1.0, 1, 2))  # plus and enter, like `_row` below


def _row(widths, y, start=0.0):
    """List [(x, y, width, depth)] of the keys of one row, in key units; x, y are centres."""
    keys = []
    for width in widths:
        if width > 0:
            keys.append((start + width / 2, y, width, 1))
        start += abs(width)
    return keys


def _main_block():
    """List the function row (y 5.75) and five rows of letters (y 4.5 to 0.5), 15 units wide."""
    return _row(FUNCTION_ROW, 5.75) + _block(LETTER_ROWS, 0)


def _block(rows, start):
    """List the keys of five rows one unit apart, the front one at y 0.5."""
    return [key for i, row in enumerate(rows) for key in _row(row, 4.5 - i, start)]


def _navigation_block(start):
    """List three columns of navigation keys and the arrow cluster."""
    return _block(NAVIGATION_ROWS, start)


def _number_pad(start):
    """List four columns of 17 keys, two of them two units deep."""
    return _block(NUMBER_ROWS, start) + [(start + x, *key) for x, *key in TALL_NUMBER_KEYS]


def _keycaps(keys, pitch, height, gap, taper, sink):
    """Model all keycaps as one mesh, standing on z 0 and reaching `sink` below it.

    height : that of every cap, or a function of the key's y in units. The top is smaller than the
    base by `taper` all round.
    """
    caps = []
    for x, y, width, depth in keys:
        rise = height(y) if callable(height) else height
        size = np.array([width * pitch - gap, depth * pitch - gap])
        outline = shapes.rounded_rectangle(*size, 0.12 * pitch, count=2)
        vertices, faces = shapes.extrude(outline, rise + sink, (0, 0, (rise - sink) / 2))
        top = vertices[:, 2] > (rise - sink) / 2
        vertices[top, :2] *= 1 - 2 * taper / size
        caps.append(shapes.move((vertices, faces), (x * pitch, y * pitch, 0)))
    return shapes.join(*caps)


def _wedge_case(width, depth, front, back, bevel):
    """Model a case with a sloping deck; return it and a function that puts a mesh onto the deck.

    The deck frame has its origin at the middle of the front edge, x to the right, y up the slope.
    """
    outline = [(0, 0), (depth, 0), (depth, back), (0, front)]
    angle = np.degrees(arctan2(back - front, depth))

    def on_deck(mesh):
        return shapes.move(shapes.rotate(mesh, "x", angle), (0, 0, front))

    return shapes.extrude(outline, width, axis="x", bevel=bevel), on_deck


def _with_well(case, on_deck, x, base, pitch, rim, depth):
    """Sink a pocket of this depth into the deck, cut small where keycaps will stand.

    x : the left and right end of the keys and the end of the function row, base : their front, in
    the deck frame. The pocket is larger by `rim` all round.
    """
    left, right, row = x[0] - rim, x[1] + rim, x[2]
    low, middle, high = base - rim, base + 5 * pitch + rim, base + 6.25 * pitch + rim
    corners = [(left, low), (right, low), (right, middle), (row, middle), (row, high), (left, high)]
    pocket = shapes.extrude(corners, depth + 2, (0, 0, 1 - depth / 2))
    return meshes.subdivide_long_edges(*shapes.difference(case, on_deck(pocket)), 6.0)


def full_size_keyboard(pitch=1.9, key_height=1.2, front=1.5, back=3.2):
    """Model an office keyboard: 104 keys with a number pad, a status bar and a cable."""
    left, right = -11.25 * pitch, 11.25 * pitch  # 15 + 3 + 4 columns and two gaps of 0.25
    edge, base, well = 1.0, 1.1, 0.5
    depth = 6.25 * pitch + base + 2.4
    case, on_deck = _wedge_case(right - left + 2 * edge, depth, front, back, 0.35)
    rim, pad = 0.35, left + 18.4 * pitch
    case = _with_well(case, on_deck, (left, right, pad), base, pitch, rim, well)
    keys = _main_block() + _row((1, 1, 1), 5.75, 15.25)
    keys += _navigation_block(15.25) + _number_pad(18.5)
    caps = _keycaps(keys, pitch, key_height, gap=0.3, taper=0.3, sink=0.2)
    bar_y = base + 5.85 * pitch
    bar = shapes.span((pad + 0.4, right + rim), (bar_y - 0.8, bar_y + 0.8), (-0.3, 0.35), 0.15, 2)
    lamps = shapes.join(
        *(
            shapes.cylinder(0.42, 1.0, (left + x * pitch, bar_y, 0.4), bevel=0.1, segments=16)
            for x in (19.4, 20.6, 21.8)
        )
    )
    top = on_deck(shapes.join(shapes.move(caps, (left, base, -well)), shapes.union(bar, lamps)))
    feet = shapes.join(
        *(
            shapes.span((x - 1.8, x + 1.8), (y - 0.6, y + 0.6), (-0.5, 0.4))
            for x in (left + 3, right - 3)
            for y in (1.5, depth - 1.2)
        )
    )
    path = np.array([(0, -0.6, 1.8), (0, 0.8, 1.8), (1, 2.0, 1.6), (2.6, 2.5, 1.5), (4, 2.6, 1.5)])
    cable = shapes.union(
        shapes.sweep(shapes.smooth(path + np.array([-6, depth, 0]), 16), 0.45, 12),
        shapes.cylinder(0.8, 1.8, (-6, depth + 0.3, 1.8), "y", segments=20, bevel=0.15),
    )
    return shapes.union(case, top, shapes.join(feet, cable))


def tenkeyless_keyboard(pitch=1.9, key_height=1.4, step=0.22, front=2.8, back=4.2):
    """Model a mechanical keyboard without number pad: thick case, high keycaps, a big knob."""
    left, right = -9.125 * pitch, 9.125 * pitch
    edge, base, well = 1.3, 1.4, 0.6
    depth = 6.25 * pitch + base + 1.4
    case, on_deck = _wedge_case(right - left + 2 * edge, depth, front, back, 0.7)
    rim, pad = 0.4, left + 15.1 * pitch
    case = _with_well(case, on_deck, (left, right, pad), base, pitch, rim, well)
    caps = _keycaps(
        _main_block() + _navigation_block(15.25),
        pitch,
        lambda y: key_height + step * round(max(y - 0.5, 0)),
        gap=0.3,
        taper=0.3,
        sink=0.2,
    )
    knob = shapes.lathe(
        [(0, -0.6), (2, -0.6), (2, 0.4), (1.7, 0.6), (1.7, 2.0), (1.3, 2.3), (0, 2.3)],
        segments=48,
        radius_at=lambda angle, radius, z: 1 + 0.06 * np.sign(cos(12 * angle + 0.4)) * (z > 0.5),
    )
    knob = shapes.move(knob, (left + 16.75 * pitch, base + 5.85 * pitch, 0))
    top = on_deck(shapes.join(shapes.move(caps, (left, base, -well)), knob))
    foot = shapes.move(
        shapes.rotate(shapes.span((-1.8, 1.8), (-0.5, 0.5), (-2.2, 1)), "x", -18), (0, depth, 0)
    )
    pad = shapes.span((-2, 2), (1.0, 2.2), (-0.45, 0.4))
    feet = [shapes.move(part, (x, y, 0)) for part, y in ((foot, -2.4), (pad, 0)) for x in (-13, 13)]
    return shapes.rotate(shapes.union(case, top, shapes.join(*feet)), "x", 4)


def split_ergonomic_keyboard(pitch=1.9, tent=14.0, splay=8.0, gap=3.0, outer_height=2.2):
    """Model two tented halves with staggered columns and palm rests, joined by a bridge."""
    half = shapes.move(_split_half(pitch), (-8.4 * pitch, 0, outer_height))
    half = shapes.rotate(half, "y", -tent, about=(-8.4 * pitch, 0, outer_height))
    half = shapes.move(shapes.rotate(half, "z", -splay), (-gap, 0, 0))
    halves = shapes.join(half, shapes.mirror(half, "x"))
    halves = shapes.difference(halves, shapes.box((90, 90, 40), (0, 0, -20)))
    level = outer_height + 8.4 * pitch * sin(np.radians(tent)) - 2.2
    bridge = shapes.box((2 * gap + 5, 7, 1.8), (0, 3.2, level), bevel=0.5)
    buttons = shapes.join(
        *(shapes.cylinder(0.9, 1.2, (0, y, level + 1), bevel=0.2, segments=24) for y in (1.6, 4.8))
    )
    return shapes.union(halves, shapes.union(bridge, buttons))


def _split_half(pitch):
    """Model the left half in its own flat frame: outer edge at x 0, deck at z 0, a deep body."""
    outline = [
        (-0.4, -4.7),
        (4.9, -5.1),
        (8.2, -3.3),
        (8.5, -1.2),
        (7.5, 4.0),
        (6, 4.6),
        (-0.4, 4.2),
    ]
    body = shapes.extrude(pitch * np.array(outline), 16, (0, 0, -8), bevel=0.5)
    palm = shapes.box((5.4 * pitch, 2.9 * pitch, 2.4), (2.5 * pitch, -3.2 * pitch, 0), bevel=0.9)
    keys = [
        (column + 0.5, row + 0.5 + shift, 1, 1)
        for column, shift in enumerate((-0.4, -0.4, 0, 0.3, 0.1, -0.1))
        for row in range(-1, 4)
        if (column, row) != (5, -1)
    ]
    keys += [(6.5, y, 1, 1.5) for y in (2.7, 1.1)]
    caps = _keycaps(keys, pitch, 1.3, gap=0.3, taper=0.3, sink=0.4)
    thumbs = [
        shapes.move(
            shapes.rotate(_keycaps([(0, 0, 1, 1.8)], pitch, 1.4, 0.3, 0.3, 0.4), "z", turn),
            (x * pitch, y * pitch, 0),
        )
        for x, y, turn in ((5.75, -1.45, -8), (6.85, -1.75, -18), (7.75, -2.35, -30))
    ]
    body = meshes.subdivide_long_edges(*body, 6.0)
    return shapes.union(body, shapes.join(palm, caps, *thumbs))


def trackpad_keyboard(pitch=1.8, key_height=0.6, thickness=1.3, pad=8.6, tube=1.7):
    """Model a living-room keyboard: flat keys, a big touchpad, a battery tube along the back."""
    edge = 1.0
    width = 15 * pitch + pad + 3.6 * edge
    depth = 6.25 * pitch + 2 * edge + 1.0
    left = -width / 2 + edge
    pad_x = (left + 15 * pitch + 0.8 * edge, width / 2 - edge)
    slab = shapes.extrude(
        shapes.rounded_rectangle(width, depth, 1.5),
        thickness,
        (0, depth / 2, 0),
        bevel=0.3,
        segments=1,
    )
    touch = shapes.span(pad_x, (edge + 2.6, depth - 2.2), (thickness / 2 - 0.6, 2))
    slab = meshes.subdivide_long_edges(*shapes.difference(slab, touch), 4.0)
    keys = _main_block()
    caps = _keycaps(keys, pitch, key_height, gap=0.5, taper=0.08, sink=0.2)
    parts = [shapes.move(caps, (left, edge, thickness / 2))]
    middle = sum(pad_x) / 2
    for x in ((pad_x[0], middle - 0.2), (middle + 0.2, pad_x[1])):
        parts.append(shapes.span(x, (edge, edge + 2.1), (0.2, thickness / 2 + 0.6), 0.2, 2))
    slab = shapes.union(slab, shapes.join(*parts))
    slab = shapes.rotate(slab, "x", np.degrees(arcsin((2 * tube - thickness) / depth)))
    profile = [(0, 0), (0.7, 0), (0.8, 0.1), (0.8, 0.6), (1, 0.9), (1, 2.4)]
    profile += [(0.86, 2.5), (0.86, 3.0), (1, 3.1), (1, width / 2)]
    profile = np.array(profile) * (tube, 1) - (0, width / 2)
    profile = np.concatenate([profile, (profile * (1, -1))[::-1]])
    barrel = shapes.turn_to(shapes.lathe(profile, 28), "x")
    barrel = shapes.move(barrel, (0, depth + 0.6, tube - thickness / 2 + 0.1))
    feet = shapes.join(
        *(shapes.span((x - 1.5, x + 1.5), (0.8, 1.8), (-thickness / 2 - 0.3, 0)) for x in (-14, 14))
    )
    return shapes.union(slab, shapes.join(barrel, feet))


DESIGNS = {
    "full_size_keyboard": full_size_keyboard,
    "tenkeyless_keyboard": tenkeyless_keyboard,
    "split_ergonomic_keyboard": split_ergonomic_keyboard,
    "trackpad_keyboard": trackpad_keyboard,
}
