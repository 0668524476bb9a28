# SPDX-License-Identifier: GPL-3.0-or-later
"""Bulge and concavity: a smooth local swelling outwards or inwards, which are one operation.

A patch of the surface around a seed moves along the patch's mean normal. The shift is full in the
middle and falls smoothly to 0 at the border of an ellipsoid, which reaches no deeper than the
material or, in a thin wall, than the hollow behind it. Only surface connected to the seed inside
the ellipsoid moves, so that a neighbouring leg or key does not, and the other side of a thin wall,
as in sheet metal. Labelled is what moved.

A sample that is called bulge or concavity has passed `no_swelling`, so that no rim droops and no
handle, spout or key moves as a whole:

- the surface comes to rest all around: in each of SECTORS directions about the seed it moves by
  less than REST of the greatest shift somewhere;
- it is a surface and no rod: seen along the shift it fills FILLED of the patch (of a wall that
  moves as a whole, FILLED_BY_WALL), each place weighted with its shift;
- it is one surface, with what is on it in relief: the places that move and can be seen along the
  shift lie within RELIEF radii of each other along it, so that no valve or stem is carried off;
- at most HALF_MOVED of the part (a connected piece of the product) moves by more than half of the
  greatest shift.

The topology stays; the general tests are those of `plausibility`.

Severity 0 .. 1: radius RADIUS, height or depth STEEPNESS of the radius. The patch gets smaller, to
SMALLEST of that radius, where no place drawn has room for it, and the shift less where the material
is too thin for it, but at least LOWEST.
"""

from dataclasses import dataclass

import numpy as np

from blender_scripts.meshes import GeometryError
from blender_scripts.portable import arctan2, cos, dot, norm, power, sin
from blender_scripts.shaping.fields import components, drawn, smooth_step
from blender_scripts.shaping.result import deformed, listed
from blender_scripts.surface import Surface, tangents, unit

RADIUS = (0.14, 0.30)
STEEPNESS = (0.16, 0.44)
LOWEST = 0.012

# The shift is full up to this share of the radius (a flat top shows better under noise).
FLAT = 0.2
# A wall thinner than this moves as a whole.
THIN = 0.12
# The ellipsoid reaches this share of the depth there is, and at most so many radii.
SHARE_OF_DEPTH, DEEPEST = 0.85, 2.5
# The greatest shift as a share of that reach: steeper, the sides of the patch would be crushed.
SHALLOW = 0.22
# Places tried for one that can carry the whole height; the best of them is taken. From PATIENCE on
# each gets a patch smaller by the factor SMALLER.
PLACES, PATIENCE, SMALLER, SMALLEST = 16, 6, 0.9, 0.4
SECTORS, REST, HALF_MOVED = 12, 0.2, 0.5
FILLED, FILLED_BY_WALL = 0.55, 0.75
RELIEF, FRONT, CARRIED = 1.75, 0.5, 0.2
# The integral of the weight over a flat patch of radius 1.
_MIDDLES = (np.arange(200) + 0.5) / 200
FLAT_PATCH = float(
    2 * np.pi * (_MIDDLES * (1 - smooth_step((_MIDDLES - FLAT) / (1 - FLAT)))).mean()
)


def bulge(surface, rng, severity):
    """Swell the surface outwards at a random place that is visible from outside."""
    return _swelling(surface, rng, severity, outwards=True)


def concavity(surface, rng, severity):
    """Dent the surface at a random place that is visible from outside."""
    return _swelling(surface, rng, severity, outwards=False)


