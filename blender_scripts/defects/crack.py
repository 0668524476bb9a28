# SPDX-License-Identifier: GPL-3.0-or-later
"""Crack: a thin, jagged, open fissure along the surface, with branches.

A wedge that narrows downwards is cut along a jagged line on the surface. Both flanks are jagged by
themselves, the mouth narrows towards the ends, except where the crack reaches an edge of the
product. The crack goes through thin material and stays open below.

These properties make it a crack (`no_crack`): it is thin and long, its length at least THIN times
the mean width of its mouth (the area of the surface that went, over the length, or over twice the
length where the crack goes through); it is jagged, the line along its middle at least JAGGED times
as long as the smooth line that it follows; it is one: the share WHOLE of what it exposes is
connected, so that it does not jump from slat to slat; it eats up nothing: along at most the share
EATEN of its line does it take more than the share MUCH of the material around it, within ABOUT
widths in the section across the line, as it would along a tube no wider than itself; and the
product stays in one piece: what the cut leaves loose is a crumb.

Severity 0 .. 1 sets the length LENGTH (at least SHORTEST where the surface is small), the width of
the mouth, WIDTH, and the depth in solids, DEPTH; one to three branches of 0.25 .. 0.45 of the
length. Labelled are the cut faces and the rim.
"""

import numpy as np

from blender_scripts.meshes import GeometryError, boolean
from blender_scripts.portable import cos, norm, power, sin
from blender_scripts.shaping.cutting import cut_away, tube
from blender_scripts.shaping.fields import drawn
from blender_scripts.shaping.paths import STEP, long_path, trace
from blender_scripts.shaping.pieces import in_solid
from blender_scripts.shaping.result import listed
from blender_scripts.shaping.topology import parts, solids
from blender_scripts.surface import Surface, unit

LENGTH = (0.30, 1.80)  # slight, severe
WIDTH = (0.030, 0.150)
DEPTH = (0.04, 0.26)
SHORTEST = 0.25
THIN, JAGGED, WHOLE = 5.0, 1.05, 0.9
EATEN, MUCH, ABOUT = 0.25, 0.4, 3.5
# A section has places in half of a disc of radius 1, (across, down); lines have so many sections.
SECTIONS = 16
_TURNS = np.pi * (3 - np.sqrt(5)) * np.arange(160)
_DISC = np.sqrt((np.arange(160) + 0.5) / 160)[:, None] * np.stack([cos(_TURNS), sin(_TURNS)], 1)
_PLACES = _DISC[_DISC[:, 1] > 0]
# Thinner material than this is cracked through.
THROUGH = 0.14
# The flanks of a wider crack are no more jagged than those of one of this width.
ROUGHEST = 0.05
ABOVE = 0.06  # the cutter stands this far out of the surface


def crack(surface, rng, severity):
    """Cut one branching crack at a random place that is visible from outside."""
    length = drawn(rng, severity, *LENGTH)
    width = drawn(rng, severity, *WIDTH)
    depth = drawn(rng, severity, *DEPTH)
    branches = int(rng.integers(1, 4))
    main = long_path(surface, rng, length, SHORTEST, most_turning=0.8)
    width = min(width, main.arc[-1] / (1.5 * THIN))
    depths = _depths(surface, main, depth)
    cutter, jagged = _wedge(main, width, depths, rng, open_start=False)
    total = main.arc[-1]
    for number in range(branches):
        share = (number + rng.uniform(0.6, 1.2)) / (branches + 0.8)
        at = int(np.clip(share, 0.15, 0.85) * (len(main.points) - 1))
        slant = np.radians(rng.uniform(35, 60)) * rng.choice([-1.0, 1.0])
        heading = cos(slant) * main.headings[at] + sin(slant) * main.sides[at]
        branch = trace(
            surface,
            main.points[at],
            main.normals[at],
            heading,
            rng.uniform(0.25, 0.45) * main.arc[-1],
        )
        if branch.arc[-1] > 0.1:
            # lower and less deep than the main wedge: no two faces in one plane
            shallow = 0.85 * _depths(surface, branch, depth)
            wedge, _ = _wedge(branch, 0.7 * width, shallow, rng, open_start=True)
            total += branch.arc[-1]
            cutter = boolean(cutter, wedge, "UNION")[:2]
    result = cut_away(
        surface,
        cutter,
        {
            "start": listed(main.points[0]),
            "end": listed(main.points[-1]),
            "length": float(main.arc[-1]),
            "width": width,
            "depth": float(np.median(depths)),
            "branches": branches,
        },
    )
    sides = 1 + float((depths < THROUGH).mean())
    if reason := no_crack(surface, result, main.arc[-1], sides * total, jagged):
        raise GeometryError(reason)
    if (lost(surface, result.surface, main, ABOUT * width) > MUCH).mean() > EATEN:
        raise GeometryError("the crack would eat up what it runs along")
    return result


