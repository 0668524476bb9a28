# SPDX-License-Identifier: GPL-3.0-or-later
"""Hole: a round, slightly irregular hole drilled along the inward normal.

Where the material under the drill is thinner than 0.22 the hole goes through that wall, and no
further; elsewhere it is a pit with a flat bottom.

Severity 0 .. 1: radius 0.07 .. 0.14, pit depth 0.16 .. 0.32 (at most 0.7 of the thickness, at least
0.10). Labelled are the cut faces and the rim.
"""

from dataclasses import dataclass

import numpy as np

from blender_scripts.defects.cutting import cut_away, tube
from blender_scripts.defects.fields import drawn
from blender_scripts.defects.result import listed
from blender_scripts.meshes import GeometryError
from blender_scripts.portable import cos, sin
from blender_scripts.surface import tangents

THROUGH = 0.22
IRREGULARITY = 0.05
SIDES = 40


def hole(surface, rng, severity):
    """Drill one hole at a random place that is visible from outside."""
    radius = drawn(rng, severity, 0.07, 0.14)
    wanted = drawn(rng, severity, 0.16, 0.32)
    phases = rng.uniform(0, 2 * np.pi, 4)
    for _ in range(10):
        seed = surface.seed(rng)
        drill = _drill(surface, seed, radius, wanted)
        if drill.problem == "":
            break
    else:
        raise GeometryError(drill.problem)

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
    return cut_away(
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
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)[:, None]
    across, along = tangents(seed.normal)
    circle = np.r_[np.zeros((1, 3)), cos(angles) * across + sin(angles) * along]
    exits, thicknesses, next_entries = [], [], []
    for start in seed.point + above * seed.normal + 0.9 * radius * circle:
        crossings = surface.crossings(start, -seed.normal)
        if len(crossings) < 2 or not crossings[0][1]:
            continue  # beside the product
        exits.append(crossings[1][0] - above)
        thicknesses.append(crossings[1][0] - crossings[0][0])
        next_entries += [distance - above for distance, _ in crossings[2:3]]
    if len(exits) < 0.75 * len(circle):
        return Drill(above, 0.0, 0.0, False, "the drill would slip off an edge")
    thickness = float(np.median(thicknesses))
    if thickness < THROUGH and max(thicknesses) < 2 * THROUGH:
        room = min(next_entries, default=np.inf) - max(exits)
        if room < 0.02:
            return Drill(above, 0.0, 0.0, True, "the drill would meet what is behind the wall")
        return Drill(above, max(exits) + min(0.05, 0.5 * room), thickness, True)
    depth = min(wanted, 0.7 * min(thicknesses))
    if depth < 0.10:
        return Drill(above, 0.0, 0.0, False, "too thin for a pit, too thick for a hole through")
    return Drill(above, depth, depth, False)
