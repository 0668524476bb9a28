# SPDX-License-Identifier: GPL-3.0-or-later
"""Hole: a round, slightly irregular hole drilled along the inward normal.

Where the material under the drill is thinner than THROUGH the hole goes through that wall, and no
further; elsewhere it is a pit with a flat bottom.

An intact rim makes it a hole (`no_hole`). The exposed surface is one piece, bounded by one closed
curve, with the number of handles unchanged (a pit), or by two, with one handle more (a hole
through). All but a twentieth of the curves' length lies in surface at most 60 degrees off square to
the drill: no edge or lip is cut. Around the mouth, a margin beyond the radius, there is surface on
every side, all of it near the same height.

Severity 0 .. 1 sets the radius, RADIUS, and the depth of a pit, DEPTH (at most 0.7 of the
thickness). Where a place has no room for the radius it is made smaller, in steps, but not below
SMALLEST. Labelled are the cut faces and the rim.
"""

from dataclasses import dataclass

import numpy as np

from blender_scripts.meshes import GeometryError
from blender_scripts.portable import cos, sin
from blender_scripts.shaping.cutting import cut_away, tube
from blender_scripts.shaping.fields import drawn
from blender_scripts.shaping.result import listed
from blender_scripts.shaping.topology import border, change
from blender_scripts.surface import tangents

RADIUS = (0.045, 0.17)  # slight, severe
DEPTH = (0.08, 0.34)  # of a pit: slight, severe
SMALLEST = 0.035  # radius
SHALLOWEST = 0.06
MARGIN = 0.015  # of surface around the mouth, besides a fifth of the radius
PLACES = 8  # tried for each radius
THROUGH = 0.22
LEAST_SQUARE = 0.5  # |cos| between the drill and the normals around the mouth
IRREGULARITY = 0.05
SIDES = 40


def hole(surface, rng, severity):
    """Drill one hole at a random place. Raises GeometryError where the result is no `hole`."""
    radius = drawn(rng, severity, *RADIUS)
    wanted = drawn(rng, severity, *DEPTH)
    phases = rng.uniform(0, 2 * np.pi, 4)
    seed, radius, drill = _place(surface, rng, radius, wanted)

    angles = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    across, along = tangents(seed.normal)
    levels = np.linspace(-drill.below, drill.above, 8)
    waves = sum(
        cos(count * angles[None] + phase + 6 * levels[:, None])
        for count, phase in zip((2, 3, 5, 7), phases, strict=True)
    )
    rings = (
        seed.point
        + levels[:, None, None] * seed.normal
        + (radius * (1 + IRREGULARITY * waves / np.sqrt(2)))[:, :, None]
        * (cos(angles)[:, None] * across + sin(angles)[:, None] * along)
    )
    result = cut_away(
        surface,
        tube(rings),
        {
            "centre": listed(seed.point),
            "direction": listed(-seed.normal),
            "radius": radius,
            "depth": float(drill.depth),
            "through": drill.through,
        },
    )
    if reason := no_hole(surface, result, seed.normal, drill.through):
        raise GeometryError(reason)
    return result


def no_hole(surface, result, axis, through):
    """Say why a cut along the unit `axis` (3,) is no hole with an intact rim; "" when it is."""
    seen = change(surface, result)
    if not seen.simple or seen.exposed != 1 or seen.solids:
        return "the hole would not be one piece"
    if (seen.loops, seen.genus) != ((2, 1) if through else (1, 0)):
        return "the drill would cut through an edge or into something else"
    edges = border(result.vertices, result.faces, result.cut)
    if edges.mean(edges.across(axis) < LEAST_SQUARE) > 0.05:
        return "the drill would cut over an edge"
    return ""


def _place(surface, rng, radius, wanted):
    """Return (seed, radius, `Drill`) of a place with room for a hole; GeometryError without."""
    reason = ""
    while not reason or 0.8 * radius >= SMALLEST:
        radius *= 0.8 if reason else 1.0
        for _ in range(PLACES):
            seed = surface.seed(rng)
            drill = _drill(surface, seed, radius, wanted)
            if drill.problem == "":
                return seed, radius, drill
            reason = drill.problem
    raise GeometryError(reason)


@dataclass(frozen=True)
class Drill:
    """A drill's reach above and below the seed, the hole's depth, and whether it is open below.

    problem: why the place will not do, or "".
    """

    above: float
    below: float
    depth: float
    through: bool
    problem: str = ""


def _drill(surface, seed, radius, wanted):
    """Return the `Drill` for a hole at the seed, after rays down its axis and along its wall."""
    free, _ = surface.cast(seed.point, seed.normal)
    above = float(min(0.05 + 0.6 * radius, 0.8 * free[0]))
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)[:, None]
    across, along = tangents(seed.normal)
    around = cos(angles) * across + sin(angles) * along
    wide = 1.2 * radius + MARGIN
    heights, _ = surface.cast(seed.point + above * seed.normal + wide * around, -seed.normal)
    if np.isinf(heights).any() or np.ptp(heights) > 0.8 * wide:
        return Drill(above, 0.0, 0.0, False, "the drill would slip off an edge")
    circle = np.r_[np.zeros((1, 3)), around[::2]]
    exits, thicknesses, next_entries = [], [], []
    for start in seed.point + above * seed.normal + 0.9 * radius * circle:
        crossings = surface.crossings(start, -seed.normal)
        if len(crossings) < 2 or not crossings[0][1]:
            continue  # beside the product
        exits.append(crossings[1][0] - above)
        thicknesses.append(crossings[1][0] - crossings[0][0])
        next_entries += [distance - above for distance, _ in crossings[2:3]]
    if len(exits) < len(circle):
        return Drill(above, 0.0, 0.0, False, "the drill would slip off an edge")
    thickness = float(np.median(thicknesses))
    if thickness < THROUGH and max(thicknesses) < 2 * THROUGH:
        room = min(next_entries, default=np.inf) - max(exits)
        if room < 0.02:
            return Drill(above, 0.0, 0.0, True, "the drill would meet what is behind the wall")
        return Drill(above, max(exits) + min(0.05, 0.5 * room), thickness, True)
    depth = min(wanted, 0.7 * min(thicknesses))
    if depth < SHALLOWEST:
        return Drill(above, 0.0, 0.0, False, "too thin for a pit, too thick for a hole through")
    return Drill(above, depth, depth, False)
