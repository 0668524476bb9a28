# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken: an end or a corner of the product snapped off along a rough fracture surface.

What lies beyond a rough surface across a random direction is removed: mostly near a main axis
(longer axes likelier), one time in three towards a corner. The fracture has the self-affine
roughness of real ones: amplitude ~ wavelength ** 0.8, over four octaves.

What makes it broken (`no_break`): the product has lost its outermost end in that direction; of
each part that the break goes through, one connected piece of surface went, so that a wall has no
window; no handle was added; what went is an end and no whole part: no solid of its own, nothing
with handles of its own, as the crown of a cap with its eyelets is, and no more than the share
MOST_GONE of the area; and the break runs across the material, not along a wall as a shaving would:
the mean |cos| of the angles between the direction and the surface at the break's border is at most
MOST_ALONG, and the piece is at least LEAST_DEEP times as deep as the break is wide.

Severity 0 .. 1 sets the share of the extent along the direction that goes, EXTENT; LEAST to MOST
of the volume. Labelled are the cut faces and the rim.
"""

import numpy as np

from blender_scripts.meshes import GeometryError
from blender_scripts.portable import dot
from blender_scripts.shaping.cutting import cut_away
from blender_scripts.shaping.fields import drawn, rough_noise
from blender_scripts.shaping.portion import main_axes, pick_end
from blender_scripts.shaping.result import listed
from blender_scripts.shaping.topology import border, change
from blender_scripts.surface import tangents, unit

EXTENT = (0.08, 0.26)  # share of the extent along the direction: slight, severe
ROUGHNESS = (0.020, 0.035)  # standard deviation of the fracture, in radii
LEAST, MOST = 0.0005, 0.45
MOST_ALONG = 0.75
MOST_GONE = 0.35  # of the area
LEAST_DEEP = 0.2
SPACING = 0.04


def broken(surface, rng, severity):
    """Break one end or corner off. Raises GeometryError where the result is not `broken`."""
    share = drawn(rng, severity, *EXTENT)
    roughness = float(rng.uniform(*ROUGHNESS))
    if rng.random() < 1 / 3:
        axes = main_axes(surface)
        signs = rng.choice([-1.0, 1.0], 3) * rng.uniform(0.5, 1.0, 3)
        # a corner of the box around the product, seen along the diagonal of a cube
        direction = unit((signs[:, None] * axes.directions).sum(axis=0))
    else:
        direction, _ = pick_end(surface, rng, tilt=25.0, power=4.0)
    noise = rough_noise(rng, 0.8)

    s = dot(surface.vertices, direction)
    depth = share * np.ptp(s)
    level = s.max() - depth
    roughness = min(roughness, 0.2 * depth)  # a small piece has a small fracture
    cutter = _beyond(surface, direction, level, lambda points: roughness * noise(points))
    result = cut_away(
        surface,
        cutter,
        {
            "direction": listed(direction),
            "level": float(level),
            "extent_share": share,
            "roughness": roughness,
        },
        loose=0.25,
    )
    if reason := no_break(surface, result, direction):
        raise GeometryError(reason)
    gone = 1 - result.surface.volume / surface.volume
    if not LEAST <= gone <= MOST:
        raise GeometryError(f"{gone:.1%} of the volume would break off")
    result.parameters["volume_share"] = float(gone)
    return result


def no_break(surface, result, direction):
    """Say why a cut does not deserve the name `broken`; return "" when it does."""
    reach = dot(surface.vertices, direction).max()
    if dot(result.vertices, direction).max() > reach - 0.01:
        return "the outermost end would stay"
    seen = change(surface, result)
    if not seen.simple:
        return "the break's border would touch itself"
    if seen.removed > seen.touched:
        return "the break would open a window in a wall"
    if seen.genus > 0:
        return "the break would make a hole"
    edges = border(result.vertices, result.faces, result.cut)
    if len(edges.ends) == 0 or seen.solids < 0 or seen.removed < seen.touched:  # it has handles
        return "a whole part would go"
    if edges.mean(edges.across(direction)) > MOST_ALONG:
        return "the break would run along a wall"
    points = result.vertices[edges.ends[:, 0]]
    across, along = tangents(direction)
    width = max(np.ptp(dot(points, side)) for side in (across, along))
    if reach - edges.mean(dot(points, direction)) < LEAST_DEEP * width:
        return "a shaving would go, no end or corner"
    stays = result.surface.areas[~result.cut].sum()
    if stays < (1 - MOST_GONE) * surface.areas.sum():
        return "a whole part would go"
    return ""


def _beyond(surface, direction, level, height):
    """Return a closed block that holds all beyond the level, its near face shifted by `height`."""
    across, along = tangents(direction)
    beyond = surface.vertices[dot(surface.vertices, direction) > level - 0.2]
    axes = [
        np.arange(dot(beyond, axis).min() - 0.1, dot(beyond, axis).max() + 0.1 + SPACING, SPACING)
        for axis in (across, along)
    ]
    u, v = np.meshgrid(*axes, indexing="ij")
    flat = u[..., None] * across + v[..., None] * along
    near = flat + level * direction
    near += height(near.reshape(-1, 3)).reshape(u.shape)[..., None] * direction
    far = flat + (dot(beyond, direction).max() + 0.2) * direction
    rows, columns = u.shape
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    sheet = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    border = np.concatenate([index[:, 0], index[-1, 1:], index[-2::-1, -1], index[0, -2:0:-1]])
    following = np.roll(border, -1)
    offset = index.size
    sides = np.concatenate(
        [
            np.stack([border, following, following + offset], -1),
            np.stack([border, following + offset, border + offset], -1),
        ]
    )
    faces = np.concatenate([sheet[:, ::-1], sheet + offset, sides])
    return np.concatenate([near.reshape(-1, 3), far.reshape(-1, 3)]), faces
