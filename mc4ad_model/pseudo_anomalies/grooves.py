# SPDX-License-Identifier: Apache-2.0
"""A defect that removes a narrow strip of material: a wandering, branching groove, as a crack is.

A groove follows a path on the surface. It is a wedge: as wide as it says at the surface, and closed
at its depth. Material inside of the wedge goes, on the far side of a thin wall too. Its two flanks
are exposed where they are inside of the product, and sampled with the density of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mc4ad_model.pseudo_anomalies.cuts import Cut, exposing
from mc4ad_model.pseudo_anomalies.draws import Range, log_uniform
from mc4ad_model.pseudo_anomalies.product import Product, Vectors

STEP = 0.03  # length of a path's steps
ABOVE = 0.05  # a groove takes this much above its path's planes, where the surface bulges
_DRIFT = 0.05  # standard deviation of a path's bend, in radians a step
_WANDER = 0.25  # standard deviation of a step's own turn
_BEND = 0.2  # a path ends where the surface turns so far that normals have a smaller cosine
_BRANCHES = 4  # fewer than this
_BRANCH_LENGTH = (0.2, 0.45)  # of a branch, as a share of the whole
_BRANCH_SIZE = 0.75  # width and depth of a branch at its root, as a share of the path's
_TOGETHER = 0.2  # spread of width and depth, as a share of their ranges, about a common share
_ROUGHNESS = 0.006  # standard deviation of the flanks


@dataclass(frozen=True, eq=False)
class Path:
    """Places in a row on a surface.

    points, normals, tangents : (P, 3) float64. size : (P,) width and depth of a groove there, as a
    share of its largest.
    """

    points: Vectors
    normals: Vectors
    tangents: Vectors
    size: NDArray[np.float64]


def groove(
    product: Product,
    points: Vectors,
    rng: np.random.Generator,
    length: Range,
    width: Range,
    depth: Range,
) -> Cut:
    """Cut a wandering groove with up to three branches, from a random place in a random direction.

    It tapers to both ends, branches to theirs. A path ends early at a sharp edge. length : of the
    main path. width, depth : of the groove where it is largest; deep grooves tend to be wide.
    Sizes are drawn log-uniformly from (low, high), in the unit of the points.
    """
    start = int(rng.integers(len(product.points)))
    reach = log_uniform(length, rng)
    share = rng.random()
    wide, deep = (
        low * (high / low) ** np.clip(share + _TOGETHER * rng.standard_normal(), 0, 1)
        for low, high in (width, depth)
    )
    main = trace(product, start, rng.standard_normal(3), reach, rng)
    along = np.linspace(-1, 1, len(main))
    parts, sizes = [main], [0.2 + 0.8 * np.sqrt(np.clip(1 - along**2, 0, 1))]
    for _ in range(rng.integers(_BRANCHES)):
        place, normal, tangent = main[rng.integers(len(main))]
        aside = tangent + np.cross(normal, tangent) * rng.choice([-1, 1])
        _, root = product.tree.query(place)
        branch = trace(product, root, aside, reach * rng.uniform(*_BRANCH_LENGTH), rng)
        parts.append(branch)
        sizes.append(_BRANCH_SIZE * np.sqrt(1 - 0.95 * np.linspace(0, 1, len(branch))))
    steps = np.concatenate(parts)  # (P, 3, 3)
    path = Path(steps[:, 0], steps[:, 1], steps[:, 2], np.concatenate(sizes))
    return carve(product, points, rng, path, wide, deep)


def trace(
    product: Product, start: int, towards: Vectors, length: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Walk on the surface from the surface point `start`, in the direction `towards` (3,).

    Returns (P, 3, 3) float64: place, normal and tangent of each step, the start's first.
    """
    count = int(length / STEP)
    turns = _DRIFT * rng.standard_normal() + _WANDER * rng.standard_normal(count)
    place, normal = product.points[start], product.normals[start]
    tangent = _tangential(towards, normal)
    steps = [(place, normal, tangent)]
    for turn in turns:
        tangent = tangent * np.cos(turn) + np.cross(normal, tangent) * np.sin(turn)
        place = place + STEP * tangent
        _, index = product.tree.query(place)
        below = product.normals[index]
        place = place - ((place - product.points[index]) * below).sum() * below
        if (below * normal).sum() < _BEND:
            break
        normal, tangent = below, _tangential(tangent, below)
        steps.append((place, normal, tangent))
    return np.array(steps)


def carve(
    product: Product,
    points: Vectors,
    rng: np.random.Generator,
    path: Path,
    width: float,
    depth: float,
) -> Cut:
    """Cut a groove of the given largest width and depth along a path."""
    gone = _in_wedge(points, path, width, depth)
    # two flanks, each the hypotenuse of half the width and the depth
    area = 2 * STEP * float(np.hypot(width / 2, depth)) * float(path.size.sum())
    count = rng.poisson(len(points) / product.area * area)
    place = rng.choice(len(path.points), size=count, p=path.size / path.size.sum())
    share = rng.random(count)  # of the depth
    side = rng.choice([-1, 1], size=count)
    aside = side * (1 - share) * path.size[place] * width / 2
    aside += _ROUGHNESS * rng.standard_normal(count)
    along = rng.uniform(-0.5, 0.5, size=count) * STEP
    tangents, normals = path.tangents[place], path.normals[place]
    flanks = path.points[place] + along[:, None] * tangents
    flanks -= (share * depth * path.size[place])[:, None] * normals
    across = np.cross(normals, tangents)
    flanks += aside[:, None] * across
    facing = width / 2 * normals - (side * depth)[:, None] * across
    return exposing(product, gone, flanks, facing / np.hypot(width / 2, depth))


def _in_wedge(points: Vectors, path: Path, width: float, depth: float) -> NDArray[np.bool_]:
    """Say which of points (N, 3) lie in the groove."""
    reach = float(np.hypot(max(depth, ABOVE), width / 2)) + STEP
    low, high = path.points.min(axis=0) - reach, path.points.max(axis=0) + reach
    close = np.flatnonzero(((points > low) & (points < high)).all(axis=1))
    distance, step = cKDTree(path.points).query(points[close], distance_upper_bound=reach)
    close, step = close[np.isfinite(distance)], step[np.isfinite(distance)]
    offset = points[close] - path.points[step]
    height = np.einsum("ij,ij->i", offset, path.normals[step])
    along = np.einsum("ij,ij->i", offset, path.tangents[step])
    binormal = np.cross(path.normals[step], path.tangents[step])
    aside = np.einsum("ij,ij->i", offset, binormal)
    size = path.size[step]
    # full width at the surface and above, none at the depth
    half_width = size * width / 2 * np.clip(1 + height / (size * depth), 0, 1)
    gone = np.zeros(len(points), dtype=bool)
    gone[close] = (np.abs(aside) < half_width) & (np.abs(along) < STEP) & (height < ABOVE)
    return gone


def _tangential(vector: Vectors, normal: Vectors) -> Vectors:
    """Return the direction of a vector (3,) within the plane of a unit normal (3,)."""
    flat = vector - (vector * normal).sum() * normal
    return np.asarray(flat / (np.sqrt((flat * flat).sum()) + 1e-9))
