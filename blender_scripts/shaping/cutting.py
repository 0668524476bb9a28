# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts that remove material with a closed cutter, and building blocks of cutters."""

from functools import lru_cache

import numpy as np

from blender_scripts.meshes import (
    GeometryError,
    areas,
    boolean,
    closed_problem,
    compacted,
    corners,
    flip_flat_faces,
    ring_faces,
    subdivide_long_edges,
    unpaired,
)
from blender_scripts.portable import cross, dot, norm
from blender_scripts.shaping.fields import components
from blender_scripts.shaping.result import Defective
from blender_scripts.shaping.topology import border, parts, pieces

RIM_SPACING = 0.005
# A piece that a cut leaves loose is a crumb below this share of the area: it falls off.
CRUMB = 0.01
# A cut close by a vertex leaves edges at the limit of single precision.
SHORT_EDGE = 5e-5


def cut_away(surface, cutter, parameters, loose=CRUMB):
    """Cut the cutter (vertices, faces) out of the surface and return the `Defective`.

    Pieces that the cut leaves loose fall off with it when smaller than the share `loose` of the
    remaining area. Raises GeometryError for a larger loose piece and for a mesh that is not closed.
    """
    # with either mesh at fault the solver returns the uncut product, or never returns
    for name, problem in (("product", surface.problem), ("cutter", closed_problem(*cutter))):
        if problem:
            raise GeometryError(f"the {name} has {problem}")
    vertices, faces, cut = boolean((surface.vertices, surface.faces), cutter)
    faces, cut = _without_short_edges(vertices, faces, cut)
    vertices, faces, cut = flip_flat_faces(vertices, faces, cut)
    faces, cut, dropped = _without_loose_pieces(surface, vertices, faces, cut, loose)
    used, faces = compacted(faces)
    vertices = vertices[used]
    return Defective(
        vertices=vertices,
        faces=faces,
        displacement=np.zeros_like(vertices),
        cut=cut,
        rim=border_points(vertices, faces, cut),
        parameters={**parameters, "loose_pieces_dropped": dropped},
    )


def _without_short_edges(vertices, faces, cut):
    """Return (faces, cut) with the ends of every short edge at the rim made one vertex."""
    near = np.zeros(len(vertices), dtype=bool)
    near[faces[cut]] = True
    a, b, c = corners(near, faces)
    edges = faces[a | b | c][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    length = norm(vertices[edges[:, 0]] - vertices[edges[:, 1]])
    faces = components(edges[length < SHORT_EDGE], len(vertices))[faces]
    a, b, c = faces.T
    kept = (a != b) & (b != c) & (c != a)
    faces, cut = faces[kept], cut[kept]
    single = unpaired(faces)
    return faces[single], cut[single]


def _without_loose_pieces(surface, vertices, faces, cut, loose):
    """Return (faces, cut, number of dropped pieces); parts that the cut did not touch stay."""
    count, labels = parts(faces)
    surplus = count - surface.kept(pieces)[0]
    touched = np.unique(labels[cut])
    if len(touched) < 2 or surplus < 1:
        return faces, cut, 0
    size = np.array([areas(vertices, faces[labels == piece]).sum() for piece in touched])
    total = areas(vertices, faces).sum()
    drop = (size < loose * total) & (size < size.max())
    if surplus > drop.sum():
        raise GeometryError("the cut separates the product")
    kept = ~np.isin(labels, touched[drop])
    return faces[kept], cut[kept], int(drop.sum())


def border_points(vertices, faces, cut):
    """Return (K, 3) points along the edges between cut and untouched faces."""
    if not cut.any() or cut.all():
        return np.zeros((0, 3))
    ends = border(vertices, faces, cut).ends
    shared = np.unique(ends[:, 0] * len(vertices) + ends[:, 1])
    a, b = vertices[shared // len(vertices)], vertices[shared % len(vertices)]
    count = np.maximum(np.ceil(norm(b - a) / RIM_SPACING), 1).astype(int)
    row = np.repeat(np.arange(len(count)), count)
    step = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    share = (step / count[row])[:, None]
    return np.concatenate([a[row] + share * (b - a)[row], b])


def tube(rings):
    """Close rings (K, S, 3), counter-clockwise seen from the last one, to a solid.

    Each ring is joined to the next, and the first and last to their own middles.
    """
    count, around = rings.shape[:2]
    first = np.arange(around)
    last = first + (count - 1) * around
    low, high = np.full(around, count * around), np.full(around, count * around + 1)
    faces = [
        ring_faces(count, around),
        np.stack([low, np.roll(first, -1), first], -1),
        np.stack([high, last, np.roll(last, -1)], -1),
    ]
    middles = rings[[0, -1]].mean(axis=1)
    return np.concatenate([rings.reshape(-1, 3), middles]), np.concatenate(faces)


@lru_cache
def ball(levels):
    """Return an icosahedron on the unit sphere, every face split in four `levels` times."""
    golden = (1 + np.sqrt(5)) / 2
    rectangle = np.array(
        [(-1, golden, 0), (1, golden, 0), (-1, -golden, 0), (1, -golden, 0)], dtype=float
    )
    vertices = np.concatenate([np.roll(rectangle, shift, axis=1) for shift in range(3)])
    distance = norm(vertices[:, None] - vertices[None])
    near = np.abs(distance - 2.0) < 1e-6
    faces = [
        (i, j, k) if dot(vertices[i], cross(vertices[j], vertices[k])) > 0 else (i, k, j)
        for i in range(12)
        for j in range(i + 1, 12)
        for k in range(j + 1, 12)
        if near[i, j] and near[j, k] and near[i, k]
    ]
    # flat faces split evenly: every edge of length 2 ends up as 2 / 2 ** levels
    vertices, faces = subdivide_long_edges(vertices, np.array(faces), 2.02 / 2**levels)
    return vertices / norm(vertices)[:, None], faces