def no_swelling(surface, defect):
    """Say why a deformed `Surface` is neither bulge nor concavity; return "" when it is."""
    shift, drawn_as = defect.displacement, defect.parameters
    size = np.sqrt(dot(shift, shift))
    pristine = Surface(surface.vertices - shift, surface.faces)
    centre, direction = np.array(drawn_as["centre"]), np.array(drawn_as["direction"])
    outward = direction if "height" in drawn_as else -direction
    share = size / size.max()
    if _unrest(pristine, share, centre, outward) > REST:
        return "the swelling does not come to rest all around"
    filled = _filled(pristine, share, outward, drawn_as["radius"])
    if filled < (FILLED_BY_WALL if drawn_as["whole_wall"] else FILLED):
        return "the surface around the seed is too narrow"
    if _relief(pristine, surface, share, outward) > RELIEF * drawn_as["radius"]:
        return "a part that juts out moves"
    piece = components(pristine.edges, len(pristine.vertices))[pristine.faces[:, 0]]
    moved = pristine.mean_of_corners(share) > 0.5
    own = piece == piece[moved.argmax()]
    if pristine.areas[own & moved].sum() > HALF_MOVED * pristine.areas[own].sum():
        return "a whole part moves"
    return ""


def _unrest(surface, share, centre, direction):
    """Return the share of the greatest shift (V,) that is left in the direction with most left."""
    border = np.unique(surface.faces[surface.at_corners(share > 0)])
    offset = surface.vertices[border] - centre
    across, along = tangents(direction)
    angle = arctan2(dot(offset, along), dot(offset, across))
    sector = np.floor((angle / (2 * np.pi) + 0.5) * SECTORS).astype(np.int64) % SECTORS
    least = np.ones(SECTORS)
    np.minimum.at(least, sector, share[border])
    return float(least.max())


def _filled(surface, share, direction, radius):
    """Return the share of a flat patch of the radius that the surface fills, seen along direction.

    Each place counts with its share (V,) of the greatest shift.
    """
    facing = np.clip(dot(surface.face_normals, direction), 0.0, None)
    seen = (surface.areas * facing * surface.mean_of_corners(share)).sum()
    return float(seen / (FLAT_PATCH * radius * radius))


def _relief(pristine, surface, share, direction):
    """Return how far apart along the direction places lay that move and can be seen from there.

    Tried are 120 that face the direction and move by CARRIED of the greatest shift. They are seen
    on the deformed surface, whose tree other checks need as well.
    """
    front = dot(pristine.face_normals, direction) > FRONT
    rows = pristine.spread(front & (pristine.mean_of_corners(share) > CARRIED), 120)
    seen = rows[~np.isfinite(surface.cast(surface.centres[rows], direction)[0])]
    return float(np.ptp(dot(pristine.centres[seen], direction))) if len(seen) else 0.0


@dataclass(frozen=True)
class _Place:
    """A place for a swelling: seed (3,), direction (3,), weights (V,), the height it can carry."""

    point: np.ndarray
    radius: float
    direction: np.ndarray
    weight: np.ndarray
    height: float
    whole_wall: bool


def _swelling(surface, rng, severity, outwards):
    radius = drawn(rng, severity, *RADIUS)
    height = radius * drawn(rng, severity, *STEEPNESS)
    aspect, turn = float(rng.uniform(1.0, 1.35)), rng.uniform(0, np.pi)
    best, reason = None, ""
    for place in range(PLACES):
        smaller = max(power(SMALLER, max(place - PATIENCE + 1, 0)), SMALLEST)
        try:
            found = _place(
                surface, surface.seed(rng), smaller * radius, smaller * height, aspect, turn
            )
        except GeometryError as error:
            reason = str(error)
            continue
        if best is None or found.height > best.height:
            best = found
        if best.height >= smaller * height:
            break
    if best is None:
        raise GeometryError(reason)
    if best.height < LOWEST:
        raise GeometryError("too thin for a swelling that is high enough")
    direction = best.direction if outwards else -best.direction
    return deformed(
        surface,
        best.height * best.weight[:, None] * direction,
        {
            "centre": listed(best.point),
            "direction": listed(direction),
            "radius": best.radius,
            "height" if outwards else "depth": best.height,
            "aspect": aspect,
            "whole_wall": best.whole_wall,
        },
    )


