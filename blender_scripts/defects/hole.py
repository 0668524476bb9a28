# SPDX-License-Identifier: GPL-3.0-or-later
"""Hole: a round, slightly irregular hole drilled along the inward normal.

Where the material under the drill is thinner than 0.22 the hole goes through that wall, and no
further; elsewhere it is a pit with a flat bottom.

Severity 0 .. 1: radius 0.07 .. 0.14, pit depth 0.16 .. 0.32 (at most 0.7 of the thickness, at least
0.10). Labelled are the cut faces and the rim.
"""

import numpy as np

from blender_scripts.defects.cutting import cut_away, tube
from blender_scripts.defects.fields import drawn
from blender_scripts.defects.result import listed
from blender_scripts.meshes import GeometryError
from blender_scripts.surface import tangents

THROUGH = 0.22
IRREGULARITY = 0.05
SIDES = 40


def hole(surface, rng, severity):
    """One drilled hole at a random place that is visible from outside."""
    radius = drawn(rng, severity, 0.07, 0.14)
    wanted = drawn(rng, severity, 0.16, 0.32)
    phases = rng.uniform(0, 2 * np.pi, 4)
    seed = surface.seed(rng)
    across, along = tangents(seed.normal)

    free, _ = surface.cast(seed.point, seed.normal)
    above = float(min(0.05 + 0.6 * radius, 0.8 * free[0]))
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    circle = np.cos(angles)[:, None] * across + np.sin(angles)[:, None] * along
    probes = seed.point + above * seed.normal + radius * np.r_[np.zeros((1, 3)), 0.9 * circle]
    below, depth, through = _bottom(surface, probes, -seed.normal, above, wanted)

    angles = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    levels = np.linspace(-below, above, 8)
    waves = sum(
        np.cos(count * angles[None] + phase + 6 * levels[:, None])
        for count, phase in zip((2, 3, 5, 7), phases, strict=True)
    )
    rings = (
        seed.point
        + levels[:, None, None] * seed.normal
        + (radius * (1 + IRREGULARITY * waves / 2**0.5))[:, :, None]
        * (np.cos(angles)[:, None] * across + np.sin(angles)[:, None] * along)
    )
    return cut_away(
        surface,
        tube(rings),
        {
            "centre": listed(seed.point),
            "direction": listed(-seed.normal),
            "radius": radius,
            "depth": float(depth),
            "through": through,
        },
    )


def _bottom(surface, probes, direction, above, wanted):
    """(how far below the seed the drill ends, the hole's depth, whether it goes through).

    probes (N, 3): starts of rays that go down the drill's axis and wall.
    """
    exits, thicknesses, next_entries = [], [], []
    for probe in probes:
        crossings = surface.crossings(probe, direction)
        if len(crossings) < 2 or not crossings[0][1]:
            continue  # beside the product
        exits.append(crossings[1][0])
        thicknesses.append(crossings[1][0] - crossings[0][0])
        next_entries += [distance for distance, _ in crossings[2:3]]
    if len(exits) < 0.75 * len(probes):
        raise GeometryError("the drill would slip off an edge")
    thickness = float(np.median(thicknesses))
    if thickness < THROUGH and max(thicknesses) < 2 * THROUGH:
        last = max(exits)
        room = min(next_entries, default=np.inf) - last
        if room < 0.02:
            raise GeometryError("the drill would meet the part behind the wall")
        return last - above + min(0.05, 0.5 * room), thickness, True
    depth = min(wanted, 0.7 * min(thicknesses))
    if depth < 0.10:
        raise GeometryError("too thin for a pit, too thick for a hole through")
    return depth, depth, False
