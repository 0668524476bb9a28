# SPDX-License-Identifier: Apache-2.0
"""From the triangles of a foreign file to a solid in the unit sphere that Blender can work on.

A mesh that is a solid already is kept as it is, unless much of it is hidden inside its other parts
(a bottle drawn as solid glass, solid drink and solid cap). Any other (ModelNet40 and ShapeNet have
hardly a closed one) is rebuilt as the outer surface of what it encloses, with
`make_mesh_watertight` of point-cloud-utils: J. Huang, H. Su, L. Guibas, "Robust Watertight
Manifold Surface Generation Method for ShapeNet Models", 2018. Where that leaves no solid, or one
far from the surface in the file, the mesh is wrapped (`wrapping`). `Repaired.repair` tells what
was done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import point_cloud_utils
from numpy.typing import NDArray

from intravariance.errors import InputError
from intravariance.geometry.densify import subdivide_long_edges
from intravariance.geometry.mesh import Mesh, mesh_from_arrays, to_unit_sphere, triangle_areas
from intravariance.geometry.parts import components
from intravariance.geometry.topology import MAX_EDGE, closed_problem, signed_volumes
from intravariance.sources.wrapping import VOXELS, wrap

MAX_FACES = 60_000  # of a prepared mesh; Blender takes about 1 s for a defect on as many
# To which larger meshes are thinned out before long edges are split. Collapsing edges now and then
# leaves a face without area or an edge of four faces; at another count it does not.
FACE_COUNTS = (40_000, 36_000, 32_000)
MERGE_DISTANCE = 1e-6  # of the largest extent: below it vertices are the same
SMALLEST_PART = 1e-3  # share of the area; a rebuilt mesh's smaller components are dropped
RESOLUTIONS = (20_000, 5_000)  # leaves of the octree; the coarser when the finer gave no solid
MOST_BURIED = 0.05  # share of a kept mesh's area that may lie inside its other parts
ENCLOSED = 0.03  # depth (unit sphere) from which an original surface counts as swallowed
# From the surface in the file (`surface_error`, unit-sphere radii): a repair that is further off is
# taken only where no other is nearer, and deserves a look. Watertight hair is mostly gone.
LARGEST_ERROR = 0.05
KEPT = "kept"
OFFSET_KEPT = 0.25  # share kept of the outward offset that the octree gives a rebuilt surface


@dataclass(frozen=True)
class Repaired:
    """A mesh in the unit-sphere frame, and what became of the file's.

    surface_error : see `surface_error`; 0 where the surface was kept. unit_radius : of the unit
    sphere, in units of the file, to 6 digits. repair : KEPT, or what was done and how finely.
    centre : of the unit sphere, in the file; known where the file was just read.
    """

    mesh: Mesh
    surface_error: float
    unit_radius: float
    repair: str
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)


def make_base_mesh(vertices: NDArray[Any], faces: NDArray[Any]) -> Repaired:
    """Make a closed, outward-facing mesh in the unit-sphere frame, no edge longer than MAX_EDGE.

    vertices : (V, 3) float, faces : (F, 3) int, in any state and unit.
    Raises InputError when there is no usable surface.
    """
    cleaned = clean(vertices, faces)
    mesh = to_unit_sphere(cleaned)
    size = extent(vertices, faces) * _scale(cleaned, mesh)
    used = np.asarray(vertices)[np.unique(faces)]
    middle = _box_centre(used) - size * _box_centre(mesh.vertices)
    best: Repaired | None = None
    for changed, error, repair in _attempts(mesh):
        if best is not None and best.repair == repair:  # another number of faces is no nearer
            continue
        framed = to_unit_sphere(changed) if repair != KEPT else changed
        finished = _finish(framed)
        if finished is None:
            continue
        radius = size * _scale(changed, framed)
        # boxes of the same surface before and after a move tell the move
        centre = (
            middle + size * _box_centre(changed.vertices) - radius * _box_centre(framed.vertices)
        )
        made = Repaired(
            finished,
            float(f"{error():.6g}"),
            float(f"{radius:.6g}"),
            repair,
            (float(centre[0]), float(centre[1]), float(centre[2])),
        )
        if made.surface_error <= LARGEST_ERROR:
            return made
        if best is None or made.surface_error < best.surface_error:
            best = made
    if best is not None:
        return best
    raise InputError(
        "it could not be repaired into a closed surface, neither by make_mesh_watertight nor by "
        "wrapping it"
    )


def _attempts(mesh: Mesh) -> Iterator[tuple[Mesh, Callable[[], float], str]]:
    """Yield what may become the base mesh, best first, its error, and what was done.

    The next is for when one is no solid. The error is a function: it takes a second.
    """
    outward = _point_outwards(mesh)
    if not closed_problem(outward) and buried_share(outward) <= MOST_BURIED:
        yield outward, lambda: 0.0, KEPT
        for thinned in _thinned(outward):
            yield thinned, partial(surface_error, outward, thinned), "thinned out"
    for resolution in RESOLUTIONS:
        for rebuilt in _rebuild(mesh, resolution):
            done = f"made watertight, octree of {resolution:,} leaves"
            yield rebuilt, partial(surface_error, mesh, rebuilt), done
    for voxel in VOXELS:
        try:
            wrapped = wrap(mesh, voxel)
        except InputError:  # too large a surface for voxels as small as these
            continue
        for skin in _drawn_back(mesh, wrapped):
            yield skin, partial(surface_error, mesh, skin), f"wrapped, voxels of {voxel} radii"


def extent(vertices: NDArray[Any], faces: NDArray[Any]) -> float:
    """Return the largest extent along an axis of the vertices in use; may be infinite."""
    used = np.asarray(vertices, dtype=np.float64)[np.unique(faces)]
    with np.errstate(over="ignore"):
        return float((used.max(axis=0) - used.min(axis=0)).max())


def _box_centre(vertices: NDArray[Any]) -> NDArray[np.float64]:
    """Return the centre (3,) of the box around vertices (V, 3)."""
    vertices = vertices.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray((vertices.min(axis=0) + vertices.max(axis=0)) / 2)


def _scale(mesh: Mesh, scaled: Mesh) -> float:
    """Return how many times larger a mesh is than the same one scaled."""
    before, after = (np.ptp(m.vertices.astype(np.float64), axis=0).max() for m in (mesh, scaled))
    return float(before / after)


def clean(vertices: NDArray[Any], faces: NDArray[Any]) -> Mesh:
    """Scale to unit extent; drop repeated vertices, degenerate faces and repeated faces.

    One of the faces with the same three corners is kept, also when they lie back to back.
    Raises InputError for NaN or infinite coordinates, bad indices or when no face is left.
    """
    vertices = np.asarray(vertices, dtype=np.float64)
    if len(faces) == 0:
        raise InputError("it has no faces (point clouds and lines cannot be base meshes)")
    if not np.isfinite(vertices).all():
        raise InputError("it has NaN or infinite vertex coordinates")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(f"a face refers to a vertex outside 0..{len(vertices) - 1}")
    used = vertices[np.unique(faces)]
    low, high = used.min(axis=0) / 2, used.max(axis=0) / 2  # halves: no overflow of huge values
    extent = (high - low).max()
    if not extent > 0:
        raise InputError("all its vertices coincide")
    vertices = (vertices / 2 - (low + high) / 2) / extent
    cells = np.round(vertices[faces] / MERGE_DISTANCE).astype(np.int64)  # (F, 3, 3)
    _, first, corners = np.unique(
        cells.reshape(-1, 3), axis=0, return_index=True, return_inverse=True
    )
    vertices, faces = vertices[np.asarray(faces).reshape(-1)[first]], corners.reshape(-1, 3)
    distinct = (faces != np.roll(faces, 1, axis=1)).all(axis=1)
    faces = faces[distinct]
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    faces = faces[np.sort(first)]
    if len(faces) == 0:
        raise InputError("all its faces are degenerate")
    return mesh_from_arrays(vertices, faces)


def surface_error(original: Mesh, rebuilt: Mesh) -> float:
    """Return the 95th percentile of the distance from points of `original`'s surface to `rebuilt`.

    Points deeper than ENCLOSED inside `rebuilt` do not count: what is enclosed (the works of a
    radio, the coffee in a cup) is meant to vanish.
    """
    points, _ = _surface_points(original)
    distances, _, _ = point_cloud_utils.signed_distance_to_mesh(  # negative inside
        points, rebuilt.vertices.astype(np.float64), rebuilt.faces.astype(np.int64)
    )
    outer = distances[distances > -ENCLOSED]
    return float(np.percentile(np.abs(outer), 95)) if len(outer) else float("inf")


def buried_share(mesh: Mesh) -> float:
    """Return the share of a solid's area that lies hidden inside another of its parts."""
    points, normals = _surface_points(mesh)
    winding = point_cloud_utils.triangle_soup_fast_winding_number(
        mesh.vertices.astype(np.float64), mesh.faces, points + 1e-3 * normals
    )
    return float(np.mean(winding > 0.5))  # 0 outside and in cavities, 1 inside a part


