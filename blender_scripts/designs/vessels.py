# SPDX-License-Identifier: GPL-3.0-or-later
"""What cones, bowls, vases, bottles, cups and buckets share: profiles for `lathe`, and handles."""

import numpy as np

from blender_scripts.designs.shapes import scale, smooth, sweep


def refined(profile, longest):
    """The profile (K, 2) with points added until no step is longer than `longest`.

    Keeps the strips of a lathe short: densifying multiplies long needles by far more than squares.
    """
    profile = np.asarray(profile, dtype=float)
    pieces = [profile[:1]]
    for start, stop in zip(profile[:-1], profile[1:], strict=True):
        count = max(1, int(np.ceil(np.linalg.norm(stop - start) / longest - 1e-9)))
        pieces.append(start + (stop - start) * np.arange(1, count + 1)[:, None] / count)
    return np.concatenate(pieces)


def hollow(outside, wall, foot=(), lip=7):
    """Profile (K, 2) for `lathe` of an open vessel: its outside, a round lip, its inside.

    outside : (N, 2) of (radius, z) from the bottom up to the lip; the inside keeps `wall` away.
    foot : (radius, z) points, from the axis on, that replace the outside up to the radius of the
    last of them; the inside does not follow them.
    """
    outside = np.asarray(outside, dtype=float)
    along = np.gradient(outside, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    inside = (outside + wall * np.stack([-along[:, 1], along[:, 0]], axis=1))[::-1]
    if len(foot):
        past = np.argmax(outside[:, 0] > foot[-1][0])
        outside = np.concatenate([np.asarray(foot, dtype=float), outside[past:]])
    angles = np.linspace(0, np.pi, lip)[1:-1, None]
    middle, half = (outside[-1] + inside[0]) / 2, (outside[-1] - inside[0]) / 2
    edge = middle + half * np.cos(angles) + wall / 2 * along[-1] * np.sin(angles)
    inside = inside[inside[:, 0] > wall / 4]
    return np.concatenate([outside, edge, inside, [(0, inside[-1, 1])]])


def strap(points, thickness, width, count=32, segments=16):
    """A handle along a smooth curve in the (x, z) plane, `width` wide in y; (K, 2) of (x, z)."""
    path = np.insert(smooth(points, count), 1, 0.0, axis=1)
    return scale(sweep(path, thickness / 2, segments), (1, width / thickness, 1))