def _place(surface, seed, radius, height, aspect, turn):
    """Return the `_Place` for a swelling at the seed, at most `height` high.

    The ellipsoid's long half-axis across the direction is radius * aspect ** 0.5.
    """
    direction = _direction(surface, seed, radius)
    behind, hollow = _depths(surface, seed, direction, radius)
    whole_wall = behind < THIN
    depth = min(SHARE_OF_DEPTH * (behind + hollow * whole_wall), DEEPEST * radius)
    offset = surface.vertices - seed.point
    across, along = tangents(direction)
    u = dot(offset, cos(turn) * across + sin(turn) * along) / np.sqrt(aspect)
    v = dot(offset, cos(turn) * along - sin(turn) * across) * np.sqrt(aspect)
    distance = norm(np.stack([u / radius, v / radius, dot(offset, direction) / depth], axis=-1))
    weight = 1 - smooth_step((distance - FLAT) / (1 - FLAT))
    weight[~_moving(surface, seed, direction, weight > 0, behind if whole_wall else 0.0)] = 0.0
    if _unrest(surface, weight, seed.point, direction) > REST:
        raise GeometryError("the swelling does not come to rest all around")
    filled = _filled(surface, weight, direction, radius)
    if filled < (FILLED_BY_WALL if whole_wall else FILLED):
        raise GeometryError("the surface around the seed is too narrow")
    return _Place(seed.point, radius, direction, weight, min(height, SHALLOW * depth), whole_wall)


def _moving(surface, seed, direction, inside, wall):
    """Return (V,) bool: the vertices `inside` (V,) connected to the seed by others inside.

    wall : with a thickness above 0, the pieces inside that lie up to twice so far behind the seed's
    piece move with it.
    """
    edges = surface.edges[inside[surface.edges[:, 0]] & inside[surface.edges[:, 1]]]
    piece = components(edges, len(surface.vertices))
    corners = surface.faces[seed.face]
    own = inside & np.isin(piece, piece[corners[inside[corners]]])
    if wall == 0 or not own.any():
        return own
    rows = np.flatnonzero(own & (dot(surface.normals, direction) > 0.3))
    rows = rows[:: max(1, len(rows) // 60)]
    distance, face = surface.cast(surface.vertices[rows], -surface.normals[rows], 2 * wall + 0.01)
    met = surface.faces[face[np.isfinite(distance)]]
    return own | (inside & np.isin(piece, piece[met[inside[met]]]))


def _direction(surface, seed, radius):
    """Return the (3,) mean normal of the surface around the seed."""
    offset = surface.centres - seed.point
    close = np.flatnonzero(dot(offset, offset) < np.square(radius))
    direction = seed.normal
    for _ in range(2):  # the mean normal decides what is the front, and the front its mean normal
        front = close[dot(surface.face_normals[close], direction) > 0.2]
        direction = unit((surface.face_normals[front] * surface.areas[front, None]).sum(axis=0))
    if len(front) < 20 or not direction.any():
        raise GeometryError("too few faces to swell")
    if surface.underneath(seed.point, direction):
        raise GeometryError("the swelling would be underneath")
    return direction


def _depths(surface, seed, direction, radius):
    """Return (thickness of the material, depth of the hollow behind it) along -direction.

    Both are the smallest quarter of what rays find that start around the seed.
    """
    offset = surface.centres - seed.point
    front = dot(surface.face_normals, direction) > 0.3
    front &= dot(offset, offset) < np.square(0.5 * radius)
    starts = surface.centres[surface.spread(front, 24)]
    if len(starts) == 0:
        raise GeometryError("too few faces to swell")
    thickness = np.minimum(surface.cast(starts, -direction)[0], 2.0)
    hollow = surface.cast(starts - thickness[:, None] * direction, -direction)[0]
    hollow = np.minimum(hollow, 2.0)
    return float(np.quantile(thickness, 0.25)), float(np.quantile(hollow, 0.25))
