# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes as arrays: in and out of Blender, booleans, densifying, and the check for closedness.

A mesh is a pair (vertices (V, 3) float64, faces (F, 3) int64), counter-clockwise from outside.
Geometry enters Blender as arrays (`foreach_set`), never through `bpy.ops.mesh.primitive_*`: those
are not bit-reproducible from run to run.
"""

import bpy
import numpy as np

from blender_scripts.portable import cross, dot, norm, side_products, sixfold_volumes

CUTTER_ATTRIBUTE = "cutter"


class GeometryError(Exception):
    """An operation did not give a usable mesh; the caller may try other parameters."""


def empty_scene():
    """Remove every object and mesh, so that a long-lived worker does not grow."""
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    for item in list(bpy.data.meshes):
        bpy.data.meshes.remove(item)


def add_object(vertices, faces, name="part", mark=None):
    """Add a linked Blender object; `mark` fills the FACE attribute that booleans keep."""
    faces = np.asarray(faces, dtype=np.int32)
    data = bpy.data.meshes.new(name)
    data.vertices.add(len(vertices))
    # attributes take an array as it is, vertices and loops their elements one by one
    data.attributes["position"].data.foreach_set(
        "vector", np.asarray(vertices, dtype=np.float32).ravel()
    )
    data.loops.add(faces.size)
    data.attributes[".corner_vert"].data.foreach_set("value", faces.ravel())
    data.polygons.add(len(faces))
    data.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    data.update(calc_edges=True)
    if mark is not None:
        attribute = data.attributes.new(CUTTER_ATTRIBUTE, "INT", "FACE")
        attribute.data.foreach_set("value", np.full(len(data.polygons), mark, dtype=np.int32))
    item = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(item)
    return item


def read_triangles(data):
    """Read (vertices, faces, polygon index of each face) of a Blender mesh, triangulated."""
    data.calc_loop_triangles()
    vertices = np.zeros(len(data.vertices) * 3, dtype=np.float32)
    data.attributes["position"].data.foreach_get("vector", vertices)
    faces = np.zeros(len(data.loop_triangles) * 3, dtype=np.int32)
    data.loop_triangles.foreach_get("vertices", faces)
    polygons = np.zeros(len(data.loop_triangles), dtype=np.int32)
    data.loop_triangle_polygons.foreach_get("value", polygons)
    return (
        vertices.reshape(-1, 3).astype(np.float64),
        faces.reshape(-1, 3).astype(np.int64),
        polygons,
    )


def boolean(base, cutter, operation="DIFFERENCE"):
    """Combine two closed meshes with Blender's MANIFOLD solver.

    base, cutter : (vertices, faces); operation : "DIFFERENCE", "UNION" or "INTERSECT".
    Returns (vertices, faces, from_cutter (F,) bool: which faces are the cutter's surface).

    Raises GeometryError when the solver changed nothing or left nothing: with an input that is
    not manifold it returns that input uncut and says nothing.
    """
    empty_scene()
    item = add_object(base[0], base[1], mark=0)
    other = add_object(cutter[0], cutter[1], "cutter", mark=1)
    modifier = item.modifiers.new("boolean", "BOOLEAN")
    modifier.solver = "MANIFOLD"
    modifier.operation = operation
    modifier.object = other
    evaluated = item.evaluated_get(bpy.context.evaluated_depsgraph_get())
    data = evaluated.to_mesh()
    vertices, faces, polygons = read_triangles(data)
    marks = np.zeros(len(data.polygons), dtype=np.int32)
    if CUTTER_ATTRIBUTE in data.attributes:
        data.attributes[CUTTER_ATTRIBUTE].data.foreach_get("value", marks)
    evaluated.to_mesh_clear()
    empty_scene()
    from_cutter = marks[polygons] == 1
    if len(faces) == 0:
        raise GeometryError(f"boolean {operation} left nothing")
    if not from_cutter.any():
        raise GeometryError(f"boolean {operation} did not cut")
    return flip_flat_faces(*clean(vertices, faces, from_cutter))


def flip_flat_faces(vertices, faces, marks, tolerance=1e-5):
    """Turn the long edge of every face without area, so that it shares its neighbour's.

    The solver leaves vertices on straight sides of its polygons, and three of them in a row make
    such a face. `marks` (F,): both faces take the neighbour's.
    """
    faces, marks = faces.copy(), marks.copy()
    extent = norm(np.ptp(vertices, axis=0))
    area = areas(vertices, faces)
    for _ in range(10):  # a row of such faces takes a turn each
        # no face can be flat whose area is above this: lengths are needed of few faces only
        flat = np.flatnonzero(area <= tolerance * extent * extent)
        corners = vertices[faces[flat]]
        lengths = norm(corners - np.roll(corners, -1, axis=1))  # 0-1, 1-2, 2-0
        thin = area[flat] <= tolerance * lengths.max(axis=1) * lengths.min(axis=1)
        flat, lengths = flat[thin], lengths[thin]
        if len(flat) == 0:
            break
        long = lengths.argmax(axis=1)
        a, b, c = (faces[flat, (long + k) % 3] for k in range(3))
        near = _around(faces, faces[flat], len(vertices))
        codes = (faces[near] * len(vertices) + np.roll(faces[near], -1, axis=1)).reshape(-1)
        order = np.argsort(codes, kind="stable")
        place = np.searchsorted(codes, b * len(vertices) + a, sorter=order)
        place = order[np.minimum(place, len(codes) - 1)]
        other = near[place // 3]  # the face with the edge b-a
        d = faces[other].sum(axis=1) - a - b
        # the new edge must not be there already, nor come twice
        new = np.minimum(c, d) * len(vertices) + np.maximum(c, d)
        opposite = np.maximum(c, d) * len(vertices) + np.minimum(c, d)
        free = (codes[place] == b * len(vertices) + a) & ~np.isin([new, opposite], codes).any(0)
        free &= np.isin(np.arange(len(new)), np.unique(new, return_index=True)[1])
        # of two turns that share a face, the later waits
        rank = np.where(free, np.arange(len(flat)), len(flat))
        first, pairs = np.full(len(faces), len(flat)), np.stack([flat, other], axis=1)
        np.minimum.at(first, pairs, rank[:, None])
        free &= (first[pairs] == rank[:, None]).all(axis=1)
        a, b, c, d, flat, other = (x[free] for x in (a, b, c, d, flat, other))
        faces[flat], faces[other] = np.stack([a, d, c], axis=1), np.stack([d, b, c], axis=1)
        marks[flat] = marks[other]
        changed = np.concatenate([flat, other])
        area[changed] = areas(vertices, faces[changed])
    return vertices, faces, marks


def _around(faces, some, count):
    """Return the rows of all faces that have a vertex, of `count`, in common with faces `some`."""
    near = np.zeros(count, dtype=bool)
    near[some] = True
    a, b, c = corners(near, faces)
    return np.flatnonzero(a | b | c)


def clean(vertices, faces, marks=None, tolerance=1e-6):
    """Merge vertices closer than `tolerance`, drop collapsed faces and unused vertices.

    `marks` (F,) follows the faces when given. Vertices and faces come out in an order that depends
    on the geometry alone: the boolean solver's threads hand them over in any order.
    """
    # + 0.0 makes -0.0 0.0, so that equal coordinates are equal bytes
    vertices, faces = np.asarray(vertices, dtype=np.float64) + 0.0, np.asarray(faces)
    order = np.lexsort(vertices.T[::-1])
    vertices = vertices[order]
    first, group = _groups(np.round(vertices / tolerance).astype(np.int64))
    number = np.zeros_like(group)
    number[order] = group
    a, b, c = corners(number, faces)
    kept = np.flatnonzero((a != b) & (b != c) & (c != a))
    a, b, c = a[kept], b[kept], c[kept]
    # each begins at its smallest corner
    at_b, at_c = (b < a) & (b < c), (c < a) & (c < b)
    a, b, c = (
        np.where(at_b, second, np.where(at_c, third, first_corner))
        for first_corner, second, third in ((a, b, c), (b, c, a), (c, a, b))
    )
    codes = (a * len(first) + b) * len(first) + c
    rows = np.argsort(codes)
    if (np.diff(codes[rows]) == 0).any():  # the marks of faces on the same vertices stay in order
        rows = np.argsort(codes, kind="stable")
    used, faces = compacted(np.stack([a[rows], b[rows], c[rows]], axis=1))
    result = vertices[first][used], faces
    return result if marks is None else (*result, np.asarray(marks)[kept[rows]])


def corners(values, faces):
    """Return (3, F, ...) the values (V, ...) at the first, second and third corners of faces."""
    return np.take(values, np.transpose(faces), axis=0)


def _groups(keys):
    """Return (first row of each group of equal rows (G,), group of each row (N,)) of keys (N, 3).

    Groups are numbered in the order of their keys.
    """
    x, y, z = np.ascontiguousarray(keys.T)
    y = y - y.min(initial=0)
    across = x * (int(y.max(initial=0)) + 1) + y
    order = np.lexsort((z, across))
    across, z = across[order], z[order]
    begins = np.ones(len(keys), dtype=bool)
    begins[1:] = (across[1:] != across[:-1]) | (z[1:] != z[:-1])
    group = np.zeros(len(keys), dtype=np.int64)
    group[order] = np.cumsum(begins) - 1
    return order[begins], group


def compacted(faces):
    """Return (vertices in use (U,), ascending; faces (F, 3) that number only these, from 0)."""
    used = np.zeros(int(faces.max(initial=-1)) + 1, dtype=bool)
    used[faces] = True
    return np.flatnonzero(used), (np.cumsum(used) - 1)[faces]


def unpaired(faces):
    """Tell (F,) bool which faces are not one of two on the same three vertices.

    Two such faces lie back to back and close each other's gap: both can go.
    """
    a, b, c = np.ascontiguousarray(faces.T)
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    size = high.max(initial=0) + 1
    # these numbers may overflow: faces on the same vertices have the same, others hardly ever
    numbers = (low * size + (a + b + c - low - high)) * size + high
    places = np.argsort(numbers)
    same = np.diff(numbers[places]) == 0
    some = np.unique(np.concatenate([places[:-1][same], places[1:][same]]))
    single = np.ones(len(faces), dtype=bool)
    if len(some):
        ordered = np.sort(faces[some], axis=1)
        _, place, count = np.unique(ordered, axis=0, return_inverse=True, return_counts=True)
        single[some] = count[place.reshape(-1)] != 2
    return single


def join(*parts):
    """Join meshes that do not touch each other into one (no boolean)."""
    vertices, faces, offset = [], [], 0
    for part_vertices, part_faces in parts:
        vertices.append(np.asarray(part_vertices, dtype=np.float64))
        faces.append(np.asarray(part_faces, dtype=np.int64) + offset)
        offset += len(part_vertices)
    return np.concatenate(vertices), np.concatenate(faces)


def ring_faces(rings, points, closed=False):
    """Return the (F, 3) faces between each of `rings` rings of `points` points and the next.

    Points are numbered ring by ring; `closed` joins the last ring to the first as well.
    """
    index = np.arange(rings * points).reshape(rings, points)
    rows = np.arange(rings if closed else rings - 1)
    a, b = index[rows], index[(rows + 1) % rings]
    next_a, next_b = np.roll(a, -1, axis=1), np.roll(b, -1, axis=1)
    sides = [np.stack([a, next_a, next_b], axis=-1), np.stack([a, next_b, b], axis=-1)]
    return np.concatenate([side.reshape(-1, 3) for side in sides])


def subdivide_long_edges(vertices, faces, longest, marks=None, rounds=64):
    """Split edges until none is longer than `longest`; the surface itself does not change.

    longest : a length, or a function (edge midpoints (E, 3)) -> lengths (E,), to refine locally.
    rounds : at most so many halvings; a local refinement needs the bound, because slivers at its
    border could be split for ever.
    An edge is split in both its triangles or in none, so a closed mesh stays closed. `marks`
    (F,) is inherited by the pieces. Returns (vertices, faces[, marks]).
    """
    vertices, faces = np.asarray(vertices, dtype=np.float64), np.asarray(faces, dtype=np.int64)
    with_marks = marks is not None
    marks = np.asarray(marks) if with_marks else np.zeros(len(faces), dtype=bool)
    for _ in range(rounds):
        one, other = faces, faces[:, [1, 2, 0]]
        codes = np.minimum(one, other) * len(vertices) + np.maximum(one, other)
        unique, index = np.unique(codes, return_inverse=True)
        one, other = (vertices.take(end, axis=0) for end in np.divmod(unique, len(vertices)))
        middles = (one + other) / 2
        long = norm(one - other) > (longest(middles) if callable(longest) else longest)
        if not long.any():
            break
        middle = np.full(len(unique), -1, dtype=np.int64)
        middle[long] = len(vertices) + np.arange(long.sum())
        vertices = np.concatenate([vertices, middles[long]])
        faces, marks = _split_faces(faces, middle[index].reshape(-1, 3), vertices, marks)
    return (vertices, faces, marks) if with_marks else (vertices, faces)


def _split_faces(faces, middles, vertices, marks):
    """Retriangulate faces whose edges (0-1, 1-2, 2-0) have midpoints `middles` (-1: none)."""
    count = (middles >= 0).sum(axis=1)
    pieces, owners = [faces[count == 0]], [marks[count == 0]]

    def add(rows, *triangles):
        for triangle in triangles:
            pieces.append(np.stack(triangle, axis=1))
            owners.append(marks[rows])

    three = np.flatnonzero(count == 3)
    (a, b, c), (ab, bc, ca) = faces[three].T, middles[three].T
    add(three, (a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))

    one = np.flatnonzero(count == 1)
    a, b, c, ab, _ = _rotate(faces[one], middles[one], np.argmax(middles[one] >= 0, axis=1))
    add(one, (a, ab, c), (ab, b, c))

    two = np.flatnonzero(count == 2)
    # turned so that the edge without a midpoint is c-a; the quadrilateral a, ab, bc, c is then
    # split along its shorter diagonal
    whole = np.argmax(middles[two] < 0, axis=1)
    a, b, c, ab, bc = _rotate(faces[two], middles[two], (whole + 1) % 3)
    add(two, (ab, b, bc))
    short = norm(vertices[a] - vertices[bc]) < norm(vertices[ab] - vertices[c])
    add(two, (a, ab, np.where(short, bc, c)), (np.where(short, a, ab), bc, c))
    return np.concatenate(pieces), np.concatenate(owners)


def _rotate(faces, middles, start):
    """Return corners a, b, c and the midpoints of a-b and b-c, each face begun at `start`."""
    turn = (start[:, None] + np.arange(3)) % 3
    corners = np.take_along_axis(faces, turn, axis=1)
    midpoints = np.take_along_axis(middles, turn, axis=1)
    return (*corners.T, midpoints[:, 0], midpoints[:, 1])


def without_short_edges(vertices, faces, shortest):
    """Collapse edges shorter than `shortest` where the mesh stays a manifold."""
    tried = set()
    while True:
        sides = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
        lengths = norm(vertices[sides[:, 0]] - vertices[sides[:, 1]])
        order = np.argsort(lengths, kind="stable")[: np.count_nonzero(lengths < shortest)]
        short = [pair for pair in map(tuple, sides[order].tolist()) if pair not in tried]
        if not short:
            return clean(vertices, faces)
        for kept, gone in short:
            tried.add((kept, gone))
            around = [faces[(faces == end).any(axis=1)] for end in (kept, gone)]
            if len(np.intersect1d(*around)) == 4 and _can_move(vertices, around[1], kept, gone):
                faces = np.where(faces == gone, kept, faces)
                faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]


def _can_move(vertices, faces, kept, gone):
    """Check that faces around the vertex `gone` keep their side when it moves onto `kept`."""
    faces = faces[(faces != kept).all(axis=1)]
    before, after = (
        cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0])
        for c in (vertices[faces], vertices[np.where(faces == gone, kept, faces)])
    )
    return bool((dot(before, after) > 0).all())


def closed_problem(vertices, faces):
    """Say why the mesh is not watertight and manifold with outward faces; "" when it is.

    Every directed edge must occur once, and its reverse once; no face may be degenerate.
    """
    faces = np.asarray(faces, dtype=np.int64)
    if len(faces) == 0:
        return "no faces"
    if not np.isfinite(vertices).all():
        return "vertices that are not finite"
    one, other = faces, faces[:, [1, 2, 0]]
    # an edge, and 1 more where it goes to the smaller number: each comes once either way
    edges = np.minimum(one, other) * len(vertices) + np.maximum(one, other)
    codes = np.sort((2 * edges + (one > other)).reshape(-1))
    if (codes[1:] == codes[:-1]).any():
        return "edges shared by more than two faces, or neighbouring faces of opposite orientation"
    if len(codes) % 2 or (codes[::2] + 1 != codes[1::2]).any() or (codes[::2] % 2).any():
        return "open edges"
    if (areas(vertices, faces) <= 1e-14).any():
        return "faces without area"
    if volume(vertices, faces) <= 0:
        return "faces that point inwards"
    return ""


def areas(vertices, faces):
    """Return the (F,) area of each triangle."""
    x, y, z = side_products(vertices, faces)
    return 0.5 * np.sqrt(x * x + y * y + z * z)


def face_normals(vertices, faces):
    """Return the (F, 3) unit normal of each triangle (zero where it has no area)."""
    x, y, z = side_products(vertices, faces)
    length = np.maximum(np.sqrt(x * x + y * y + z * z), 1e-30)
    return np.stack([x / length, y / length, z / length], axis=1)


def volume(vertices, faces):
    """Return the signed volume enclosed by a closed mesh."""
    return float(sixfold_volumes(vertices, faces).sum() / 6)


def vertex_normals(vertices, faces):
    """Return (V, 3) area-weighted unit vertex normals."""
    total = np.zeros((len(vertices), 3))
    for axis, product in enumerate(side_products(vertices, faces)):
        for corner in np.transpose(faces):
            total[:, axis] += np.bincount(corner, weights=product, minlength=len(vertices))
    return total / np.maximum(norm(total)[:, None], 1e-30)
