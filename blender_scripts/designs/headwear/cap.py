# SPDX-License-Identifier: GPL-3.0-or-later
"""Caps: a baseball cap and a captain's peaked cap. Units are centimetres."""

import numpy as np

from blender_scripts import meshes
from blender_scripts.designs.shapes import (
    box,
    cylinder,
    difference,
    extrude,
    join,
    lathe,
    move,
    rotate,
    smooth,
    sphere,
    sweep,
    union,
)
from blender_scripts.portable import arctan2, cos, exp, norm, power, sin

DOME = 2.4  # exponent of the baseball cap's superelliptic dome: 2 is an ellipsoid


def baseball_cap(width=18.5, length=20.5, height=12.5, peak=8.5, wall=0.9):
    """Model a six-panel baseball cap: seams, button, eyelets, curved peak, strap at the back."""
    radii = np.array([width, length]) / 2
    arch = cylinder(3.6, length, (0, length * 0.75, 1.2), "y", segments=40)
    eyelets = [
        _outward(cylinder(0.55, 8, axis="y", segments=16), radii * 0.8, angle, height * 0.62)
        for angle in range(0, 360, 60)
    ]
    # The strap's faces lie inside the crown's wall, so that no two surfaces coincide.
    angles, z = np.radians(np.linspace(58, 122, 33))[:, None], np.array([0.15, 2.1])
    strap = _slab(_ellipse(radii - 0.1, angles, z), _ellipse(radii - wall + 0.1, angles, z))
    snaps = [
        _outward(cylinder(0.5, 0.9, axis="y", bevel=0.15, segments=16), radii, angle, 1.1)
        for angle in (74, 82, 90, 98, 106)
    ]
    button = sphere((1.3, 1.3, 0.8), (0, 0, height + 0.2), 24)
    cap = difference(_panelled_crown(radii, height, wall), join(arch, *eyelets))
    return union(cap, strap, join(button, *snaps), _baseball_peak(radii, peak))


def peaked_cap(width=18.5, length=20.5, band=4.6, flare=3.2, wall=1.0):
    """Model a captain's cap: flared crown, piped band, glossy peak, chin strap and badge."""
    radii = np.array([width, length]) / 2
    cap = _flared_crown(radii, band, flare, wall)
    buttons = [sphere((0.9, 1.0, 1.0), (s * (radii[0] + 0.5), -2.4, 1.8), 20) for s in (-1, 1)]
    strap = _ellipse(radii + 0.55, np.radians(np.linspace(-165, -15, 44)), 1.8)
    slides = [_outward(box((0.9, 1.5, 2.0), bevel=0.2), radii + 0.5, a, 1.8) for a in (-118, -62)]
    cap = union(cap, _glossy_peak(radii), sweep(strap, 0.6, 8), join(*buttons, *slides))
    badge = _badge(2.1)
    return union(cap, move(rotate(badge, "x", 24), (0, -radii[1] - 0.2, band + 2.2)))


def _panelled_crown(radii, height, wall):
    """Model a hollow dome with a raised seam between each two of its six panels."""
    width = radii[0]
    angles = np.radians(np.linspace(0, 90, 22))
    curve = power(np.stack([cos(angles), sin(angles)], axis=1).clip(0), 2 / DOME)
    inner = (curve * (width - wall, height - wall))[::-3]
    vertices, faces = lathe(np.concatenate([inner, curve * (width, height)]), 120)
    x, y, z = vertices.T
    outside = (
        power(norm(vertices[:, :2]) / width, DOME) + power(np.maximum(z, 0) / height, DOME) > 0.98
    )
    seams = np.radians([30, 90, 150])
    distance = np.abs(np.outer(x, sin(seams)) - np.outer(y, cos(seams))).min(axis=1)
    normals = vertices / np.square([width, width, height])
    normals /= norm(normals)[:, None]
    ridge = 0.45 * exp(-np.square(distance / 0.5)) * outside
    vertices = vertices + ridge[:, None] * normals
    vertices[:, 1] *= radii[1] / width
    return vertices, faces


def _baseball_peak(radii, reach):
    """Model the peak, bent down at its sides, with rows of stitching."""
    side, out = np.linspace(-1, 1, 41)[:, None], np.linspace(0, 1, 29)
    root = _ellipse(radii - 0.5, np.radians(-90 + 64 * side), 0)
    upper = np.repeat(root, len(out), axis=1)
    share = out * (1 - power(np.abs(side), 2.1))
    upper[..., 1] -= reach * share + 0.3 * out
    stitches = 0.2 * cos(2 * np.pi * 4 * out) * (out > 0.12)
    upper[..., 2] = 1.2 - power(share, 0.6) * (0.6 + 0.06 * np.square(upper[..., 0])) + stitches
    lower = upper - (0, 0, 0.9)
    lower[..., 2] -= stitches
    return _slab(upper, lower)