def _surface_points(mesh: Mesh) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return 10,000 points, (10000, 3), and their unit normals.

    They are uniform over the area and always the same.
    """
    areas = triangle_areas(mesh)
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(areas), 10_000, p=areas / areas.sum())
    corners = mesh.vertices.astype(np.float64)[mesh.faces[chosen]]  # (10000, 3, 3)
    root, share = np.sqrt(rng.random(10_000)), rng.random(10_000)  # uniform over a triangle
    weights = np.stack([1 - root, root * (1 - share), root * share], axis=1)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= 2 * areas[chosen, None]
    return (weights[:, :, None] * corners).sum(axis=1), normals


def _thinned(mesh: Mesh) -> Iterator[Mesh]:
    """Yield a solid that has too many faces with fewer."""
    try:
        fine = subdivide_long_edges(mesh, MAX_EDGE)
    except InputError:
        return
    for count in FACE_COUNTS:
        yield _decimate(fine, count)


def _finish(mesh: Mesh) -> Mesh | None:
    """Split long edges; None when the result is not a solid of at most MAX_FACES faces."""
    try:
        mesh = subdivide_long_edges(mesh, MAX_EDGE, MAX_FACES)
    except InputError:
        return None
    return mesh if len(mesh.faces) <= MAX_FACES and not closed_problem(mesh) else None


def _point_outwards(mesh: Mesh) -> Mesh:
    """Turn the closed components that face inwards, but for cavities inside others."""
    part = components(mesh)  # (F,)
    volumes = np.bincount(part, weights=signed_volumes(mesh))
    corners = mesh.vertices[mesh.faces]  # (F, 3, 3)
    low = np.full((len(volumes), 3), np.inf)
    high = np.full((len(volumes), 3), -np.inf)
    np.minimum.at(low, part, corners.min(axis=1))
    np.maximum.at(high, part, corners.max(axis=1))
    turned = np.zeros(len(volumes), dtype=bool)
    for index in np.flatnonzero(volumes < 0):
        around = (low < low[index]).all(axis=1) & (high > high[index]).all(axis=1)
        turned[index] = not around.any()
    faces = mesh.faces.copy()
    faces[turned[part]] = faces[turned[part]][:, ::-1]
    return mesh_from_arrays(mesh.vertices, faces)


def _rebuild(mesh: Mesh, resolution: int) -> Iterator[Mesh]:
    """Make watertight versions in the same frame, best first."""
    vertices, faces = _original(mesh)
    watertight = point_cloud_utils.make_mesh_watertight(vertices, faces, resolution, seed=0)
    yield from _drawn_back(mesh, _without_specks(mesh_from_arrays(*watertight)))


def _drawn_back(mesh: Mesh, outer: Mesh) -> Iterator[Mesh]:
    """Yield a surface around a mesh with fewer faces, most of its offset taken back, or none."""
    original = _original(mesh)
    for count in FACE_COUNTS:
        thinned = _decimate(outer, count)
        vertices = thinned.vertices.astype(np.float64)
        _, face, weights = point_cloud_utils.closest_points_on_mesh(vertices, *original)
        nearest = (weights[:, :, None] * original[0][original[1][face]]).sum(axis=1)
        yield mesh_from_arrays(nearest + OFFSET_KEPT * (vertices - nearest), thinned.faces)
        yield thinned


def _original(mesh: Mesh) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    solid_faces = mesh.faces[triangle_areas(mesh) > 0]  # others give NaN closest points
    return mesh.vertices.astype(np.float64), solid_faces.astype(np.int64)


def _decimate(mesh: Mesh, count: int) -> Mesh:
    if len(mesh.faces) <= count:
        return mesh
    vertices, faces, *_ = point_cloud_utils.decimate_triangle_mesh(
        mesh.vertices.astype(np.float64), mesh.faces.astype(np.int64), count
    )
    return mesh_from_arrays(vertices, faces)


def _without_specks(mesh: Mesh) -> Mesh:
    part = components(mesh)
    areas = np.bincount(part, weights=triangle_areas(mesh))
    kept = (areas >= min(SMALLEST_PART * areas.sum(), areas.max()))[part]
    used, faces = np.unique(mesh.faces[kept], return_inverse=True)
    return mesh_from_arrays(mesh.vertices[used], faces.reshape(-1, 3))
