# SPDX-License-Identifier: Apache-2.0
"""The second repair: a closed skin at a small distance around whatever triangles there are.

It is for meshes that `make_mesh_watertight` leaves with pinched edges. The distance to the
triangles is taken at the corners of the voxels near them, and the surface where it is `REACH`
voxels is drawn by marching cubes: closed by construction, whatever holes or crossings the
triangles have. Skins around enclosed spaces are dropped, so that what is closed becomes solid; an
open sheet gets walls of twice the distance. Then the skin is drawn back to the triangles.
"""

from __future__ import annotations

import itertools

import numpy as np
import point_cloud_utils
from numpy.typing import NDArray

from blender_scripts.portable import norm
from intravariance.errors import InputError
from intravariance.geometry.mesh import Mesh, mesh_from_arrays, triangle_areas
from intravariance.geometry.parts import components
from intravariance.geometry.topology import signed_volumes

VOXELS = (0.015, 0.03)  # edges (unit-sphere radii); the coarser where the finer gave no solid
REACH = 0.9  # distance of the skin in voxels; below 0.87 (half a diagonal) it may have holes
_MOST_VOXELS = 200_000
_STEPS = np.array(list(itertools.product((-1, 0, 1), repeat=3)))  # (27, 3)
# Corners of a voxel in the order that marching cubes wants.
_CORNERS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0),
                     (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)])  # fmt: skip


def wrap(mesh: Mesh, voxel: float) -> Mesh:
    """Return a closed skin around a mesh of the unit sphere, in its frame, outward-facing.

    Raises InputError when there is nothing to wrap, or far too much.
    """
    faces = mesh.faces[triangle_areas(mesh) > 0].astype(np.int64)
    vertices = mesh.vertices.astype(np.float64)
    if len(faces) == 0:
        raise InputError("it has no surface")
    cells = _cells(vertices[faces], voxel)
    if len(cells) > _MOST_VOXELS:
        raise InputError(f"its surface takes more than {_MOST_VOXELS:,} voxels of {voxel}")
    for _ in range(2):  # the skin lies less than two voxels from every cell
        cells, _ = _distinct((cells[:, None] + _STEPS).reshape(-1, 3))
    corners, indices = _distinct((cells[:, None] + _CORNERS).reshape(-1, 3))
    places = corners * voxel
    distance, _, _ = point_cloud_utils.closest_points_on_mesh(places, vertices, faces)
    skin = mesh_from_arrays(
        *point_cloud_utils.marching_cubes_sparse_voxel_grid(
            np.asarray(distance, dtype=np.float64), places, indices.reshape(-1, 8), REACH * voxel
        )
    )
    return _outer(skin, voxel)


def _cells(corners: NDArray[np.float64], voxel: float) -> NDArray[np.int64]:
    """Return the (C, 3) voxels of points on (F, 3, 3) triangles, less than a voxel apart.

    (voxelize_triangle_mesh of point-cloud-utils 0.34 leaves out most of a large triangle.)
    """
    longest = norm(corners - np.roll(corners, 1, axis=1)).max(axis=1)
    pieces = np.ceil(longest / (0.7 * voxel)).astype(np.int64)
    cells = []
    for count in np.unique(pieces):
        i, j = np.array([(i, j) for i in range(count + 1) for j in range(count + 1 - i)]).T
        weights = np.stack([i, j, count - i - j], axis=1) / count  # (L, 3)
        some = corners[pieces == count][:, None]  # (f, 1, 3, 3)
        points = sum(weights[:, k, None] * some[:, :, k] for k in range(3))  # (f, L, 3)
        cells.append(_distinct(np.floor(points.reshape(-1, 3) / voxel).astype(np.int64))[0])
    return _distinct(np.concatenate(cells))[0]


def _distinct(voxels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct rows of (R, 3) in order, and the row of each: np.unique along an axis,
    and ten times as fast."""
    low = voxels.min(axis=0)
    extent = tuple(np.ptp(voxels, axis=0) + 1)
    found, rows = np.unique(np.ravel_multi_index((voxels - low).T, extent), return_inverse=True)
    return np.stack(np.unravel_index(found, extent), axis=1) + low, rows


def _outer(skin: Mesh, voxel: float) -> Mesh:
    """Turn the skin outwards; drop its parts that close off spaces inside, and what is in these."""
    part = components(skin)
    volumes = np.bincount(part, weights=signed_volumes(skin))
    outward = np.sign(volumes[np.argmax(np.abs(volumes))])
    kept = (volumes * outward > 0)[part]
    faces, part = skin.faces[kept], part[kept]
    faces = faces if outward > 0 else faces[:, ::-1]
    vertices = skin.vertices.astype(np.float64)
    _, first = np.unique(part, return_index=True)  # a face of each part
    a, b, c = np.moveaxis(vertices[faces[first]], 1, 0)
    normals = np.cross(b - a, c - a)
    normals /= np.maximum(norm(normals)[:, None], 1e-300)
    around = point_cloud_utils.triangle_soup_fast_winding_number(
        vertices, np.ascontiguousarray(faces), (a + b + c) / 3 + 0.1 * voxel * normals
    )
    hidden = part[first][np.asarray(around) > 0.5]
    used, renumbered = np.unique(faces[~np.isin(part, hidden)], return_inverse=True)
    return mesh_from_arrays(skin.vertices[used], renumbered.reshape(-1, 3))