def _flared_crown(radii, band, flare, wall):
    """Model the cap without its peak: a band between two pipings, the top higher in front."""
    width = radii[0]
    rise = smooth([(0.2, 0.2), (1.0, 1.2), (flare - 0.7, 3.2), (flare, 4.0)], 9)
    outside = [(0.2, 0), (0.5, 0.4), (0.2, 0.8), (0, 0.9), (0, band - 0.9), (0.2, band - 0.8)]
    outside += [(0.55, band - 0.3), *((r, band + z) for r, z in rise)]
    outside += [(flare + r, band + z) for r, z in [(0.5, 4.2), (0.5, 4.7), (0, 5.0), (-0.8, 5.0)]]
    outside += [(flare - 4, band + 5.6), (-width / 2, band + 6.0), (-width, band + 6.1)]
    inside = [(-width, band + 4.9), (flare - 4, band + 4.4), (flare - 1.5, band + 3.7)]
    inside += [(-wall, band), (-wall, 0)]
    vertices, faces = lathe(np.array(inside + outside) + np.array([width, 0]), 48)
    vertices[:, 1] *= radii[1] / width
    above = np.clip(vertices[:, 2] - band, 0, 6) / 6
    vertices[:, 2] -= 0.3 * above * vertices[:, 1]
    vertices[:, 1] += 0.9 * above
    return vertices, faces


def _glossy_peak(radii):
    """Model a short, steep, arched peak with a raised edge."""
    side, out = np.linspace(-1, 1, 33)[:, None], np.linspace(0, 1, 10)
    root = _ellipse(radii - 0.5, np.radians(-90 + 62 * side), 0)
    spread = _ellipse((1.0, 1.0), np.radians(-90 + 62 * side), 0)
    upper = root + spread * (out * (5.2 * (1 - power(np.abs(side), 2.5)) + 0.4))[..., None]
    upper[..., 2] = 1.3 - 3.4 * power(out, 1.4) * (1 - power(np.abs(side), 3)) + 0.35 * (out > 0.85)
    return _slab(upper, upper - (0, 0, 0.9))


def _badge(radius):
    """Model a disc with a raised rim and a star, facing -y."""
    dish = [(0, 0), (radius, 0), (radius, 1.0), (radius - 0.3, 1.3), (radius - 0.6, 1.0), (0, 1.0)]
    points = np.radians(np.linspace(90, 450, 10, endpoint=False))
    reach = np.where(np.arange(10) % 2, 0.32, 0.78)[:, None] * radius
    star = extrude(reach * np.stack([cos(points), sin(points)], axis=1), 1.2, (0, 0, 1))
    return rotate(union(lathe(dish, 40), star), "x", 90)


def _slab(upper, lower):
    """Close the solid between two (N, M, 3) grids of points that do not cross."""
    rows, columns = upper.shape[:2]
    count = rows * columns
    index = np.arange(count).reshape(rows, columns)
    a, b, c, d = (
        i.ravel() for i in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:])
    )
    sheet = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    edge = np.r_[index[:-1, 0], index[-1, :-1], index[:0:-1, -1], index[0, :0:-1]]
    after = np.roll(edge, -1)
    faces = [sheet, sheet[:, ::-1] + count]
    faces += [
        np.stack(t, axis=1)
        for t in [(edge, edge + count, after + count), (edge, after + count, after)]
    ]
    points = np.concatenate([upper.reshape(-1, 3), lower.reshape(-1, 3)])
    vertices, faces = meshes.clean(points, np.concatenate(faces))
    return vertices, faces if meshes.volume(vertices, faces) > 0 else faces[:, ::-1]


def _ellipse(radii, angle, z):
    """Return points of an elliptic cylinder about z; `angle` in radians, arrays broadcast."""
    x, y = radii[0] * cos(angle), radii[1] * sin(angle)
    return np.stack(np.broadcast_arrays(x, y, z), axis=-1)


def _outward(part, radii, degrees, z):
    """Turn a part made along y across an elliptic wall and move it onto the wall."""
    angle = np.radians(degrees)
    normal = np.degrees(arctan2(sin(angle) / radii[1], cos(angle) / radii[0]))
    return move(rotate(part, "z", normal - 90), _ellipse(radii, angle, z))


DESIGNS = {"baseball_cap": baseball_cap, "peaked_cap": peaked_cap}
