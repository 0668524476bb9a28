# SPDX-License-Identifier: GPL-3.0-or-later
"""The building blocks of the designs: closed solids, and booleans between them.

Every function returns a mesh (vertices (V, 3), faces (F, 3)) that is closed, manifold and faces
outwards. Units are the designer's own (the build scales each design to the unit sphere); z is up.
"""

import bpy  # first: with bpy as a module, bmesh can be imported only after it

# isort: split
import bmesh
import numpy as np
from mathutils import Vector
from mathutils.geometry import tessellate_polygon

from blender_scripts import meshes
from blender_scripts.portable import cos, cross, dot, norm, sin


def box(size, centre=(0, 0, 0), bevel=0.0, segments=2):
    """Make a box of the given (x, y, z) size; `bevel` rounds every edge with that width."""
    corners = np.array(
        [[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
    ) * np.asarray(size, dtype=float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return move(_bevelled(corners, quads, bevel, segments), centre)


def boxes(size, centres, bevel=0.0, segments=1):
    """Make a list of boxes of one size, one at each of the centres."""
    return [box(size, centre, bevel, segments) for centre in centres]


def span(x, y, z, bevel=0.0, segments=1):
    """Make a box given by its (from, to) along each axis; `bevel` chamfers every edge."""
    spans = np.array([x, y, z], dtype=float)
    return box(spans[:, 1] - spans[:, 0], spans.mean(axis=1), bevel, segments)


def cylinder(radius, height, centre=(0, 0, 0), axis="z", bevel=0.0, segments=48, top_radius=None):
    """Make a cylinder (a frustum, with `top_radius`) along x, y or z, its rims chamfered."""
    top = radius if top_radius is None else top_radius
    half = height / 2
    profile = [(0, -half), (radius - bevel, -half), (radius, -half + bevel)]
    profile += [(top, half - bevel), (max(top - bevel, 0), half), (0, half)]
    return move(turn_to(lathe(profile, segments), axis), centre)


def sphere(radius, centre=(0, 0, 0), segments=32):
    """Make a UV sphere (`radius` may be three semi-axes)."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
    profile = np.stack([cos(angles), sin(angles)], axis=1)
    profile[[0, -1], 0] = 0
    vertices, faces = lathe(profile, segments)
    return move((vertices * np.broadcast_to(radius, 3), faces), centre)


def torus(radius, thickness, centre=(0, 0, 0), axis="z", segments=48, rings=16):
    """Make a ring: `radius` from the axis to the middle of a tube of radius `thickness`."""
    angles = np.linspace(0, 2 * np.pi, rings, endpoint=False)
    profile = np.stack([radius + thickness * cos(angles), thickness * sin(angles)], axis=1)
    return move(turn_to(lathe(profile, segments, closed=True), axis), centre)


def lathe(profile, segments=64, closed=False, radius_at=None):
    """Make a solid of revolution about z.

    profile : (K, 2) of (radius, z). Open: from the axis to the axis, both ends at radius 0, the
    bottom end first, so that outside lies to its right. Closed: a loop that does not touch the
    axis, counter-clockwise in the (radius, z) plane.
    radius_at : optional function (angle (S,), radius (K, 1), z (K, 1)) -> factor on the radius,
    for flutes and facets.
    """
    profile = np.asarray(profile, dtype=float)
    keep = np.r_[True, norm(np.diff(profile, axis=0)) > 1e-9]
    profile = profile[keep]
    angles = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    radius, z = profile[:, :1], profile[:, 1:]
    factor = 1.0 if radius_at is None else radius_at(angles[None, :], radius, z)
    rings = np.stack(
        np.broadcast_arrays(radius * factor * cos(angles), radius * factor * sin(angles), z),
        axis=-1,
    )  # (K, S, 3)
    faces = meshes.ring_faces(len(profile), segments, closed)
    return meshes.clean(rings.reshape(-1, 3), faces)  # rings of radius 0 collapse to one vertex


def extrude(outline, height, centre=(0, 0, 0), axis="z", bevel=0.0, segments=2):
    """Make a prism over a simple polygon (K, 2), counter-clockwise, centred on half its height.

    With axis "x" the outline lies in the (y, z) plane, with "y" in (z, x), with "z" in (x, y).
    """
    outline = np.asarray(outline, dtype=float)
    count = len(outline)
    bottom = np.c_[outline, np.full(count, -height / 2)]
    top = np.c_[outline, np.full(count, height / 2)]
    sides = [(i, (i + 1) % count, count + (i + 1) % count, count + i) for i in range(count)]
    caps = [tuple(range(count))[::-1], tuple(range(count, 2 * count))]
    solid = _bevelled(np.concatenate([bottom, top]), sides + caps, bevel, segments)
    return move(turn_to(solid, axis), centre)


def sweep(path, radius, segments=16, closed=False):
    """Make a tube along a polyline (K, 3); `radius` is one number or one for each path point.

    Frames are carried along without twisting; the ends are capped flat.
    """
    path = np.asarray(path, dtype=float)
    count = len(path)
    around = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
    tangents = around if closed else np.gradient(path, axis=0)
    tangents /= norm(tangents)[:, None]
    start = np.eye(3)[np.argmin(np.abs(tangents[0]))]
    normals = [cross(tangents[0], start)]
    for tangent in tangents[1:]:
        normals.append(normals[-1] - tangent * dot(normals[-1], tangent))
    normals = np.array([n / norm(n) for n in normals])
    angles = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    ring = cos(angles)[None, :, None] * normals[:, None] + (
        sin(angles)[None, :, None] * cross(tangents, normals)[:, None]
    )
    rings = path[:, None] + np.broadcast_to(radius, count)[:, None, None] * ring
    faces = [meshes.ring_faces(count, segments, closed)]
    if not closed:
        fan = np.arange(1, segments - 1)
        last = (count - 1) * segments
        faces.append(np.stack([np.zeros_like(fan), fan + 1, fan], axis=1))
        faces.append(last + np.stack([np.zeros_like(fan), fan, fan + 1], axis=1))
    return meshes.clean(rings.reshape(-1, 3), np.concatenate(faces))


def arc(centre, radius, start, stop, count=16, plane="xz"):
    """Return (count, 3) points on an arc in a coordinate plane.

    start, stop : degrees from the first axis of the plane.
    """
    angles = np.radians(np.linspace(start, stop, count))
    points = np.zeros((count, 3))
    points[:, "xyz".index(plane[0])] = cos(angles) * radius
    points[:, "xyz".index(plane[1])] = sin(angles) * radius
    return points + np.asarray(centre, dtype=float)


def steps(count, pitch, middle=0.0):
    """Return `count` positions `pitch` apart about a middle."""
    return middle + pitch * (np.arange(count) - (count - 1) / 2)


def smooth(points, count=64):
    """Return (count, D) points of a Catmull-Rom curve through the given points (K, D)."""
    points = np.asarray(points, dtype=float)
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    where = np.linspace(0, len(points) - 1, count)
    k = np.minimum(where.astype(int), len(points) - 2)
    t = (where - k)[:, None]
    p0, p1, p2, p3 = (padded[k + i] for i in range(4))
    return 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * np.square(t)
        + (3 * p1 - p0 - 3 * p2 + p3) * np.square(t) * t
    )


def rounded_rectangle(width, depth, radius, count=6):
    """Return a counter-clockwise (4 * count, 2) outline with rounded corners, centred on 0."""
    points = []
    for corner, (x, y) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
        angles = np.radians(np.linspace(90 * corner, 90 * corner + 90, count))
        centre = np.array([x * (width / 2 - radius), y * (depth / 2 - radius)])
        points.append(centre + radius * np.stack([cos(angles), sin(angles)], axis=1))
    return np.concatenate(points)


def regular_polygon(sides, radius, turn=0.0):
    """Return a counter-clockwise (sides, 2) outline; `turn` in degrees."""
    angles = np.linspace(0, 2 * np.pi, sides, endpoint=False) + np.radians(turn)
    return radius * np.stack([cos(angles), sin(angles)], axis=1)


def move(mesh, offset):
    """Move the mesh by (x, y, z)."""
    return mesh[0] + np.asarray(offset, dtype=float), mesh[1]


def rotate(mesh, axis, degrees, about=(0, 0, 0)):
    """Turn the mesh about an axis ("x", "y", "z" or a vector) through the point `about`."""
    direction = np.eye(3)["xyz".index(axis)] if isinstance(axis, str) else np.asarray(axis, float)
    direction = direction / norm(direction)
    about = np.asarray(about, dtype=float)
    offset = mesh[0] - about
    along = dot(offset, direction)[:, None] * direction
    across = cross(direction, offset)
    angle = np.radians(degrees)
    return along + cos(angle) * (offset - along) + sin(angle) * across + about, mesh[1]


def scale(mesh, factors, about=(0, 0, 0)):
    """Scale the mesh by positive factors (one, or one an axis) about a point."""
    about = np.asarray(about, dtype=float)
    return (mesh[0] - about) * np.broadcast_to(factors, 3) + about, mesh[1]


def mirror(mesh, axis):
    """Mirror the mesh across the plane through 0 normal to "x", "y" or "z"."""
    vertices = mesh[0].copy()
    vertices[:, "xyz".index(axis)] *= -1
    return vertices, mesh[1][:, ::-1]


def turn_to(mesh, axis):
    """Turn the mesh's z axis onto "x", "y" or "z" (a cyclic change of axes)."""
    shift = {"z": 0, "x": 1, "y": 2}[axis]
    return np.roll(mesh[0], shift, axis=1), mesh[1]


def union(base, *parts):
    """Merge overlapping solids into one.

    Let parts overlap properly: faces that merely touch or lie in one plane make slivers.
    """
    for part in parts:
        base = meshes.boolean(base, part, "UNION")[:2]
    return base


def difference(base, *cutters):
    """Cut the cutters out of the solid.

    Parts that do not touch each other are cut in one go with `difference(base, join(a, b, c))`.
    """
    for cutter in cutters:
        base = meshes.boolean(base, cutter, "DIFFERENCE")[:2]
    return base


def intersection(base, other):
    """Keep what two solids have in common."""
    return meshes.boolean(base, other, "INTERSECT")[:2]


join = meshes.join


def _bevelled(vertices, polygons, bevel, segments):
    """Triangulate a polyhedron whose edges are rounded with width `bevel` (0: sharp)."""
    if not bevel:
        return _triangulated(np.asarray(vertices, dtype=float), polygons)
    data = bpy.data.meshes.new("bevel")
    data.from_pydata(np.asarray(vertices, dtype=float).tolist(), [], [list(p) for p in polygons])
    work = bmesh.new()
    work.from_mesh(data)
    bmesh.ops.bevel(
        work,
        geom=[e for e in work.edges if e.calc_face_angle(0) > np.radians(35)],
        offset=bevel,
        segments=segments,
        profile=0.5,
        affect="EDGES",
        clamp_overlap=True,
    )
    work.verts.index_update()
    corners = np.array([vertex.co for vertex in work.verts])
    polygons = [[vertex.index for vertex in face.verts] for face in work.faces]
    work.free()
    bpy.data.meshes.remove(data)
    return meshes.clean(*_triangulated(*_in_order(corners, polygons)))


def _in_order(vertices, polygons):
    """Put the polyhedron in one fixed order: bmesh orders its elements differently each call."""
    order = np.lexsort(np.round(vertices, 6).T)
    rank = np.argsort(order)
    turned = []
    for polygon in polygons:
        polygon = rank[polygon].tolist()
        start = polygon.index(min(polygon))
        turned.append(polygon[start:] + polygon[:start])
    return vertices[order], sorted(turned)


def _triangulated(vertices, polygons):
    """Cut every polygon (a tuple of vertex numbers) into triangles: (vertices, faces)."""
    triangles = []
    for polygon in polygons:
        points = [Vector(vertices[i]) for i in polygon]
        # tessellate_polygon keeps the winding only up to sign, so it is restored from the area
        normal = _newell(vertices[list(polygon)])
        for triangle in tessellate_polygon([points]):
            a, b, c = (polygon[i] for i in triangle)
            turn = dot(cross(vertices[b] - vertices[a], vertices[c] - vertices[a]), normal)
            triangles.append((a, b, c) if turn > 0 else (a, c, b))
    return vertices, np.array(triangles)


def _newell(points):
    """Return the normal direction of a (possibly concave) planar polygon (K, 3)."""
    return cross(points, np.roll(points, -1, axis=0)).sum(axis=0)
