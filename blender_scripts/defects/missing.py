# SPDX-License-Identifier: GPL-3.0-or-later
"""Missing: a part bitten off the product, preferably at an edge, a corner, a rim or a handle.

The bite is a lumpy ball with a rough surface, centred a little under the surface. Candidate places
are visible from outside; those that stick out of their surroundings are likelier.

Severity 0 .. 1: radius of the bite 0.17 .. 0.32. Between 0.3 and 30 % of the volume goes. Labelled
are the cut faces and the rim.
"""

import numpy as np

from blender_scripts.defects.cutting import ball, cut_away
from blender_scripts.defects.fields import drawn, rough_noise
from blender_scripts.defects.result import listed
from blender_scripts.meshes import GeometryError, volume
from blender_scripts.portable import dot, exp, norm, random_rotation
from blender_scripts.surface import unit

CANDIDATES = 48
LUMPS, ROUGHNESS = 0.16, 0.045  # standard deviations, in shares of the radius
LEAST, MOST = 0.003, 0.30


def missing(surface, rng, severity):
    """Take one bite out of the product."""
    radius = drawn(rng, severity, 0.17, 0.32)
    sunk = rng.uniform(0.1, 0.4)
    stretch = rng.uniform(0.8, 1.2, 3)
    turn = random_rotation(rng)
    point, normal = _prominent_place(surface, rng)
    lumps = rough_noise(rng, 1.6, octaves=2)
    grain = rough_noise(rng, 0.4, octaves=3)

    directions, faces = ball(4)
    size = 1 + LUMPS * lumps(directions) + ROUGHNESS * grain(directions)
    bite = directions * stretch * np.clip(size, 0.5, 1.6)[:, None]
    centre = point - sunk * radius * normal
    vertices = centre + radius * dot(bite[:, None], turn)
    result = cut_away(
        surface, (vertices, faces), {"centre": listed(centre), "radius": radius}, loose=0.2
    )
    whole = volume(surface.vertices, surface.faces)
    gone = 1 - volume(result.vertices, result.faces) / whole
    if not LEAST <= gone <= MOST:
        raise GeometryError(f"the bite takes {gone:.1%} of the volume")
    result.parameters["volume_share"] = float(gone)
    return result


def _prominent_place(surface, rng, reach=0.3):
    """Draw (point (3,), normal (3,)) of a visible place, likelier where the product sticks out."""
    others, _ = surface.draw(rng, 800)
    seeds = [surface.seed(rng, tries=20) for _ in range(CANDIDATES)]
    points = np.array([seed.point for seed in seeds])
    normals = np.array([seed.normal for seed in seeds])
    offsets = points[:, None] - others[None]
    near = norm(offsets) < reach
    mean = (offsets * near[:, :, None]).sum(axis=1) / np.maximum(near.sum(axis=1), 1)[:, None]
    # on a plane the neighbours' mean is the point itself; at a corner or rim it lies inwards
    prominence = norm(mean) / reach
    chances = exp(14 * (prominence - prominence.max()))
    chosen = rng.choice(CANDIDATES, p=chances / chances.sum())
    outwards = unit(mean[chosen]) + normals[chosen]
    return points[chosen], unit(outwards)
