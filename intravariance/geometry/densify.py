# SPDX-License-Identifier: Apache-2.0
"""Splits the long edges of a closed mesh, so that a defect can bend it everywhere.

Booleans leave long thin triangles in flat regions, and halving all edges of one of length L gives
about (L / longest)^2 pieces. So creases are cut first, into equal pieces, then what is left inside
the flat regions, and after every cut the edges inside flat regions are turned (Delaunay).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blender_scripts.portable import cross, dot, norm
from intravariance.errors import InputError
from intravariance.geometry.mesh import Mesh, mesh_from_arrays
from intravariance.geometry.topology import directed_edges

Vectors = NDArray[np.float64]
Indices = NDArray[np.int64]

_FLAT = 1e-5  # departure from a plane, over the longest edge, up to which two faces are flat
_TURNS = 60  # rounds of turning; the first few do nearly all


def subdivide_long_edges(mesh: Mesh, longest: float, max_faces: int = 2_000_000) -> Mesh:
    """Split edges until none is longer than `longest`; the surface stays the same and closed.

    Raises InputError when the mesh is not closed and consistently oriented, or when more than
    `max_faces` faces would be needed.
    """
    vertices, faces = mesh.vertices.astype(np.float64), mesh.faces.astype(np.int64)
    start, end = directed_edges(faces)
    codes = np.sort(start * len(vertices) + end)
    if (codes[1:] == codes[:-1]).any() or not np.array_equal(
        codes, np.sort(end * len(vertices) + start)
    ):
        raise InputError("only the edges of a closed mesh can be split")
    near = np.ones(len(vertices), dtype=bool)
    for creases in (True, False):
        while True:
            faces, near = _turn_flat_edges(vertices, faces, near)
            sides = norm(vertices[np.roll(faces, -1, axis=1)] - vertices[faces])
            # float32 rounding of what was cut to length must not ask for another cut
            too_long = sides > longest * (1 + 1e-6)
            ends = np.zeros(len(vertices), dtype=bool)
            ends[faces[too_long]] = ends[np.roll(faces, -1, axis=1)[too_long]] = True
            edges = _Edges.of(vertices, faces, ends)
            long = edges.length > longest * (1 + 1e-6)
            long &= ~edges.flat if creases else edges.longest_of_a_face(sides)
            if not long.any():
                break
            if len(faces) + 2 * long.sum() > max_faces:
                raise InputError(f"splitting its long edges takes more than {max_faces:,} faces")
            near[np.concatenate([corner[long] for corner in edges.corners])] = True
            vertices, faces = _cut(vertices, faces, edges, long, longest)
            near = np.append(near, np.ones(len(vertices) - len(near), dtype=bool))
    return mesh_from_arrays(vertices, faces)


@dataclass(frozen=True)
class _Edges:
    """Edges a-b of a closed mesh, each once, with the faces a-b-c and b-a-d on its two sides.

    side, twin : (E,) places of a-b and b-a in `faces.reshape(-1)`. ab, ac, ad : (E, 3) vectors.
    normal : (E, 3) mean normal. flat : (E,) whether the two faces lie in one plane.
    """

    side: Indices
    twin: Indices
    corners: tuple[Indices, Indices, Indices, Indices]
    ab: Vectors
    ac: Vectors
    ad: Vectors
    normal: Vectors
    length: Vectors
    size: Vectors
    flat: NDArray[np.bool_]

    @classmethod
    def of(cls, vertices: Vectors, faces: Indices, among: NDArray[np.bool_]) -> _Edges:
        """Find the edges between some vertices, `among` (V,), of a closed mesh.

        vertices : (V, 3). faces : (F, 3).
        """
        places = _places_among(faces, among)
        corners, first = faces.reshape(-1), places // 3 * 3
        start, end, apex = (corners[first + (places + turn) % 3] for turn in range(3))
        chosen = np.flatnonzero(start < end)
        chosen = chosen[np.argsort(start[chosen] * len(vertices) + end[chosen])]
        other = np.flatnonzero(start > end)
        other = other[np.argsort(end[other] * len(vertices) + start[other])]
        side, twin = places[chosen], places[other]
        a, b, c, d = start[chosen], end[chosen], apex[chosen], apex[other]
        origin = vertices.take(a, axis=0)
        ab, ac, ad = (vertices.take(corner, axis=0) - origin for corner in (b, c, d))
        normal = cross(ab, ac) + cross(ad, ab)
        normal /= np.maximum(norm(normal)[:, None], 1e-300)
        length = norm(ab)
        size = np.sqrt(np.maximum.reduce([dot(v, v) for v in (ab, ac, ad)]))
        departure = np.maximum(np.abs(dot(ac, normal)), np.abs(dot(ad, normal)))
        flat = departure < _FLAT * size
        # two faces folded onto each other lie in one plane too
        flat &= (dot(cross(ab, ac), normal) >= 0) & (dot(cross(ad, ab), normal) >= 0)
        return cls(side, twin, (a, b, c, d), ab, ac, ad, normal, length, size, flat)

    def longest_of_a_face(self, sides: Vectors) -> NDArray[np.bool_]:
        """Return (E,) whether the edge is the longest of one of its two faces.

        sides : (F, 3) lengths of the edges 0-1, 1-2 and 2-0 of all faces.
        """
        top = sides.max(axis=1) * (1 - 1e-9)
        return np.asarray(self.length >= np.minimum(top[self.side // 3], top[self.twin // 3]))


def _places_among(faces: Indices, among: NDArray[np.bool_]) -> Indices:
    """Return the places in `faces.reshape(-1)` of the edges between some vertices (V,) bool."""
    chosen = among[faces]
    return np.flatnonzero(chosen & chosen[:, [1, 2, 0]])


def _turn_flat_edges(
    vertices: Vectors, faces: Indices, among: NDArray[np.bool_]
) -> tuple[Indices, NDArray[np.bool_]]:
    """Turn the edges inside flat regions until they are locally Delaunay.

    among : (V,) between which vertices edges may have to be turned. Returns the faces, and between
    which vertices edges wait that cannot be turned.
    """
    faces = faces.copy()
    for _ in range(_TURNS):
        edges = _Edges.of(vertices, faces, among)
        a, b, c, d = edges.corners
        ab, ac, ad, normal = edges.ab, edges.ac, edges.ad, edges.normal
        # the angles opposite the edge add up to more than 180 degrees: cot + cot < 0
        cotangents = dot(ac, ac - ab) * dot(cross(ad, ab), normal)
        cotangents += dot(ad, ad - ab) * dot(cross(ab, ac), normal)
        smallest = 1e-9 * np.square(edges.size)  # twice the area of each new face, at least
        wanted = edges.flat & (cotangents < -1e-7 * np.square(np.square(edges.size)))
        wanted &= dot(cross(ad, ac), normal) > smallest
        wanted &= dot(cross(ab - ad, ac - ad), normal) > smallest
        # only an edge that waits, or one of a face that changes now, can be turned next
        among = np.zeros(len(vertices), dtype=bool)
        among[np.concatenate([corner[wanted] for corner in edges.corners])] = True
        places = _places_among(faces, among)
        start, end = faces.reshape(-1)[places], np.roll(faces, -1, axis=1).reshape(-1)[places]
        present = np.minimum(start, end) * len(vertices) + np.maximum(start, end)
        new = np.minimum(c, d) * len(vertices) + np.maximum(c, d)
        turns = np.flatnonzero(wanted)
        turns = turns[~np.isin(new[turns], present)]
        if len(turns) == 0:
            break
        # the worst first; of turns that share a face or a new edge, the later ones wait
        turns = turns[np.argsort(cotangents[turns], kind="stable")]
        pairs = np.stack([edges.side[turns], edges.twin[turns]], axis=1) // 3
        first = np.full(len(faces), len(turns))
        rank = np.arange(len(turns))
        np.minimum.at(first, pairs, rank[:, None])
        turns = turns[(first[pairs] == rank[:, None]).all(axis=1)]
        turns = turns[np.unique(new[turns], return_index=True)[1]]
        faces[edges.side[turns] // 3] = np.stack([a[turns], d[turns], c[turns]], axis=1)
        faces[edges.twin[turns] // 3] = np.stack([d[turns], b[turns], c[turns]], axis=1)
    return faces, among


def _cut(
    vertices: Vectors, faces: Indices, edges: _Edges, long: NDArray[np.bool_], longest: float
) -> tuple[Vectors, Indices]:
    """Cut the edges `long` (E,) once, each where a whole number of equal pieces fits."""
    pieces = np.maximum(np.ceil(edges.length[long] / longest - 1e-6), 2)
    share = (pieces // 2 / pieces)[:, None]
    cuts = np.full(3 * len(faces), -1, dtype=np.int64)
    cuts[edges.side[long]] = cuts[edges.twin[long]] = len(vertices) + np.arange(long.sum())
    new = vertices[edges.corners[0][long]] + share * edges.ab[long]
    vertices = np.concatenate([vertices, new])
    return vertices, _split_faces(faces, cuts.reshape(-1, 3), vertices)


def _split_faces(faces: Indices, cuts: Indices, vertices: Vectors) -> Indices:
    """Retriangulate faces with cuts (F, 3) in their edges 0-1, 1-2, 2-0 (-1: none)."""
    count = (cuts >= 0).sum(axis=1)
    pieces = [faces[count == 0]]

    def add(*triangles: tuple[Indices, Indices, Indices]) -> None:
        pieces.extend(np.stack(triangle, axis=1) for triangle in triangles)

    (a, b, c), (ab, bc, ca) = faces[count == 3].T, cuts[count == 3].T
    add((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
    one = faces[count == 1], cuts[count == 1]
    a, b, c, ab, _ = _turned(*one, np.argmax(one[1] >= 0, axis=1))
    add((a, ab, c), (ab, b, c))
    # two: the edge without a cut comes last (c-a), the quadrilateral a, ab, bc, c is split along
    # its shorter diagonal
    two = faces[count == 2], cuts[count == 2]
    a, b, c, ab, bc = _turned(*two, (np.argmax(two[1] < 0, axis=1) + 1) % 3)
    diagonals = vertices[a] - vertices[bc], vertices[ab] - vertices[c]
    short = norm(diagonals[0]) < norm(diagonals[1])
    add((ab, b, bc), (a, ab, np.where(short, bc, c)), (np.where(short, a, ab), bc, c))
    return np.concatenate(pieces)


def _turned(faces: Indices, cuts: Indices, start: Indices) -> tuple[Indices, ...]:
    """Return corners a, b, c and the cuts in a-b and b-c of each face, begun at `start`."""
    turn = (start[:, None] + np.arange(3)) % 3
    corners = np.take_along_axis(faces, turn, axis=1)
    cuts = np.take_along_axis(cuts, turn, axis=1)
    return (*corners.T, cuts[:, 0], cuts[:, 1])
