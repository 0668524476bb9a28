# SPDX-License-Identifier: GPL-3.0-or-later
"""Better triangles on the same surface.

Booleans cut flat regions into needles and into triangles without area, which densifying multiplies
(splitting all edges of a needle of length L gives about (L / longest)^2 pieces, not L / longest).
"""

import numpy as np

from blender_scripts import meshes


def evened(mesh, shares=(0.4, 0.2, 0.1), shortest=2e-4):
    """The mesh without needles, on the same surface but for `shortest` of its diagonal.

    Edges shorter than that are collapsed; then edges are split in steps, down to the last of these
    shares of the diagonal, with the triangles put right by `well_shaped` after each step.
    """
    diagonal = np.linalg.norm(np.ptp(mesh[0], axis=0))
    mesh = well_shaped(without_short_edges(mesh, shortest * diagonal))
    for share in shares:
        mesh = well_shaped(meshes.subdivide_long_edges(*mesh, share * diagonal))
    return mesh


def without_short_edges(mesh, shortest):
    """The mesh with edges shorter than `shortest` collapsed, where it stays a manifold."""
    vertices, faces = mesh
    tried = set()
    while True:
        sides = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
        lengths = np.linalg.norm(vertices[sides[:, 0]] - vertices[sides[:, 1]], axis=1)
        order = np.argsort(lengths, kind="stable")[: np.count_nonzero(lengths < shortest)]
        short = [pair for pair in map(tuple, sides[order].tolist()) if pair not in tried]
        if not short:
            return meshes.clean(vertices, faces)
        for kept, gone in short:
            tried.add((kept, gone))
            around = [faces[(faces == end).any(axis=1)] for end in (kept, gone)]
            if len(np.intersect1d(*around)) == 4 and _can_move(vertices, around[1], kept, gone):
                faces = np.where(faces == gone, kept, faces)
                faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]


def _can_move(vertices, faces, kept, gone):
    """Whether faces around the vertex `gone` keep their side when it moves onto `kept`."""
    faces = faces[(faces != kept).all(axis=1)]
    before, after = (
        np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0])
        for c in (vertices[faces], vertices[np.where(faces == gone, kept, faces)])
    )
    return bool((_dot(before, after) > 0).all())


def well_shaped(mesh, flatness=1e-6, rounds=50):
    """The mesh with edges flipped inside its flat regions until these are Delaunay.

    The vertices, and so the surface, stay as they are. A pair of triangles is flat when it departs
    from a plane by less than `flatness` times the mesh's extent (the rounding of the booleans).
    """
    vertices, faces = mesh
    tolerance = flatness * np.ptp(vertices, axis=0).max()
    faces = faces.copy()
    changed = np.ones(len(faces), dtype=bool)
    for _ in range(rounds):
        sides, pairs, codes = _edges(faces, len(vertices))
        pairs = pairs[changed[pairs // 3].any(axis=1)]
        a, b, c = sides[pairs[:, 0]].T  # triangles (a, b, c) and (b, a, d) become
        d = sides[pairs[:, 1], 2]  # (a, d, c) and (d, b, c)
        new = np.minimum(c, d) * len(vertices) + np.maximum(c, d)
        gain = _gain(*(vertices[i] for i in (a, b, c, d)), tolerance)
        gain[np.isin(new, codes)] = 0  # there is such an edge already
        best = np.flatnonzero(gain > 1e-9)
        best = best[np.argsort(-gain[best], kind="stable")]
        best = best[_first_claims(pairs[best] // 3, new[best], len(faces))]
        changed = np.zeros(len(faces), dtype=bool)
        if not len(best):
            break
        one, two = pairs[best].T // 3
        a, b, c, d = a[best], b[best], c[best], d[best]
        faces[one], faces[two] = np.stack([a, d, c], axis=1), np.stack([d, b, c], axis=1)
        changed[one] = changed[two] = True
    return vertices, faces


def _edges(faces, count):
    """Sides (3F, 3) as (from, to, opposite corner), the two sides (E, 2) of each edge, its code."""
    sides = np.stack([np.roll(faces, -k, axis=1) for k in range(3)], axis=-1).reshape(-1, 3)
    start, stop = sides[:, 0], sides[:, 1]
    codes = np.minimum(start, stop) * count + np.maximum(start, stop)
    order = np.argsort(codes, kind="stable")
    return sides, order.reshape(-1, 2), codes[order[::2]]


def _gain(a, b, c, d, tolerance):
    """How far (E,) an edge a-b is from Delaunay: -sin of the sum of its opposite angles; 0 where a
    flip to c-d would change the surface."""
    normal, other = np.cross(b - a, c - a), np.cross(a - b, d - b)
    size = np.maximum(np.linalg.norm(normal, axis=1), np.linalg.norm(other, axis=1))
    total = normal + other
    flat = np.abs(_dot(d - a, normal)) <= tolerance * size
    flat &= _dot(np.cross(d - a, c - a), total) > 0
    flat &= _dot(np.cross(b - d, c - d), total) > 0
    sines = [np.linalg.norm(np.cross(a - p, b - p), axis=1) for p in (c, d)]
    cosines = [_dot(a - p, b - p) for p in (c, d)]
    lengths = [np.linalg.norm(p - q, axis=1) for p in (a, b) for q in (c, d)]
    sine = sines[0] * cosines[1] + cosines[0] * sines[1]
    return np.where(flat, -sine / np.prod(lengths, axis=0), 0)


def _first_claims(pairs, new, count):
    """Which flips (K,) come first, in order, for both of their faces and for their new edge."""
    rank = np.arange(len(pairs))
    owner = np.full(count, len(pairs))
    np.minimum.at(owner, pairs, rank[:, None])
    first = np.zeros(len(pairs), dtype=bool)
    first[np.unique(new, return_index=True)[1]] = True
    return first & (owner[pairs] == rank[:, None]).all(axis=1)


def _dot(a, b):
    """(E,) scalar products of (E, 3) vectors."""
    return np.einsum("ij,ij->i", a, b)
