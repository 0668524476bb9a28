# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines along the surface, for cracks and scratches."""

from dataclasses import dataclass

import numpy as np

from blender_scripts.meshes import GeometryError
from blender_scripts.portable import cos, cross, dot, norm, sin
from blender_scripts.surface import tangents, unit

STEP = 0.02
# A step up or down (a key, a moulding) larger than this ends the line.
LARGEST_STEP = 0.07
# Share of the surface's normal that the line's own normal takes over at each step.
FOLLOW = 0.35
# A line of this share of the wanted length is long enough, others are tried for a longer one.
ENOUGH = 0.75


@dataclass(frozen=True)
class Path:
    """A line on the surface: points (K, 3), STEP apart; unit normals (K, 3) and sides (K, 3).

    `ends_free` (2,) bool: whether the line ran off an edge at its start and its end.
    """

    points: np.ndarray
    normals: np.ndarray
    sides: np.ndarray
    ends_free: tuple

    @property
    def headings(self):
        """Return (K, 3) unit vectors along the line."""
        return cross(self.sides, self.normals)

    @property
    def arc(self):
        """Return (K,) lengths along the line from its start."""
        return np.r_[0.0, np.cumsum(norm(np.diff(self.points, axis=0)))]

    def squared_distances(self, points):
        """Return (N, K) squared distances of points (N, 3) from the points of the line."""
        return sum(np.square(points[:, None, axis] - self.points[:, axis]) for axis in range(3))


def trace(surface, point, normal, direction, length, turning=0.0):
    """Trace a path over the surface from `point` in `direction`, at most `length` long.

    The line follows the surface as seen from above it, so that it bridges gaps; it ends early
    where the surface does. `turning`: curvature of the line within the surface (radians a unit).
    """
    points, normals = [point], [normal]
    heading = unit(direction - normal * dot(direction, normal))
    free = False
    for _ in range(round(length / STEP)):
        side = cross(normals[-1], heading)
        heading = unit(heading + turning * STEP * side)
        ahead = points[-1] + STEP * heading
        start = ahead + 2 * LARGEST_STEP * normals[-1]
        distance, face = surface.cast(start, -normals[-1], 3 * LARGEST_STEP)
        if face[0] < 0:
            free = True
            break
        if distance[0] < LARGEST_STEP:  # a wall rises ahead
            break
        met = surface.face_normals[face[0]]
        up = normals[-1]
        if dot(met, up) > 0.5:
            up = unit(up + FOLLOW * (met - up))
        points.append(start - distance[0] * normals[-1])
        normals.append(up)
        heading = unit(heading - up * dot(heading, up))
    return _smoothed(np.array(points), np.array(normals), heading, (False, free))


def both_ways(surface, seed, direction, length, turning=0.0):
    """Trace a path through the seed with half of `length` on either side of it."""
    back = trace(surface, seed.point, seed.normal, -direction, length / 2, -turning)
    ahead = trace(surface, seed.point, seed.normal, direction, length / 2, turning)
    points = np.concatenate([back.points[:0:-1], ahead.points])
    normals = np.concatenate([back.normals[:0:-1], ahead.normals])
    return _smoothed(points, normals, direction, (back.ends_free[1], ahead.ends_free[1]))


def long_path(surface, rng, length, shortest, most_turning):
    """Trace a path of about `length` through a random place that is visible from outside.

    A line over an edge, or into a wall, ends there. So up to ten places and directions are tried,
    and the first line of at least ENOUGH of the length is taken, or else the longest. Raises
    GeometryError when none is as long as `shortest`.
    """
    longest = None
    for _ in range(10):
        seed = surface.seed(rng)
        angle = rng.uniform(0, 2 * np.pi)
        across, along = tangents(seed.normal)
        direction = cos(angle) * across + sin(angle) * along
        turning = rng.uniform(-most_turning, most_turning)
        path = both_ways(surface, seed, direction, length, turning)
        if longest is None or path.arc[-1] > longest.arc[-1]:
            longest = path
        if longest.arc[-1] >= ENOUGH * length:
            break
    if longest.arc[-1] < shortest:
        raise GeometryError(f"found no line of length {shortest} on the surface")
    return longest


def _smoothed(points, normals, heading, ends_free):
    """Return the path with normals averaged over five steps."""
    if len(points) > 1:
        heading = np.gradient(points, axis=0)
    padded = np.concatenate([normals[:1], normals[:1], normals, normals[-1:], normals[-1:]])
    normals = unit(sum(padded[i : i + len(normals)] for i in range(5)))
    sides = unit(cross(normals, heading))
    return Path(points, normals, sides, ends_free)
