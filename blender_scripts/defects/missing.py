# SPDX-License-Identifier: GPL-3.0-or-later
"""Missing: a part bitten off the product at an edge, a corner, a rim or a handle.

The bite is a lumpy ball with a rough surface, centred a little under the surface. Candidate places
are visible from outside; those that stick out of their surroundings are likelier.

The bite reaches over an edge, which makes it missing and no hole (`no_bite`). Each part that it
touches lost one connected piece of surface (a hole through a wall takes two), no handle was added,
and the untouched surface beside the bite's border looks to several sides: the mean of its normals,
over the length of the border, is at most ONE_SIDED long (it is 1 around a pit in a plane, 0.7
around a bite in a square edge, less at corners, rims and handles). At most the share FILLED of the
bite is material: more than half of a bite in the middle of a side would be, whatever relief that
side has.

Severity 0 .. 1 sets the radius of the bite, RADIUS. Between LEAST and MOST of the volume goes.
Labelled are the cut faces and the rim.
"""

import numpy as np

from blender_scripts.meshes import GeometryError, volume
from blender_scripts.portable import dot, exp, norm, random_rotation
from blender_scripts.shaping.cutting import ball, cut_away
from blender_scripts.shaping.fields import components, drawn, rough_noise
from blender_scripts.shaping.result import listed
from blender_scripts.shaping.topology import border, change
from blender_scripts.surface import unit

RADIUS = (0.055, 0.23)  # slight, severe
CANDIDATES = 48
LUMPS, ROUGHNESS = 0.16, 0.045  # standard deviations, in shares of the radius
LEAST, MOST = 0.0001, 0.30
ONE_SIDED = 0.9
FILLED = 0.5
SMALLEST, GREATEST = 0.5, 1.6  # of the lumps, in shares of the radius
CLEAR = 0.1  # a vertex is surely in or out of the bite, in shares of its size


def missing(surface, rng, severity):
    """Take one bite out of the product. Raises GeometryError where the result is not `missing`."""
    radius = drawn(rng, severity, *RADIUS)
    sunk = rng.uniform(0.1, 0.4)
    stretch = rng.uniform(0.8, 1.2, 3)
    turn = random_rotation(rng)
    point, normal, _ = prominent_place(surface, rng)
    lumps = rough_noise(rng, 1.6, octaves=2)
    grain = rough_noise(rng, 0.4, octaves=3)

    def size(directions):
        uneven = 1 + LUMPS * lumps(directions) + ROUGHNESS * grain(directions)
        return np.clip(uneven, SMALLEST, GREATEST)

    centre = point - sunk * radius * normal
    offset = surface.vertices - centre
    near = np.flatnonzero(dot(offset, offset) < np.square(1.3 * GREATEST * radius))
    local = dot(offset[near, None], turn.T) / (radius * stretch)
    if opens_window(surface, near, norm(local) / size(unit(local))):
        raise GeometryError("the bite would be a hole")
    directions, faces = ball(4)
    bite = directions * stretch * size(directions)[:, None]
    vertices = centre + radius * dot(bite[:, None], turn)
    result = cut_away(
        surface, (vertices, faces), {"centre": listed(centre), "radius": radius}, loose=0.2
    )
    whole = surface.volume
    taken = whole - result.surface.volume
    if reason := no_bite(surface, result, taken / volume(vertices, faces)):
        raise GeometryError(reason)
    gone = taken / whole
    if not LEAST <= gone <= MOST:
        raise GeometryError(f"the bite takes {gone:.1%} of the volume")
    result.parameters["volume_share"] = float(gone)
    return result


def opens_window(surface, near, depth):
    """Tell whether a bite surely takes two pieces of the surface of one part, before it is cut.

    near : rows of the vertices around the bite; depth (N,) : how far out they are, 1 at its border.
    Two pieces count where they are apart even a little beyond the border, and each reaches well
    inside it.
    """
    reach = np.full(len(surface.vertices), np.inf)
    reach[near] = depth
    edges = surface.edges
    around = (reach < 1 + CLEAR)[edges]
    piece = components(edges[around[:, 0] & around[:, 1]], len(reach))
    pieces = np.unique(piece[reach < 1 - CLEAR])
    return len(pieces) > len(np.unique(surface.kept(_parts)[pieces]))


def _parts(surface):
    """Return (V,) the first vertex of the connected part of each vertex."""
    return components(surface.edges, len(surface.vertices))


def no_bite(surface, result, filled):
    """Say why a cut does not deserve the name `missing`; return "" when it does.

    filled: the share of the cutter that was material.
    """
    seen = change(surface, result)
    if not seen.simple:
        return "the bite's border would touch itself"
    if seen.genus > 0 or seen.removed > seen.touched:
        return "the bite would be a hole"
    edges = border(result.vertices, result.faces, result.cut)
    if len(edges.ends) == 0:
        return "a whole part would go"
    if edges.resultant() > ONE_SIDED:
        return "the bite would not reach over an edge"
    if filled > FILLED:
        return "the bite would be a pit in a side"
    return ""


def prominent_place(surface, rng, reach=0.3):
    """Draw a visible place, likelier where the product sticks out of its surroundings.

    Returns (point (3,), unit mean of the way from its surroundings and of the surface's normal
    there (3,), the unit way from its surroundings (3,)).
    """
    others, _ = surface.draw(rng, 800)
    seeds = surface.seeds(rng, CANDIDATES, tries=20)
    points = np.array([seed.point for seed in seeds])
    normals = np.array([seed.normal for seed in seeds])
    offsets = points[:, None] - others[None]
    near = norm(offsets) < reach
    mean = (offsets * near[:, :, None]).sum(axis=1) / np.maximum(near.sum(axis=1), 1)[:, None]
    # on a plane the neighbours' mean is the point itself; at a corner or rim it lies inwards
    prominence = norm(mean) / reach
    chances = exp(14 * (prominence - prominence.max()))
    chosen = rng.choice(CANDIDATES, p=chances / chances.sum())
    away = unit(mean[chosen])
    return points[chosen], unit(away + normals[chosen]), away
