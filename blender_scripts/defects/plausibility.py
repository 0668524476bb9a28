# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests that a deformation is one that a solid thing can undergo.

`implausible` says what is wrong with a deformed surface. Asked is that

1. it is locally injective: no moved triangle turns over (its normal turns by less than TURNED
   degrees), and none folds onto its neighbour (the two normals come to differ by FOLDED degrees,
   having differed by KINKED degrees less before);
2. it does not pass through itself where the pristine surface did not: no two faces without a common
   corner meet that were TOUCHING or more apart before;
3. the strain is bounded: the principal stretches of every triangle, the singular values of its
   deformation gradient, stay between 1 / stretch and stretch of `STRAINS`;
4. the moved region is continuous: across no edge does the displacement differ by more than the
   `slope` of `STRAINS` times the length of the edge, and the labelled surface is one piece: it
   hangs together over labelled faces and those next to them (the edge of a groove hardly moves), or
   is the other side of the same wall. Where a product is bent or wrung, all that lies at one place
   of the axis moves alike, so the largest piece need only be MAIN of the labelled surface.

Slivers, triangles less than SLIVER high, are left out of tests 1 and 3: meshes from booleans are
full of them, nobody sees them, and the direction of their normal means nothing.
"""

from dataclasses import dataclass

import numpy as np

from blender_scripts.meshes import areas, corners, face_normals
from blender_scripts.portable import arccos, cos, dot
from blender_scripts.shaping.fields import components
from blender_scripts.surface import Surface

TURNED, FOLDED, KINKED = 90.0, 150.0, 30.0
SLIVER = 0.002
# A piece of the labelled surface that has less than this share of it is a leftover of the threshold
# in a relief, and looked at no further.
LEFTOVER = 0.01
MAIN = 0.6
# Products from booleans and repair have faces that all but touch, and coarse faces of a smooth bend
# may cut this deep into each other.
TOUCHING = 0.001
# More pairs of faces than this do not only touch; the gap of each is not measured.
MANY = 64
# A wall is this thick at most, in unit-sphere radii.
WALL = 0.25


@dataclass(frozen=True)
class Strain:
    """Limits of strain: greatest principal stretch (and its inverse), greatest slope."""

    stretch: float
    slope: float


# Bent and wrung products keep their material; sheet metal that is dented or swollen is drawn by
# half its length; a scratch displaces material on a small scale.
STRAINS = {
    "bulge": Strain(2.0, 1.3),
    "concavity": Strain(2.0, 1.3),
    "scratch": Strain(3.0, 2.5),
    "bending": Strain(1.6, 1.0),
    "twist": Strain(1.6, 1.0),
}


def implausible(kind, surface, displacement, labelled):
    """Say why a deformed `Surface` is not plausible; return "" when it is.

    displacement (V, 3): from the pristine surface to this one. labelled (F,) bool.
    """
    before = surface.vertices - displacement
    x, y, z = displacement.T != 0
    moved = np.flatnonzero(surface.at_corners(x | y | z))
    faces = surface.faces[moved]
    solid = faces[np.minimum(heights(before, faces), heights(surface.vertices, faces)) > SLIVER]
    if len(turned_over(before, surface.vertices, solid)):
        return "triangles turn over"
    if len(folded(before, surface.vertices, solid)):
        return "neighbouring triangles are folded"
    limits = STRAINS[kind]
    if slopes(before, displacement, faces).max(initial=0.0) > limits.slope:
        return "the displacement jumps"
    least, most = stretches(before, surface.vertices, solid)
    if most.max(initial=1.0) > limits.stretch or least.min(initial=1.0) < 1 / limits.stretch:
        return "the surface is stretched too far"
    alike = kind in ("bending", "twist")
    if largest_piece(surface, labelled) < (MAIN if alike else 1 - 1e-9):
        return "the labelled surface is in several pieces"
    if len(new_intersections(before, surface, moved)):
        return "the surface passes through itself"
    return ""


def heights(vertices, faces):
    """Return the (F,) least height of each triangle."""
    a, b, c = corners(vertices, faces)
    longest = np.sqrt(np.max([dot(side, side) for side in (a - b, b - c, c - a)], axis=0))
    return 2 * areas(vertices, faces) / np.maximum(longest, 1e-30)


def turned_over(before, after, faces):
    """Return the rows of faces whose normal turns by TURNED degrees or more.

    before, after (V, 3): the vertices of the pristine and of the deformed surface. faces (F, 3).
    """
    cosine = dot(face_normals(before, faces), face_normals(after, faces))
    return np.flatnonzero(cosine <= cos(np.radians(TURNED)) + 1e-12)


def folded(before, after, faces):
    """Return the (K, 2) pairs of neighbouring faces that the deformation folds onto each other."""
    first, second = _neighbours(faces)
    angles = []
    for vertices in (before, after):
        own = face_normals(vertices, faces)
        cosine = np.clip(dot(own[first], own[second]), -1.0, 1.0)
        angles.append(np.degrees(arccos(cosine)))
    wrong = (angles[1] > FOLDED) & (angles[1] - angles[0] > KINKED)
    return np.stack([first[wrong], second[wrong]], axis=1)


def stretches(before, after, faces):
    """Return the principal stretches of each face: (least (F,), greatest (F,)).

    They are the singular values of the linear map that takes the pristine triangle to the deformed
    one, from the eigenvalues of its metric (2 x 2) relative to the pristine triangle's.
    """
    metrics = []
    for vertices in (before, after):
        a, b, c = corners(vertices, faces)
        u, v = b - a, c - a
        metrics.append((dot(u, u), dot(u, v), dot(v, v)))
    (e, f, g), (p, q, r) = metrics
    determinant = np.maximum(e * g - f * f, 1e-30)
    half_trace = 0.5 * (g * p - 2 * f * q + e * r) / determinant
    product = np.maximum(p * r - q * q, 0.0) / determinant
    root = np.sqrt(np.maximum(half_trace * half_trace - product, 0.0))
    return np.sqrt(np.maximum(half_trace - root, 0.0)), np.sqrt(half_trace + root)


def slopes(before, displacement, faces):
    """Return (3 F,) differences of displacement along each edge, as shares of its length."""
    ends = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    along = before[ends[:, 1]] - before[ends[:, 0]]
    change = displacement[ends[:, 1]] - displacement[ends[:, 0]]
    length = np.sqrt(dot(along, along))
    return np.sqrt(dot(change, change)) / np.maximum(length, SLIVER)


def largest_piece(surface, labelled):
    """Return the share of the labelled faces (F,) bool that hang together over faces and walls.

    Pieces smaller than LEFTOVER are not counted.
    """
    near = np.zeros(len(surface.vertices), dtype=bool)
    near[surface.faces[labelled]] = True
    linking = surface.faces[surface.at_corners(near)]
    piece = components(linking[:, [0, 1, 1, 2]].reshape(-1, 2), len(surface.vertices))
    piece = piece[surface.faces[labelled, 0]]
    names, piece = np.unique(piece, return_inverse=True)
    area = np.bincount(piece, surface.areas[labelled])
    large = np.flatnonzero(area > LEFTOVER * area.sum())
    if len(large) < 2:
        return 1.0
    rows = np.flatnonzero(labelled)
    owner = np.full(len(surface.faces), -1)
    owner[rows] = piece
    pairs = []
    for one in large:
        some = surface.spread(owner == one, 24)
        distance, face = surface.cast(surface.centres[some], -surface.face_normals[some], WALL)
        behind = owner[face[np.isfinite(distance)]]
        # most of what is behind it must be labelled too, or it only passes by
        for other in np.unique(behind[behind >= 0]):
            if (behind == other).sum() >= len(some) / 4:
                pairs.append((one, other))
    joined = components(np.array(pairs, dtype=np.int64).reshape(-1, 2), len(names))
    return float(np.bincount(joined[large], area[large]).max() / area[large].sum())


def new_intersections(before, surface, moved):
    """Return (K, 2) pairs of faces that meet, and were TOUCHING or more apart before.

    before (V, 3): the pristine vertices. moved: the rows of the faces that moved, of which each
    pair has one. Faces with a common corner are not counted.
    """
    lows, highs = surface.boxes
    x, y, z = ((highs >= lows[moved].min(axis=0)) & (lows <= highs[moved].max(axis=0))).T
    has_moved = np.zeros(len(surface.faces), dtype=bool)
    has_moved[moved] = True
    rows = np.flatnonzero(x & y & z)
    pairs = _overlaps(surface.vertices, surface.faces, rows)
    pairs = pairs[has_moved[pairs].any(axis=1)]
    if len(pairs) == 0:
        return pairs
    # those that met already are searched among the few faces in question
    known = _overlaps(before, surface.faces, np.unique(pairs))
    codes = [item[:, 0] * len(surface.faces) + item[:, 1] for item in (pairs, known)]
    pairs = pairs[~np.isin(*codes)]
    if len(pairs) > MANY:
        return pairs
    apart = [_gap(before, surface.faces[one], surface.faces[other]) for one, other in pairs]
    return pairs[np.array(apart, dtype=float) >= TOUCHING]


def _gap(vertices, one, other):
    """Return the least distance of a corner of either triangle, (3,) each, from the other."""
    return min(
        Surface(vertices, face[None]).distances(vertices[corners]).min()
        for face, corners in ((one, other), (other, one))
    )


def _overlaps(vertices, faces, rows):
    """Return (K, 2) pairs, smaller first, of the faces `rows` that meet without a common corner."""
    tree = Surface(vertices, faces[rows]).tree
    pairs = rows[np.array(tree.overlap(tree), dtype=np.int64).reshape(-1, 2)]
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    first, second = faces[pairs[:, 0]], faces[pairs[:, 1]]
    return pairs[(first[:, :, None] != second[:, None, :]).all(axis=(1, 2))]


def _neighbours(faces):
    """Return (first (K,), second (K,)): the rows of every two faces with a common edge."""
    ends = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    codes = ends[:, 0] * (faces.max(initial=0) + 1) + ends[:, 1]
    order = np.argsort(codes, kind="stable")
    same = codes[order[1:]] == codes[order[:-1]]
    return order[:-1][same] // 3, order[1:][same] // 3
