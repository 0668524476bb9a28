# SPDX-License-Identifier: GPL-3.0-or-later
"""Scratch: a long, shallow, slightly curved V-groove with raised edges, as a hard point leaves.

The mesh is refined along the line, the surface within half a width of it pressed in, and what is
next to the groove raised a little. Where the wall is thin its far side moves along.

Severity 0 .. 1: length 0.6 .. 1.1 (at least 0.35 where the surface is small), width 0.045 .. 0.07,
depth 0.035 .. 0.06. Labelled is what moved.
"""

import numpy as np

from blender_scripts.defects.fields import carry_other_side, drawn, smooth_step
from blender_scripts.defects.paths import STEP, both_ways
from blender_scripts.defects.result import deformed, listed
from blender_scripts.meshes import GeometryError, subdivide_long_edges
from blender_scripts.surface import Surface, tangents

SHORTEST = 0.35
FINEST = 0.010
# The raised edge: its height in depths, and where it ends in half widths.
LIP, LIP_END = 0.3, 2.0
# Surface this far off the line's height is another part of the product.
HEIGHT = 0.03


def scratch(surface, rng, severity):
    """One scratch at a random place that is visible from outside."""
    length = drawn(rng, severity, 0.60, 1.10)
    width = drawn(rng, severity, 0.045, 0.070)
    depth = drawn(rng, severity, 0.035, 0.060)
    seed = surface.seed(rng)
    angle = rng.uniform(0, 2 * np.pi)
    across, along = tangents(seed.normal)
    direction = np.cos(angle) * across + np.sin(angle) * along
    path = both_ways(surface, seed, direction, length, turning=rng.uniform(-0.6, 0.6))
    reached = float(path.arc[-1])
    if reached < SHORTEST:
        raise GeometryError(f"a scratch only {reached:.2f} long fits there")

    fine = _refined(surface, path, 0.5 * width * LIP_END + 0.02)
    displacement = _groove(fine, path, 0.5 * width, depth)
    if np.linalg.norm(displacement, axis=1).max() < 0.5 * depth:
        raise GeometryError("the scratch misses the surface")
    displacement = carry_other_side(fine, displacement, 1.7 * depth)
    return deformed(
        fine,
        displacement,
        {
            "middle": listed(seed.point),
            "direction": listed(direction),
            "length": reached,
            "width": width,
            "depth": depth,
        },
    )


def _refined(surface, path, reach):
    """The surface with short edges within `reach` of the path."""

    def longest(points):
        squared = (
            (points**2).sum(axis=1)[:, None]
            + (path.points**2).sum(axis=1)
            - 2 * points @ path.points.T
        )
        return np.where(squared.min(axis=1) < reach**2, FINEST, np.inf)

    return Surface(*subdivide_long_edges(surface.vertices, surface.faces, longest, rounds=3))


def _groove(surface, path, half_width, depth):
    """(V, 3) displacement: down inside the groove, up beside it."""
    low = path.points.min(axis=0) - LIP_END * half_width
    high = path.points.max(axis=0) + LIP_END * half_width
    rows = np.flatnonzero(((surface.vertices > low) & (surface.vertices < high)).all(axis=1))
    points = surface.vertices[rows]
    nearest, offset = _foot(points, path)
    normals, sides = path.normals[nearest], path.sides[nearest]
    lateral = np.abs(np.einsum("nd,nd->n", offset, sides)) / half_width
    height = np.abs(np.einsum("nd,nd->n", offset, normals))
    beyond = np.linalg.norm(
        offset
        - sides * np.einsum("nd,nd->n", offset, sides)[:, None]
        - normals * np.einsum("nd,nd->n", offset, normals)[:, None],
        axis=1,
    )
    shape = np.where(
        lateral < 1,
        -(1 - lateral),
        LIP * np.sin(np.pi * np.clip((lateral - 1) / (LIP_END - 1), 0, 1)),
    )
    arc = path.arc
    taper = np.minimum(1.0, np.minimum(arc, arc[-1] - arc) / (0.15 * arc[-1]))
    ends = 1 - smooth_step(beyond / half_width)
    same_level = 1 - smooth_step((height - 0.5 * HEIGHT) / (0.5 * HEIGHT))
    facing = smooth_step(np.einsum("nd,nd->n", surface.normals[rows], normals) / 0.5)
    displacement = np.zeros_like(surface.vertices)
    amount = depth * shape * smooth_step(taper)[nearest] * ends * same_level * facing
    displacement[rows] = amount[:, None] * normals
    return displacement


def _foot(points, path):
    """(nearest node (N,), offset (N, 3) from the nearest point of the line) of points (N, 3)."""
    squared = (
        (points**2).sum(axis=1)[:, None] + (path.points**2).sum(axis=1) - 2 * points @ path.points.T
    )
    nearest = squared.argmin(axis=1)
    offset = points - path.points[nearest]
    # the nearest point lies on the line through the node along its heading, half a step at most
    heading = np.cross(path.sides, path.normals)[nearest]
    along = np.clip(np.einsum("nd,nd->n", offset, heading), -0.5 * STEP, 0.5 * STEP)
    return nearest, offset - along[:, None] * heading
