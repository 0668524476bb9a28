# SPDX-License-Identifier: GPL-3.0-or-later
"""The topology of meshes, and what a cut changed in it: what tells a hole from a bite or a crack.

A cut splits the pristine surface into what stays and what goes, and closes the product again with
the surface that it exposed. Both what went and what is exposed end at the same closed curves.
"""

from dataclasses import dataclass

import numpy as np

from blender_scripts.meshes import (
    clean,
    compacted,
    corners,
    face_normals,
    unpaired,
)
from blender_scripts.portable import dot, norm
from blender_scripts.shaping.fields import components
from blender_scripts.surface import Surface


@dataclass(frozen=True)
class Change:
    """The changes that a cut made to a closed surface.

    loops : closed curves along which the exposed meets the untouched surface. simple : whether
    none of them touches itself or another. exposed, removed : connected pieces of the exposed
    surface, and of the pristine surface that went (taken to have no handle of their own; defined
    where `simple`). genus : by how much the number of handles rose. solids : by how much the number
    of connected solids rose. touched : parts that carry exposed surface, and solids that went.
    """

    loops: int
    simple: bool
    exposed: int
    removed: int
    genus: int
    solids: int
    touched: int


@dataclass(frozen=True)
class Border:
    """The edges (K,) between exposed and untouched surface.

    ends (K, 2): vertex numbers. lengths (K,). normals (K, 3): of the untouched face at each.
    """

    ends: np.ndarray
    lengths: np.ndarray
    normals: np.ndarray

    def mean(self, values):
        """Average `values` (K,) over the length of the border."""
        return float((values * self.lengths).sum() / self.lengths.sum())

    def resultant(self):
        """Return the length of the mean normal: 1 on a plane, 0.7 at both sides of an edge."""
        return float(norm([self.mean(self.normals[:, axis]) for axis in range(3)]))

    def across(self, direction):
        """Return |cos| (K,) of the angles between the normals and a unit direction (3,)."""
        return np.abs(dot(self.normals, direction))


def euler_characteristic(faces):
    """Return vertices - edges + faces of a mesh (faces (F, 3)); unused vertices do not count."""
    if len(faces) == 0:
        return 0
    used, compact = compacted(faces)
    return len(used) - len(np.unique(_codes(compact, len(used)))) + len(faces)


def parts(faces):
    """Return (number of connected parts, (F,) the number 0, 1, ... of the part of each face)."""
    used, compact = compacted(faces)
    labels = components(compact[:, [0, 1, 1, 2]].reshape(-1, 2), len(used))
    numbers = labels == np.arange(len(used))  # each part is named after its first vertex
    return int(numbers.sum()), (np.cumsum(numbers) - 1)[labels[compact[:, 0]]]


def genus(faces):
    """Return the number of handles of a closed mesh, over all its parts: 0 ball, 1 ring."""
    return parts(faces)[0] - euler_characteristic(faces) // 2


def border(vertices, faces, cut):
    """Return the `Border` of the exposed faces, `cut` (F,) bool."""
    size = int(faces.max(initial=0)) + 1
    at_cut = np.zeros(size, dtype=bool)
    at_cut[faces[cut]] = True
    # two corners of a face that has an edge at the cut are corners of exposed faces
    a, b, c = corners(at_cut, faces)
    rows = np.flatnonzero(~cut & ((a & b) | (b & c) | (c & a)))
    untouched = _codes(faces[rows], size)
    place = np.flatnonzero(np.isin(untouched, _codes(faces[cut], size)))
    ends = np.stack([untouched[place] // size, untouched[place] % size], axis=1)
    normals = face_normals(vertices, faces[rows[place // 3]])
    lengths = norm(vertices[ends[:, 0]] - vertices[ends[:, 1]])
    return Border(ends, lengths, normals)


def loops(ends):
    """Return (number of connected curves of edges (K, 2), whether each is a plain closed curve)."""
    used, compact = compacted(ends)
    count = len(np.unique(components(compact, len(used))))
    return count, bool((np.bincount(compact.reshape(-1)) == 2).all())


def pieces(surface):
    """Return the `parts` of a surface."""
    return parts(surface.faces)


def solids(surface):
    """Return the number of connected parts of a closed surface that enclose material, no cavity."""
    count, owner = surface.kept(pieces)
    return int((np.bincount(owner, surface.sixfold_volumes, count) > 0).sum())


def change(surface, result):
    """Return the `Change` from the pristine closed `Surface` to the `Defective` that a cut left."""
    parts_before, euler_before, solids_before = surface.kept(_before)
    after, cut = result.faces, result.cut
    count, simple = loops(border(result.vertices, after, cut).ends)
    (parts_after, owner), euler_after = result.surface.kept(pieces), euler_characteristic(after)
    # what stays is common to both surfaces, and closed curves count nothing: the rest differs
    went = euler_before - euler_after + euler_characteristic(after[cut])
    more = result.surface.kept(solids) - solids_before
    return Change(
        loops=count,
        simple=simple,
        exposed=parts(after[cut])[0],
        removed=(went + count) // 2,
        genus=(parts_after - euler_after // 2) - (parts_before - euler_before // 2),
        solids=more,
        touched=len(np.unique(owner[cut])) + max(0, -more),
    )


def _before(surface):
    """Return (parts, Euler characteristic, solids) of a surface, as a boolean's input."""
    # vertices that lie together in single precision are one in the result of a boolean
    vertices, faces = clean(surface.vertices.astype(np.float32), surface.faces)
    faces = faces[unpaired(faces)]
    return parts(faces)[0], euler_characteristic(faces), solids(Surface(vertices, faces))


def _codes(faces, size):
    """Return (3 F,) a number for each undirected edge: smaller end * size + greater end.

    size : above every vertex number.
    """
    one, other = faces, faces[:, [1, 2, 0]]
    return (np.minimum(one, other) * size + np.maximum(one, other)).reshape(-1)
