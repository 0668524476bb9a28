# SPDX-License-Identifier: GPL-3.0-or-later
"""Scratch: a long, shallow, slightly curved groove with raised edges, as a hard point leaves.

The mesh is refined along the line, the surface within half a width of it is pressed in, and what is
next to the groove is raised a little. Places less than HEIGHT above or below the line move fully,
so the far side of a thin wall does too, and places FAR from it stay.

A sample that is called scratch has passed `no_scratch`: it lies on one side of the product, so
that it neither wrings nor girds it: no two places of its line look more than AROUND degrees apart,
nor two that are a width apart more than EDGE; it is at least SLENDER times as long as wide; and the
surface is wider than it: of what moved at most the share MOST_ASIDE looks ASIDE degrees or more
away from where it moved, as the side of a tube does that is no wider than the groove, and the far
side of an edge. The topology stays; the general tests are those of `plausibility`.

Severity 0 .. 1: length LENGTH (at least SHORTEST where the surface is small), width WIDTH, depth
DEPTH. The line ends where it would leave its side, and on slender products the groove is narrower
and shallower, by the factor NARROWEST at most. Labelled is what moved.
"""

from dataclasses import replace

import numpy as np

from blender_scripts.meshes import GeometryError, subdivide_long_edges
from blender_scripts.portable import arccos, cos, cross, dot, norm, sin
from blender_scripts.shaping.fields import drawn, smooth_step
from blender_scripts.shaping.paths import STEP, long_path
from blender_scripts.shaping.result import DISPLACEMENT_THRESHOLD, deformed, listed
from blender_scripts.surface import Surface, about, inside, unit

LENGTH, WIDTH, DEPTH = (0.60, 1.30), (0.080, 0.150), (0.018, 0.050)
SHORTEST, SLENDER = 0.35, 4.0
AROUND, EDGE = 100.0, 40.0
ASIDE, MOST_ASIDE = 45.0, 0.15
NARROWER, NARROWEST = 0.8, 0.4
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
    if not _long(_one_side(path, NARROWEST * width), NARROWEST * width):  # known before refining
        raise GeometryError("the scratch would run around the product, or over an edge")
    fine = _refined(surface, path, 0.5 * width * LIP_END + 0.02)
    narrower = 1.0
    while narrower >= NARROWEST:
        line = _one_side(path, narrower * width)
        if _long(line, narrower * width):
            displacement = _groove(fine, line, 0.5 * narrower * width, narrower * depth)
            if _aside(fine, displacement) <= MOST_ASIDE:
                break
        narrower = round(narrower * NARROWER, 9)
    else:
        raise GeometryError("the surface is too narrow for a scratch")
    if norm(displacement).max() < 0.5 * narrower * depth:
        raise GeometryError("the scratch misses the surface")
    around, edge = _turns(line.normals, narrower * width)
    return deformed(
        fine,
        displacement,
        {
            "start": listed(line.points[0]),
            "end": listed(line.points[-1]),
            "length": float(line.arc[-1]),
            "width": narrower * width,
            "depth": narrower * depth,
            "around_degrees": around,
            "edge_degrees": edge,
        },
    )


def no_scratch(surface, defect):
    """Say why a deformed `Surface` is no scratch; return "" when it is one."""
    drawn_as, shift = defect.parameters, defect.displacement
    if drawn_as["around_degrees"] > AROUND + 1e-6:
        return "the scratch runs around the product"
    if drawn_as["edge_degrees"] > EDGE + 1e-6:
        return "the scratch crosses an edge"
    if drawn_as["length"] < max(SLENDER * drawn_as["width"], SHORTEST):
        return "a groove that short is no scratch"
    if _aside(Surface(surface.vertices - shift, surface.faces), shift) > MOST_ASIDE:
        return "the surface is too narrow for the scratch"
    return ""


def _aside(surface, shift):
    """Return the share of what a shift (V, 3) moves that looks away from where it moves."""
    moved = (norm(shift) > DISPLACEMENT_THRESHOLD)[surface.faces].all(axis=1)
    if not moved.any():
        return 1.0
    facing = np.abs(dot(surface.face_normals[moved], unit(shift[surface.faces[moved, 0]])))
    area = surface.areas[moved]
    return float(area[facing < cos(np.radians(ASIDE))].sum() / area.sum())


def _one_side(path, width):
    """Return the longest stretch of the path that keeps AROUND and EDGE for a groove's width."""
    first = 0
    best = slice(0, 1)
    cosines = dot(path.normals[:, None], path.normals)
    near = _reach(width)
    for last in range(len(path.points)):
        while cosines[last, first : last + 1].min() < cos(np.radians(AROUND)) or cosines[
            last, max(first, last - near) : last + 1
        ].min() < cos(np.radians(EDGE)):
            first += 1
        if last + 1 - first > best.stop - best.start:
            best = slice(first, last + 1)
    return replace(
        path, points=path.points[best], normals=path.normals[best], sides=path.sides[best]
    )


def _long(line, width):
    return line.arc[-1] >= max(SLENDER * width, SHORTEST)


def _turns(normals, width):
    """Return the greatest angles between two of normals (K, 3), and two a width apart: degrees."""
    cosines = np.clip(dot(normals[:, None], normals), -1.0, 1.0)
    steps = np.arange(len(normals))
    near = np.abs(steps[:, None] - steps) <= _reach(width)
    around, edge = np.degrees(arccos(np.array([cosines.min(), cosines[near].min()])))
    return float(around), float(edge)


def _reach(width):
    """Return how many steps of a line are a width."""
    return max(round(width / STEP), 1)


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
