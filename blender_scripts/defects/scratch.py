# SPDX-License-Identifier: GPL-3.0-or-later
"""Scratch: a long, shallow, slightly curved V-groove with raised edges, as a hard point leaves.

The mesh is refined along the line, the surface within half a width of it pressed in, and what is
next to the groove raised a little. The far side of a thin wall moves along.

Severity 0 .. 1: length 0.6 .. 1.1 (at least 0.35 where the surface is small), width 0.045 .. 0.07,
depth 0.035 .. 0.06. Labelled is what moved.
"""

import numpy as np

from blender_scripts.defects.fields import carry_other_side, drawn, smooth_step
from blender_scripts.defects.paths import STEP, long_path
from blender_scripts.defects.result import deformed, listed
from blender_scripts.meshes import GeometryError, subdivide_long_edges
from blender_scripts.portable import dot, norm, sin
from blender_scripts.surface import Surface

SHORTEST = 0.35
FINEST = 0.010
# The raised edge: its height in depths, and where it ends in half widths.
LIP, LIP_END = 0.3, 2.0
# Surface this far off the line's height is another part of the product.
HEIGHT = 0.03


def scratch(surface, rng, severity):
    """Press one scratch into a random place that is visible from outside."""
    length = drawn(rng, severity, 0.60, 1.10)
    width = drawn(rng, severity, 0.045, 0.070)
    depth = drawn(rng, severity, 0.035, 0.060)
    path = long_path(surface, rng, length, SHORTEST, most_turning=0.6)
    fine = _refined(surface, path, 0.5 * width * LIP_END + 0.02)
    displacement = _groove(fine, path, 0.5 * width, depth)
    if norm(displacement).max() < 0.5 * depth:
        raise GeometryError("the scratch misses the surface")
    displacement = carry_other_side(fine, displacement, 1.7 * depth)
    return deformed(
        fine,
        displacement,
        {
            "start": listed(path.points[0]),
            "end": listed(path.points[-1]),
            "length": float(path.arc[-1]),
            "width": width,
            "depth": depth,
        },
    )


def _refined(surface, path, reach):
    """Return the surface with short edges within `reach` of the path."""
    low, high = path.points.min(axis=0) - reach, path.points.max(axis=0) + reach

    def longest(points):
        limit = np.full(len(points), np.inf)
        rows = np.flatnonzero(((points > low) & (points < high)).all(axis=1))
        near = path.squared_distances(points[rows]).min(axis=1) < reach * reach
        limit[rows[near]] = FINEST
        return limit

    return Surface(*subdivide_long_edges(surface.vertices, surface.faces, longest, rounds=3))


def _groove(surface, path, half_width, depth):
    """Return the (V, 3) displacement, down inside the groove and up beside it."""
    reach = LIP_END * half_width
    low, high = path.points.min(axis=0) - reach, path.points.max(axis=0) + reach
    rows = np.flatnonzero(((surface.vertices > low) & (surface.vertices < high)).all(axis=1))
    if len(rows) == 0:
        return np.zeros_like(surface.vertices)
    points = surface.vertices[rows]
    nearest = path.squared_distances(points).argmin(axis=1)
    offset, normals = points - path.points[nearest], path.normals[nearest]
    across = np.abs(dot(offset, path.sides[nearest])) / half_width
    height = np.abs(dot(offset, normals))
    # along the line the next node is a step away, so that only its ends lie further off
    ahead = np.maximum(np.abs(dot(offset, path.headings[nearest])) - 0.5 * STEP, 0.0)

    lip = LIP * sin(np.pi * np.clip((across - 1) / (LIP_END - 1), 0.0, 1.0))
    profile = np.where(across < 1, across - 1, lip)
    taper = np.minimum(path.arc, path.arc[-1] - path.arc) / (0.15 * path.arc[-1])
    amount = profile * smooth_step(taper)[nearest] * (1 - smooth_step(ahead / half_width))
    amount *= 1 - smooth_step((height - 0.5 * HEIGHT) / (0.5 * HEIGHT))
    amount *= smooth_step(2 * dot(surface.normals[rows], normals))
    displacement = np.zeros_like(surface.vertices)
    displacement[rows] = depth * amount[:, None] * normals
    return displacement
