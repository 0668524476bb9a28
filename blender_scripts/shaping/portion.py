# SPDX-License-Identifier: GPL-3.0-or-later
"""The portion of a product that is bent, wrung or snapped off: an end of one of its main axes."""

from dataclasses import dataclass

import numpy as np

from blender_scripts import portable
from blender_scripts.portable import cross, dot, eigenvectors, tan
from blender_scripts.shaping.fields import random_direction
from blender_scripts.surface import unit

# Two moments are equal when they differ by less than this share of the largest.
ROUND = 0.01


@dataclass(frozen=True)
class Axes:
    """The main axes: unit directions (3, 3) in rows, and the product's extents (3,) along them."""

    directions: np.ndarray
    extents: np.ndarray


def main_axes(surface):
    """Return the axes of the ellipsoid of inertia of the surface, the longest first.

    Moments that are nearly equal say nothing of directions (a bowl, a ring): those axes are as
    near to the axes of the mesh's own frame as they can be.
    """
    weights = surface.areas / surface.areas.sum()
    centred = surface.centres - (weights[:, None] * surface.centres).sum(axis=0)
    moments = [[(weights * a * b).sum() for a in centred.T] for b in centred.T]
    values, vectors = eigenvectors(moments)
    directions = _by_rule(vectors, -np.diff(values) < ROUND * values[0])
    places = dot(surface.vertices[:, None], directions)
    extents = np.round(np.ptp(places, axis=0), 9)
    order = np.argsort(-extents, kind="stable")
    return Axes(directions[order], extents[order])


def _by_rule(vectors, equal):
    """Return main axes (3, 3) in rows that depend on the mesh alone.

    vectors : (3, 3) eigenvectors in rows; equal (2,) : whether the first and second, and the second
    and third moments are nearly equal.
    """
    if equal.all():
        return np.eye(3)
    if equal.any():
        axis = vectors[2 if equal[0] else 0]
        across = np.eye(3)[np.argmin(np.round(np.abs(axis), 6))]
        first = unit(across - axis * dot(across, axis))
        pair = np.array([first, cross(axis, first)])
        vectors = np.vstack([pair, axis] if equal[0] else [axis, pair])
    # of the two ways of an axis, that of its largest part
    largest = np.argmax(np.round(np.abs(vectors), 6), axis=1)
    return vectors * np.sign(vectors[np.arange(3), largest])[:, None]


def pick_end(surface, rng, tilt, power):
    """Draw (unit direction (3,) towards an end of the product, its main `Axes`).

    The direction is that of a main axis, likelier the longer (extent ** power), either way, up to
    `tilt` degrees off.
    """
    axes = surface.kept(main_axes)
    chances = portable.power(axes.extents, power)
    axis = axes.directions[rng.choice(3, p=chances / chances.sum())]
    sideways = tan(np.radians(rng.uniform(0, tilt))) * random_direction(rng)
    return unit(axis * rng.choice([-1.0, 1.0]) + sideways), axes


def start_of_portion(surface, along, share):
    """Return the place along a direction beyond which a share of the product's area lies.

    The share is one of area and not of length, so that the portion that moves is the smaller part
    of a product whose one end is heavier (a vase, a cap), and the larger part stays.
    """
    place = dot(surface.centres, along)
    order = np.argsort(-place, kind="stable")
    area = np.cumsum(surface.areas[order])
    return float(place[order[np.searchsorted(area, share * area[-1])]])
