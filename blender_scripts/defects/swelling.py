# SPDX-License-Identifier: GPL-3.0-or-later
"""Bulge and concavity: a smooth local swelling outwards or inwards, which are one operation.

A patch of the surface around a seed moves along the patch's mean normal. The shift is full in the
middle and falls smoothly to 0 at the patch's elliptical border. Only surface connected to the seed
inside the patch moves, so that a neighbouring leg or key does not; where the wall is thin its other
side moves along, as in sheet metal. Labelled is what moved.

Severity 0 .. 1: radius 0.20 .. 0.38, height or depth 0.40 .. 0.50 of the radius (0.08 .. 0.19). A
dent is less deep where the product is too thin for that, and either is less high where another part
is in the way, but at least 0.05.
"""

import numpy as np

from blender_scripts.defects.fields import (
    carry_other_side,
    drawn,
    patch_around,
    smooth_step,
    wall_thickness,
)
from blender_scripts.defects.result import deformed, listed
from blender_scripts.meshes import GeometryError
from blender_scripts.portable import cos, dot, norm, sin
from blender_scripts.surface import tangents, unit

# The shift is full up to this share of the radius (a flat top shows better under noise).
FLAT = 0.2
# A wall (no rod) thinner than the first moves as a whole; one thinner than the second does so when
# it is too thin for the dent.
THIN, THIN_FOR_DENT = 0.12, 0.22
# A dent takes at most this share of the thickness when the far side stays, and at least that depth.
DEEPEST, SHALLOWEST = 0.65, 0.05
# Share of the ellipse that the patch fills, seen along the direction: below the first the place is
# too narrow to carry a swelling, below the second it is a rod.
NARROW, ROD = 0.28, 0.42
# The surface may run into itself by this much, as in the grooves of a fluted vase; nobody sees it.
OVERLAP = 0.02


def bulge(surface, rng, severity):
    """Swell the surface outwards at a random place that is visible from outside."""
    return _swelling(surface, rng, severity, outwards=True)


def concavity(surface, rng, severity):
    """Dent the surface at a random place that is visible from outside."""
    return _swelling(surface, rng, severity, outwards=False)


def _swelling(surface, rng, severity, outwards):
    radius = drawn(rng, severity, 0.20, 0.38)
    height = radius * drawn(rng, severity, 0.40, 0.50)
    aspect = float(rng.uniform(1.0, 1.35))
    turn = rng.uniform(0, np.pi)
    seed = surface.seed(rng)

    direction = _direction(surface, seed, radius)
    weight = _falloff(surface, seed, direction, radius, aspect, turn)
    weight *= smooth_step((dot(surface.normals, direction) + 0.6) / 0.6)
    weight[~patch_around(surface, seed.face, weight > 0)] = 0.0
    filled = _filled(surface, weight, direction, radius)
    if filled < NARROW:
        raise GeometryError("the surface around the seed is too narrow")

    core = np.flatnonzero((weight > 0.3) & (dot(surface.normals, direction) > 0.3))
    if len(core) == 0:
        raise GeometryError("too few vertices to swell")
    thickness = wall_thickness(surface, core, direction)
    typical, thin = float(np.median(thickness)), float(np.quantile(thickness, 0.25))
    too_deep = not outwards and height > DEEPEST * thin
    whole_wall = filled > ROD and typical < (THIN_FOR_DENT if too_deep else THIN)
    if too_deep and not whole_wall:
        height = DEEPEST * thin
        if height < SHALLOWEST:
            raise GeometryError("too thin for a dent that is deep enough")

    displacement = weight[:, None] * direction * (height if outwards else -height)
    if whole_wall:
        displacement = carry_other_side(surface, displacement, 2.0 * typical + 0.02)
    room = _room(surface, displacement)
    if room * height < SHALLOWEST:
        raise GeometryError("the swelling would meet another part of the product")
    displacement, height = room * displacement, room * height
    return deformed(
        surface,
        displacement,
        {
            "centre": listed(seed.point),
            "direction": listed(direction if outwards else -direction),
            "radius": radius,
            "height" if outwards else "depth": height,
            "aspect": aspect,
            "whole_wall": bool(whole_wall),
        },
    )


def _direction(surface, seed, radius):
    """Return the (3,) mean normal of the surface around the seed."""
    close = norm(surface.vertices - seed.point) < radius
    direction = seed.normal
    for _ in range(2):  # the mean normal decides what is the front, and the front its mean normal
        front = patch_around(surface, seed.face, close & (dot(surface.normals, direction) > 0.2))
        own = front[surface.faces].all(axis=1)
        direction = unit((surface.face_normals[own] * surface.areas[own, None]).sum(axis=0))
    if own.sum() < 20 or not direction.any():
        raise GeometryError("too few faces to swell")
    if surface.underneath(seed.point, direction):
        raise GeometryError("the swelling would be underneath")
    return direction


def _falloff(surface, seed, direction, radius, aspect, turn):
    """Return (V,) weights, 1 at the seed and 0 outside an ellipsoid.

    The ellipsoid's long half-axis is radius * aspect ** 0.5.
    """
    offset = surface.vertices - seed.point
    across, along = tangents(direction)
    u = dot(offset, cos(turn) * across + sin(turn) * along) / np.sqrt(aspect)
    v = dot(offset, cos(turn) * along - sin(turn) * across) * np.sqrt(aspect)
    distance = np.sqrt(np.square(u) + np.square(v) + np.square(dot(offset, direction))) / radius
    return 1 - smooth_step((distance - FLAT) / (1 - FLAT))


def _filled(surface, weight, direction, radius):
    """Return the share of a disc of the radius that the patch fills, seen along direction."""
    inside = weight[surface.faces].min(axis=1) > 0
    facing = np.clip(dot(surface.face_normals[inside], direction), 0.0, None)
    return float((surface.areas[inside] * facing).sum() / (np.pi * radius * radius))


def _room(surface, displacement):
    """Return the share of the displacement, 1 at most, that stops short of other parts."""
    size = norm(displacement)
    rows = np.flatnonzero(size > 0.3 * size.max())
    movement = displacement[rows] / size[rows, None]
    ahead = dot(surface.normals[rows], movement) > 0.3
    rows, movement = (x[ahead][:: max(1, ahead.sum() // 40)] for x in (rows, movement))
    free, face = surface.cast(surface.vertices[rows], movement)
    # what is met may move out of the way (the next key, the far side of a rib)
    evades = np.where(face >= 0, size[surface.faces[face]].mean(axis=1), 0.0)
    approach = np.maximum(size[rows] - evades, 1e-9)
    return float(np.minimum((free + OVERLAP) / approach, 1.0).min(initial=1.0))
