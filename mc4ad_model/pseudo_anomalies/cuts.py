# SPDX-License-Identifier: Apache-2.0
"""Defects that remove material at once: a ball bitten off, an end cut off.

Points are a sample (N, 3) of the product's surface. Material inside of the cutter goes; where the
cutter's surface is inside of the product, a new surface is exposed and is sampled with the same
density. An open sheet has no inside: material goes, and nothing is exposed. Sizes are drawn
log-uniformly from (low, high), in the unit of the points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mc4ad_model.pseudo_anomalies.draws import Range, log_uniform, unit_vector
from mc4ad_model.pseudo_anomalies.product import Product, Vectors

_CANDIDATES = 8  # places of which a bite takes one, edges rather than plain surface
_EDGE_PREFERENCE = 1.5
_OFFSET = (-0.5, 0.4)  # of the ball's centre from the surface, along the normal, in its radii
_ROUGHNESS = 0.06  # standard deviation of the bitten surface's radius, as a share of it
_SECTION = 0.05  # surface points this near to a plane outline the section of the product there


@dataclass(frozen=True, eq=False)
class Cut:
    """Effects of a cut on a sample of a surface.

    gone : (N,) bool, the points that went with the material. exposed : (M, 3) float64, points on
    the new surface. normals : (M, 3) float64, outward unit normals there.
    """

    gone: NDArray[np.bool_]
    exposed: Vectors
    normals: Vectors


def bite(product: Product, points: Vectors, rng: np.random.Generator, radius: Range) -> Cut:
    """Bite a ball off, rather at an edge or a thin place than in the middle of a plain surface.

    One of some random places is taken, the likelier the more the normals within a radius of it
    differ. The ball's centre lies up to 0.5 radii under the surface or up to 0.4 above it. The
    bitten surface is rough. radius : of the ball.
    """
    size = log_uniform(radius, rng)
    places = rng.integers(len(product.points), size=_CANDIDATES)
    near = product.tree.query_ball_point(product.points[places], size)
    means = np.array([product.normals[members].mean(axis=0) for members in near])  # (C, 3)
    bent = (1.02 - np.sqrt((means * means).sum(axis=1))) ** _EDGE_PREFERENCE
    place = places[rng.choice(_CANDIDATES, p=bent / bent.sum())]
    centre = product.points[place] + product.normals[place] * (size * rng.uniform(*_OFFSET))
    return cut_by_ball(product, points, rng, centre, size)


def cut_by_ball(
    product: Product, points: Vectors, rng: np.random.Generator, centre: Vectors, radius: float
) -> Cut:
    """Take away what is within `radius` of `centre` (3,)."""
    offset = points - centre
    gone = np.einsum("ij,ij->i", offset, offset) < radius**2
    count = rng.poisson(len(points) / product.area * 4 * np.pi * radius**2)
    ray = rng.standard_normal((count, 3))
    length = radius * (1 + _ROUGHNESS * rng.standard_normal(count))
    ray /= np.sqrt((ray * ray).sum(axis=1))[:, None]
    return exposing(product, gone, centre + length[:, None] * ray, -ray)


def cut(product: Product, points: Vectors, rng: np.random.Generator, depth: Range) -> Cut:
    """Cut an end off, along a plane across a random direction.

    depth : of what goes, as a share of the product's extent in that direction.
    """
    direction = unit_vector(rng)
    along = np.einsum("ij,j->i", product.points, direction)
    level = float(along.max()) - log_uniform(depth, rng) * float(np.ptp(along))
    return cut_by_plane(product, points, rng, direction, level)


def cut_by_plane(
    product: Product,
    points: Vectors,
    rng: np.random.Generator,
    direction: Vectors,
    level: float,
) -> Cut:
    """Take away what is farther along the unit vector `direction` (3,) than `level`."""
    gone = np.einsum("ij,j->i", points, direction) > level
    first: Vectors = np.cross(direction, np.eye(3)[np.abs(direction).argmin()])
    first /= np.sqrt((first * first).sum())
    second: Vectors = np.cross(direction, first)
    along = np.einsum("ij,j->i", product.points, direction)
    outline = product.points[np.abs(along - level) < _SECTION]
    if len(outline) == 0:
        return Cut(gone, np.zeros((0, 3)), np.zeros((0, 3)))
    plane = np.stack([outline @ first, outline @ second], axis=1)  # (L, 2)
    low, high = plane.min(axis=0) - _SECTION, plane.max(axis=0) + _SECTION
    count = rng.poisson(len(points) / product.area * float((high - low).prod()))
    place = rng.uniform(low, high, size=(count, 2))
    section = level * direction + place[:, :1] * first + place[:, 1:] * second
    return exposing(product, gone, section, np.broadcast_to(direction, section.shape))


def exposing(
    product: Product, gone: NDArray[np.bool_], candidates: Vectors, normals: Vectors
) -> Cut:
    """Return a cut that exposes those of a cutter's points (K, 3) that lie inside of the product.

    normals : (K, 3), into the cutter.
    """
    inside = product.inside(candidates)
    return Cut(gone, candidates[inside], normals[inside])