def lost(surface, after, path, reach):
    """Return the share of the material that went in sections across a path, SECTIONS at most.

    The material of a section counts within `reach` of the line, and not above it.
    """
    nodes = np.unique(np.linspace(0, len(path.points) - 1, SECTIONS).round().astype(int))
    across, down = reach * _PLACES.T
    places = (
        path.points[nodes, None]
        + across[:, None] * path.sides[nodes, None]
        - down[:, None] * path.normals[nodes, None]
    )
    was = in_solid(surface, places.reshape(-1, 3))
    gone = was.copy()
    gone[was] = ~in_solid(after, places.reshape(-1, 3)[was])
    was, gone = (item.reshape(len(nodes), -1).sum(axis=1) for item in (was, gone))
    return gone / np.maximum(was, 1)


def no_crack(surface, result, length, total, jagged):
    """Say why a cut does not deserve the name `crack`; return "" when it does.

    length: of the main line. total: of all lines, on both sides of the wall where they go through.
    jagged: how many times longer the line along the middle is than the smooth one.
    """
    if result.surface.kept(solids) > surface.kept(solids):
        return "the crack would separate the product"
    size = result.surface.areas
    width = (surface.areas.sum() - size[~result.cut].sum()) / total
    if length < THIN * width:
        return f"the crack would be {length / width:.1f} times as long as wide"
    if jagged < JAGGED:
        return "the crack would be smooth"
    _, piece = parts(result.faces[result.cut])
    exposed = np.bincount(piece, size[result.cut])
    if exposed.max() < WHOLE * exposed.sum():
        return "the crack would jump over gaps"
    return ""


def _depths(surface, path, wanted):
    """Return (K,) depths of the wedge: through thin material, less where the line bends sharply."""
    inside = np.minimum(surface.cast(path.points, -path.normals)[0], 2.0)
    thin = inside < THROUGH
    behind, _ = surface.cast(path.points - (inside + 0.005)[:, None] * path.normals, -path.normals)
    through = inside + np.minimum(0.04, 0.4 * np.where(np.isfinite(behind), behind, 1.0))
    depths = np.where(thin, through, np.minimum(wanted, 0.8 * inside))
    bend = norm(np.diff(path.normals, axis=0, append=path.normals[-1:])) / STEP
    depths = np.minimum(depths, 0.7 / np.maximum(bend, 1e-6))
    padded = np.r_[depths[:1], depths, depths[-1:]]
    return np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)


def _wedge(path, width, depths, rng, open_start):
    """Return (closed cutter along the path, how much longer its middle is than the path).

    `open_start` keeps the width of a branch's start.
    """
    count = len(path.points)
    arc = path.arc
    taper = np.ones(count)
    if not path.ends_free[0] and not open_start:
        taper = np.minimum(taper, (arc + 0.01) / (0.3 * arc[-1]))
    if not path.ends_free[1]:
        taper = np.minimum(taper, (arc[-1] - arc + 0.01) / (0.4 * arc[-1]))
    taper = power(np.maximum(taper, 0.06), 0.7)
    # a random walk that is pulled back: long bends and sharp kinks, but no drift
    rough = min(width, ROUGHEST)
    kinks = rng.uniform(-1, 1, count) * (np.arange(count) % 2 == 0)
    wander = 0.0
    middle = np.zeros(count)
    for i in range(1, count):
        wander = 0.75 * wander + 0.6 * rough * kinks[i]
        middle[i] = wander
    middle[: 1 + open_start] = 0.0
    left = middle + 0.5 * taper * (width + 0.25 * rough * rng.uniform(-1, 1, count))
    right = middle - 0.5 * taper * (width + 0.25 * rough * rng.uniform(-1, 1, count))

    points = path.points.copy()
    for end, inner in ((0, 1), (-1, -2)):  # past a free end, so that the edge is cut open
        if path.ends_free[end]:
            points[end] += 0.06 * unit(points[end] - points[inner])
    over = 1 + ABOVE / np.maximum(depths, 0.1)
    narrow = np.where(depths < THROUGH, 0.85, 0.12)
    corners = []
    for height, spread, edge in (
        (np.full(count, ABOVE), over, left),
        (np.full(count, ABOVE), over, right),
        (-depths, narrow, right),
        (-depths, narrow, left),
    ):
        lateral = middle + (edge - middle) * spread
        corners.append(points + height[:, None] * path.normals + lateral[:, None] * path.sides)
    wedge = tube(np.stack(corners, axis=1))
    if Surface(*wedge).crosses_itself():
        raise GeometryError("the line of the crack turns too sharply")
    line = path.points + middle[:, None] * path.sides
    jagged = norm(np.diff(line, axis=0)).sum() / arc[-1]
    return wedge, float(jagged)
