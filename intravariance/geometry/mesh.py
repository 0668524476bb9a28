# SPDX-License-Identifier: Apache-2.0
"""Triangle meshes, the unit-sphere frame they live in, and content hashes of arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blender_scripts.portable import norm, side_products
from intravariance.errors import InputError


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    vertices : (V, 3) float32, faces : (F, 3) int32, counter-clockwise seen from outside.
    Lengths are in units of the unit-sphere frame unless a function says otherwise.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]


def mesh_from_arrays(vertices: NDArray[Any], faces: NDArray[Any]) -> Mesh:
    """Make a `Mesh` of contiguous arrays in our dtypes.

    Raises InputError when the arrays are not a finite, non-empty triangle mesh.
    """
    vertices, faces = np.ascontiguousarray(vertices, dtype=np.float32), np.asarray(faces)
    if vertices.shape[1:] != (3,) or faces.shape[1:] != (3,) or len(faces) == 0:
        raise InputError(
            f"expected (V, 3) vertices and (F, 3) faces with at least one face, "
            f"found shapes {vertices.shape} and {faces.shape}"
        )
    if not np.isfinite(vertices).all():
        raise InputError("the mesh has NaN or infinite vertex coordinates")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(f"face indices must lie in 0..{len(vertices) - 1}")
    return Mesh(vertices, np.ascontiguousarray(faces, dtype=np.int32))


def triangle_areas(mesh: Mesh) -> NDArray[np.float64]:
    """Return the (F,) float64 area of each triangle."""
    x, y, z = side_products(mesh.vertices, mesh.faces)
    return np.asarray(0.5 * np.sqrt(x * x + y * y + z * z))


def to_unit_sphere(mesh: Mesh) -> Mesh:
    """Move and scale the mesh so that its surface centroid is 0 and its largest radius is 1.

    The centroid is that of the surface (area-weighted), which is what the mean of an
    area-uniform point cloud tends to. Raises InputError when the mesh has no area.
    """
    areas = triangle_areas(mesh)
    if not areas.sum() > 0:
        raise InputError("the mesh has no surface (every triangle has zero area)")
    vertices = mesh.vertices.astype(np.float64)
    centroid = np.average(vertices[mesh.faces].mean(axis=1), axis=0, weights=areas)
    centred = vertices - centroid
    radius = norm(centred).max()
    return mesh_from_arrays(centred / radius, mesh.faces)


def digest_arrays(**arrays: NDArray[Any]) -> str:
    """Return a SHA-256 hex digest over names, dtypes, shapes and bytes, in name order.

    Bytes are hashed in little-endian order.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
