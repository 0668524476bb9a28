# SPDX-License-Identifier: Apache-2.0
"""Defects that move material: a swelling or dent, and a part that is turned against the rest.

Points are (N, 3), float64, and so is the displacement returned: where a point is after the defect,
minus where it was. Sizes are drawn log-uniformly from (low, high), in the unit of the points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mc4ad_model.pseudo_anomalies.draws import Range, log_uniform, unit_vector
from mc4ad_model.pseudo_anomalies.product import Vectors

# Points whose normal is within about 100 degrees of the centre's swell with it; the other side of a
# wall does not.
_SAME_SIDE = -0.2
# A part begins after this share of the points along a direction, and turns fully after a ramp of
# this share of the product's extent.
_START = (0.15, 0.85)
_SHORTEST = 0.1  # of a part, as a share of the product's extent
_RAMP = (0.1, 0.8)
_LARGEST_ANGLE = 0.7  # radians
_JOINT = 0.1  # points this near to where the part begins are its joint
_ECCENTRICITY = 0.15  # standard deviation of the axis's place, where it is not at the centre
_FARTHEST = 0.98  # the share of the part's points that move by no more than the distance drawn


def swelling(
    points: Vectors,
    normals: Vectors,
    rng: np.random.Generator,
    radius: Range,
    height: Range,
    outward_share: float,
) -> Vectors:
    """Swell the surface around a random point, or dent it.

    Points within a radius of the centre, on its side of the wall, move by the height times
    (1 - (distance / radius)^2)^1.5, along their own normals or all along the centre's, each half of
    the time. radius : from the centre to where nothing moves. height : how far the centre moves.
    outward_share : how often it moves outwards.
    """
    centre = rng.integers(len(points))
    reach = log_uniform(radius, rng)
    top = log_uniform(height, rng) * (1 if rng.random() < outward_share else -1)
    own_normals = rng.random() < 0.5
    offset = points - points[centre]
    fall = 1 - np.einsum("ij,ij->i", offset, offset) / reach**2
    moved = np.flatnonzero(fall > 0)
    moved = moved[np.einsum("ij,j->i", normals[moved], normals[centre]) > _SAME_SIDE]
    displacement = np.zeros(points.shape, dtype=np.float64)
    direction = normals[moved] if own_normals else normals[centre]
    displacement[moved] = top * (fall[moved] ** 1.5)[:, None] * direction
    return displacement


def turn(points: Vectors, rng: np.random.Generator, distance: Range) -> Vectors:
    """Turn the part of the product beyond a random plane about a random axis.

    The plane is across a random direction, every second time an axis of coordinates. The axis is
    along that direction (a twist) or any (a bend), through the middle of the part or of its joint
    with the rest, at times off it. The angle grows smoothly over a ramp behind the plane, beyond
    which the part is as rigid as it was. distance : how far the points move that move farthest; a
    turn of more than 0.7 radians is not made, and then it is less.
    """
    direction = unit_vector(rng)
    if rng.random() < 0.5:
        direction = np.eye(3)[rng.integers(3)] * rng.choice([-1, 1])
    along = np.einsum("ij,j->i", points, direction)
    extent = float(np.ptp(along))
    start = float(np.quantile(along, rng.uniform(*_START)))
    start = min(start, float(along.max()) - _SHORTEST * extent)  # a flat end has many points
    ramp = log_uniform(_RAMP, rng) * extent
    axis = direction if rng.random() < 0.5 else unit_vector(rng)
    joint = np.abs(along - start) < _JOINT if rng.random() < 0.5 else along > start
    eccentricity = rng.choice([0, _ECCENTRICITY]) * rng.standard_normal(3)
    wanted = log_uniform(distance, rng) * rng.choice([-1, 1])
    part = along > start
    if not part.any():
        return np.zeros_like(points)
    centre = points[joint].mean(axis=0) + eccentricity
    weight = smooth_step((along - start) / ramp)
    arm = np.cross(axis, points[part] - centre) * weight[part, None]
    longest = np.quantile(np.sqrt((arm * arm).sum(axis=1)), _FARTHEST)
    if longest * _LARGEST_ANGLE > abs(wanted):
        angle = wanted / longest
    else:
        angle = np.copysign(_LARGEST_ANGLE, wanted)
    return rotate(points, axis, centre, angle * weight)


def smooth_step(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rise from 0 at 0 to 1 at 1, level at both ends and beyond."""
    share = np.clip(share, 0, 1)
    return np.asarray(share * share * (3 - 2 * share))


def rotate(points: Vectors, axis: Vectors, centre: Vectors, angle: NDArray[np.float64]) -> Vectors:
    """Return the displacement of points (N, 3) that turn by angles (N,), in radians, about the unit
    vector `axis` through `centre` (Rodrigues' formula)."""
    displacement = np.zeros(points.shape, dtype=np.float64)
    moved = np.flatnonzero(angle)
    arm = points[moved] - centre
    sine, versine = np.sin(angle[moved])[:, None], 1 - np.cos(angle[moved])[:, None]
    height = np.einsum("ij,j->i", arm, axis)[:, None]
    displacement[moved] = np.cross(axis, arm) * sine + (axis * height - arm) * versine
    return displacement
