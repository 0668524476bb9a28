# SPDX-License-Identifier: GPL-3.0-or-later
"""Scratch: a long, shallow, slightly curved groove with raised edges, as a hard point leaves.

The mesh is refined along the line, the surface within half a width of it pressed in, and what is
next to the groove raised a little. What is less than HEIGHT above or below the line moves fully,
so the far side of a thin wall does too, and what is FAR from it stays.

A sample that is called scratch has passed `no_scratch`: it is at least SLENDER times as long as
wide, and the surface wider than it: of what moved at most the share MOST_ASIDE looks ASIDE degrees
or more away from where it moved, as half of a tube does that is no wider than the groove. The
topology stays; the general tests are those of `plausibility`.

Severity 0 .. 1: length LENGTH (at least SHORTEST where the surface is small), width WIDTH, depth
DEPTH. Labelled is what moved.
"""

import numpy as np

from blender_scripts.meshes import GeometryError, subdivide_long_edges
from blender_scripts.portable import cos, cross, dot, norm, sin
from blender_scripts.shaping.fields import drawn, smooth_step
from blender_scripts.shaping.paths import STEP, long_path
from blender_scripts.shaping.result import DISPLACEMENT_THRESHOLD, deformed, listed
from blender_scripts.surface import Surface, about, inside, unit

LENGTH, WIDTH, DEPTH = (0.60, 1.30), (0.080, 0.150), (0.018, 0.050)
SHORTEST, SLENDER = 0.35, 4.0
ASIDE, MOST_ASIDE = 60.0, 0.25
FINEST = 0.010
# The raised edge: its height in depths, and where it ends in half widths.
LIP, LIP_END = 0.25, 2.0
HEIGHT, FAR = 0.03, 0.12


def scratch(surface, rng, severity):
    """Press one scratch into a random place that is visible from outside."""
    length = drawn(rng, severity, *LENGTH)
    width = drawn(rng, severity, *WIDTH)
    depth = drawn(rng, severity, *DEPTH)
    path = long_path(surface, rng, length, SHORTEST, most_turning=0.6)
    fine = _refined(surface, path, 0.5 * width * LIP_END + 0.02)
    displacement = _groove(fine, path, 0.5 * width, depth)
    if norm(displacement).max() < 0.5 * depth:
        raise GeometryError("the scratch misses the surface")
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


def no_scratch(surface, defect):
    """Say why a deformed `Surface` is no scratch; return "" when it is one."""
    if defect.parameters["length"] < SLENDER * defect.parameters["width"]:
        return "a groove that short is no scratch"
    shift = defect.displacement
    faces = surface.faces[(norm(shift) > DISPLACEMENT_THRESHOLD)[surface.faces].all(axis=1)]
    before = Surface(surface.vertices - shift, faces)
    facing = np.abs(dot(before.face_normals, unit(shift[faces[:, 0]])))
    aside = before.areas[facing < cos(np.radians(ASIDE))].sum()
    if aside > MOST_ASIDE * before.areas.sum():
        return "the surface is too narrow for the scratch"
    return ""


def _refined(surface, path, reach):
    """Return the surface with short edges within `reach` of the path."""

    def longest(points):
        limit = np.full(len(points), np.inf)
        rows = about(points, path.points, reach)
        near = path.squared_distances(points[rows]).min(axis=1) < reach * reach
        limit[rows[near]] = FINEST
        return limit

    return Surface(*subdivide_long_edges(surface.vertices, surface.faces, longest, rounds=3))


def _groove(surface, path, half_width, depth):
    """Return the (V, 3) displacement, down inside the groove and up beside it."""
    reach = LIP_END * half_width
    low, high = path.points.min(axis=0) - reach, path.points.max(axis=0) + reach
    rows = np.flatnonzero(inside(surface.vertices, low, high))
    if len(rows) == 0:
        return np.zeros_like(surface.vertices)
    points = surface.vertices[rows]
    nearest = path.squared_distances(points).argmin(axis=1)
    ahead = dot(points - path.points[nearest], path.headings[nearest])
    middle, normals, sides = _between_nodes(path, nearest, ahead)
    offset = points - middle
    across = np.abs(dot(offset, sides)) / half_width
    height = np.abs(dot(offset, normals))
    # along the line the next node is a step away, so that only its ends lie further off
    beyond = np.maximum(np.abs(dot(offset, cross(sides, normals))) - 0.5 * STEP, 0.0)

    lip = LIP * sin(np.pi * np.clip((across - 1) / (LIP_END - 1), 0.0, 1.0))
    profile = np.where(across < 1, -cos(0.5 * np.pi * across), lip)
    along = np.clip(path.arc[nearest] + np.clip(ahead, -STEP / 2, STEP / 2), 0.0, path.arc[-1])
    taper = np.minimum(along, path.arc[-1] - along) / (0.15 * path.arc[-1])
    amount = profile * smooth_step(taper) * (1 - smooth_step(beyond / half_width))
    amount *= 1 - smooth_step((height - HEIGHT) / (FAR - HEIGHT))
    displacement = np.zeros_like(surface.vertices)
    displacement[rows] = depth * amount[:, None] * normals
    return displacement


def _between_nodes(path, nearest, ahead):
    """Return (points, unit normals, unit sides), (N, 3) each, of the line `ahead` (N,) of nodes."""
    share = np.clip(np.abs(ahead) / STEP, 0.0, 0.5)[:, None]
    other = np.clip(nearest + np.where(ahead < 0, -1, 1), 0, len(path.points) - 1)
    points, normals, sides = (
        (1 - share) * item[nearest] + share * item[other]
        for item in (path.points, path.normals, path.sides)
    )
    normals = unit(normals)
    return points, normals, unit(sides - dot(sides, normals)[:, None] * normals)
