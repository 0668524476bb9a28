# SPDX-License-Identifier: GPL-3.0-or-later
"""Tools that the defects share: drawn numbers, smooth steps, rough noise, two sides of a wall."""

import numpy as np

from blender_scripts.surface import Surface, dot, unit


def drawn(rng, severity, slight, severe):
    """Draw a number from `slight` (severity 0) to `severe` (1); a tenth of the range is chance.

    So the lengths of one defect do not move in lockstep, and a third of the severities is still a
    band of sizes of its own.
    """
    return float(slight + (severe - slight) * (0.9 * severity + 0.1 * rng.random()))


def smooth_step(x):
    """Return 0 below 0, 1 above 1, and between them 6 x^5 - 15 x^4 + 10 x^3, without a kink."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * x * (x * (6 * x - 15) + 10)


def random_direction(rng):
    """Draw a vector (3,) uniformly on the unit sphere."""
    return unit(rng.standard_normal(3))


def rough_noise(rng, longest, octaves=4, roughness=0.8, waves=12):
    """Draw a random field, points (N, 3) -> values (N,) with standard deviation about 1.

    Each octave is a sum of plane waves of random direction and phase; the wavelength starts at
    `longest` and halves, the amplitude goes with wavelength ** roughness.
    """
    scale = 0.5 ** np.arange(octaves)
    amplitude = scale**roughness
    amplitude *= np.sqrt(2 / waves / (amplitude**2).sum())
    directions = unit(rng.standard_normal((octaves, waves, 3)))
    phases = rng.uniform(0, 2 * np.pi, (octaves, waves))

    def field(points):
        total = np.zeros(len(points))
        for octave in range(octaves):
            frequency = 2 * np.pi / (longest * scale[octave])
            for direction, phase in zip(directions[octave], phases[octave], strict=True):
                total += amplitude[octave] * np.cos(frequency * dot(points, direction) + phase)
        return total

    return field


def components(edges, count):
    """Return (count,) the smallest vertex number that edges (E, 2) connect each vertex to."""
    labels = np.arange(count)
    while len(edges):
        ends = labels[edges]
        edges = edges[ends[:, 0] != ends[:, 1]]
        ends = labels[edges]
        np.minimum.at(labels, ends.max(axis=1), ends.min(axis=1))
        jumped = labels[labels]
        while not np.array_equal(jumped, labels):
            labels, jumped = jumped, jumped[jumped]
    return labels


def patch_around(surface, face, wanted):
    """Return (V,) bool: the `wanted` (V,) vertices connected to those of `face` by wanted ones."""
    edges = surface.edges[wanted[surface.edges].all(axis=1)]
    labels = components(edges, len(surface.vertices))
    corners = surface.faces[face]
    return wanted & np.isin(labels, labels[corners[wanted[corners]]])


def wall_thickness(surface, vertices, direction, count=24):
    """Return (K,) distances through the material along -direction, from some of the `vertices`."""
    some = vertices[:: max(1, len(vertices) // count)]
    distance, _ = surface.cast(surface.vertices[some], -direction)
    return np.minimum(distance, 2.0)


def carry_other_side(surface, displacement, reach):
    """Return the displacement (V, 3) with the far side of a thin wall moved along.

    A vertex moves with the displaced surface that it meets within `reach` behind it (through the
    wall, along its inward normal), if that moves more than itself: walls keep their thickness.
    """
    size = np.linalg.norm(displacement, axis=1)
    moving = size[surface.faces].max(axis=1) > 1e-6
    near = Surface(surface.vertices, surface.faces[moving])
    low = near.vertices[near.faces].min(axis=(0, 1)) - reach
    high = near.vertices[near.faces].max(axis=(0, 1)) + reach
    rows = np.flatnonzero(((surface.vertices > low) & (surface.vertices < high)).all(axis=1))
    starts, inward = surface.vertices[rows], -surface.normals[rows]
    distance, face = near.cast(starts, inward, reach)
    met = face >= 0
    rows, corners = rows[met], near.faces[face[met]]
    point = starts[met] + inward[met] * distance[met, None]
    weights = _barycentric(point, surface.vertices[corners])
    carried = np.einsum("nc,ncd->nd", weights, displacement[corners])
    more = np.linalg.norm(carried, axis=1) > size[rows]
    # the wall is behind only where its far side looks the other way
    behind = dot(surface.normals[rows], near.face_normals[face[met]]) < -0.3
    chosen = more & behind
    result = displacement.copy()
    result[rows[chosen]] = carried[chosen]
    return result


def _barycentric(points, corners):
    """Return (N, 3) weights of points (N, 3) in triangles (N, 3, 3), none negative."""
    a, b, c = np.moveaxis(corners, 1, 0)
    normal = np.cross(b - a, c - a)
    squared = np.maximum(dot(normal, normal), 1e-30)
    first = dot(np.cross(b - points, c - points), normal) / squared
    second = dot(np.cross(c - points, a - points), normal) / squared
    weights = np.clip(np.stack([first, second, 1 - first - second], axis=1), 0.0, None)
    return weights / weights.sum(axis=1, keepdims=True)
