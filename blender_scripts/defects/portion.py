# SPDX-License-Identifier: GPL-3.0-or-later
"""The portion of a product that is bent, wrung or snapped off: an end of one of its main axes."""

from dataclasses import dataclass

import numpy as np

from blender_scripts.defects.fields import random_direction
from blender_scripts.surface import dot, unit


@dataclass(frozen=True)
class Axes:
    """The main axes: unit directions (3, 3) in rows, and the product's extents (3,) along them."""

    directions: np.ndarray
    extents: np.ndarray


def main_axes(surface):
    """Return the axes of the ellipsoid of inertia of the surface, the longest first."""
    weights = surface.areas / surface.areas.sum()
    centred = surface.centres - np.einsum("f,fi->i", weights, surface.centres)
    _, vectors = np.linalg.eigh(np.einsum("f,fi,fj->ij", weights, centred, centred))
    directions = vectors.T[::-1]
    extents = np.ptp(np.einsum("vi,ki->vk", surface.vertices, directions), axis=0)
    order = np.argsort(-extents, kind="stable")
    return Axes(directions[order], extents[order])


def pick_end(surface, rng, tilt, power):
    """Draw (unit direction (3,) towards an end of the product, its main `Axes`).

    The direction is that of a main axis, likelier the longer (extent ** power), either way, up to
    `tilt` degrees off.
    """
    axes = main_axes(surface)
    chances = axes.extents**power
    axis = axes.directions[rng.choice(3, p=chances / chances.sum())]
    sideways = np.tan(np.radians(rng.uniform(0, tilt))) * random_direction(rng)
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
