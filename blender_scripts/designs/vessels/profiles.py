# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles for `lathe` and handles, shared by the designs of open vessels."""

from itertools import pairwise

import numpy as np

from blender_scripts.designs.shapes import scale, smooth, sweep
from blender_scripts.portable import arccos, cos, norm, sin, tan


def refined(profile, longest):
    """Add points to the profile (K, 2) until no step is longer than `longest`.

    This keeps the strips of a lathe short: densifying multiplies long needles by far more than
    squares.
    """
    profile = np.asarray(profile, dtype=float)
    pieces = [profile[:1]]
    for start, stop in pairwise(profile):
        count = max(1, int(np.ceil(norm(stop - start) / longest - 1e-9)))
        pieces.append(start + (stop - start) * np.arange(1, count + 1)[:, None] / count)
    return np.concatenate(pieces)


def hollow(outside, wall, foot=(), bead=0.0, count=10):
    """Return the profile (K, 2) of an open vessel for `lathe`: outside, a round lip, inside.

    outside : (N, 2) of (radius, z) from the bottom up to the lip; the inside keeps `wall` away.
    foot : (radius, z) points, from the axis on, that replace the outside up to the radius of the
    last of them; the inside does not follow them.
    bead : by how much the radius of a rolled lip exceeds half the wall; `count` : its points.
    """
    outside = np.asarray(outside, dtype=float)
    along = np.gradient(outside, axis=0)
    along /= norm(along)[:, None]
    outward = np.stack([along[:, 1], -along[:, 0]], axis=1)
    inside = (outside - wall * outward)[::-1]
    radius = wall / 2 + bead
    start = -arccos(wall / radius - 1)  # where the lip's circle leaves the outside
    angles = np.linspace(start, np.pi, count)[:-1, None]
    lip = inside[0] + radius * ((1 + cos(angles)) * outward[-1] + sin(angles) * along[-1])
    below = ((outside[-1] - outside) * along[-1]).sum(axis=1) > -radius * sin(start) + 1e-9
    outside = outside[below]
    if len(foot):
        past = np.argmax(outside[:, 0] > foot[-1][0])
        outside = np.concatenate([np.asarray(foot, dtype=float), outside[past:]])
    inside = inside[inside[:, 0] > wall / 4]
    return np.concatenate([outside, lip, inside, [(0, inside[-1, 1])]])


def cushion(angle, r, z):
    """Shape a lathe's radius (`radius_at`) to a square with round corners and bulging sides.

    Sides without any bulge would leave slivers where a boolean cuts them.
    """
    aside = (angle + np.pi / 4) % (np.pi / 2) - np.pi / 4  # from the middle of the side
    return np.minimum((1 + 0.07 * (1 - np.square(tan(aside)))) / cos(aside), 1.28)


def strap(points, thickness, width, count=32, segments=16):
    """Model a handle along a smooth curve (K, 2) in the (x, z) plane, `width` wide in y."""
    path = np.insert(smooth(points, count), 1, 0.0, axis=1)
    return scale(sweep(path, thickness / 2, segments), (1, width / thickness, 1))
