# SPDX-License-Identifier: Apache-2.0
"""Templates as meshes: for methods that read the vertices of a mesh as their training cloud.

PO3AD and MC4AD train on the vertices of a template's mesh and take the direction of their
pseudo-anomalies from its vertex normals, which they compute from the faces. So that they train on
the same cloud as everybody else, noise and all, the vertices written here are the stored points,
all of them, in their order. The faces are there for the normals alone: EACH triangles at each
point, each over two of its neighbours well beyond the noise, chosen so that they look where the
stored normals look. They overlap and are no surface; the pristine surface is written elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.geometry.mesh import Mesh
from intravariance.seeds import generator

Vectors = NDArray[np.float64]

EACH = 3  # triangles at each point
_PAIRS = 48  # triangles to choose from, for each point
_REACH = 4.0  # triangles reach as far as this many standard deviations of the noise, where they can
_NEIGHBOURS = (16, 128)  # fewest and most neighbours to choose from
_CHUNK = 512  # points at a time, for memory
_SAME_SIDE = 0.5  # cosine between the normals of points on one side of a wall


def normal_faces(points: NDArray[Any], normals: NDArray[Any], sigma: float) -> NDArray[np.int32]:
    """Return triangles on points, (N, 3), N >= 4, which give back the normals, (N, 3).

    They are (3 N, 3) int32, the indices of the corners of EACH = 3 triangles at each point, point
    after point; the first corner is the point itself.

    sigma : standard deviation of the noise on each coordinate, unit of the points.
    """
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    points, normals = points.astype(np.float64), normals.astype(np.float64)
    tree = cKDTree(points)
    count = _neighbours(tree, points, sigma)
    rng = generator(0, "export", "triangles")
    # The nearer half of the neighbours makes small triangles, which noise turns about.
    first, second = rng.integers(count // 2, count, (2, _PAIRS))
    second = np.where(first == second, (first + 1 - count // 2) % (count - count // 2) + count // 2,
                      second)  # fmt: skip
    faces = np.zeros((len(points), EACH, 3), dtype=np.int32)
    for start in range(0, len(points), _CHUNK):
        here = np.arange(start, min(start + _CHUNK, len(points)))
        near = tree.query(points[here], count + 1)[1][:, 1:]  # (n, count)
        faces[here] = _best(points, normals, here, near[:, first], near[:, second])
    return faces.reshape(-1, 3)


def vertex_normals(vertices: NDArray[Any], faces: NDArray[Any]) -> Vectors:
    """Return (V, 3) float64: the sum of the faces' normals, weighted by area, at each vertex; unit
    length, 0 where there is no face. As Open3D and trimesh compute them.
    """
    corners = vertices.astype(np.float64)[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(total, faces[:, corner], normal)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-300))


def write_obj(vertices: NDArray[Any], faces: NDArray[Any]) -> bytes:
    """Write OBJ: v lines with nine significant digits, so that float32 comes back, and f lines."""
    lines = "v %.9g %.9g %.9g\n" * len(vertices) % tuple(vertices.ravel().tolist())
    return (lines + "f %d %d %d\n" * len(faces) % tuple((faces.ravel() + 1).tolist())).encode()


def write_mesh_ply(vertices: NDArray[Any], faces: NDArray[Any]) -> bytes:
    """Write PLY, binary little-endian, float32 x y z and int32 triangles."""
    rows = np.zeros(len(faces), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    rows["count"], rows["corners"] = 3, faces
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    return header.encode() + vertices.astype("<f4").tobytes() + rows.tobytes()


def write_mesh(mesh: Mesh) -> bytes:
    """Write a mesh as OBJ."""
    return write_obj(mesh.vertices, mesh.faces)


def _neighbours(tree: Any, points: Vectors, sigma: float) -> int:
    """Count how many neighbours of a point reach beyond the noise."""
    fewest, most = _NEIGHBOURS
    some = points[:: max(1, len(points) // 256)]
    inside = tree.query_ball_point(some, _REACH * sigma, return_length=True)
    return int(min(max(np.median(inside), fewest), most, len(points) - 1))


def _best(
    points: Vectors,
    normals: Vectors,
    here: NDArray[np.intp],
    second: NDArray[np.intp],
    third: NDArray[np.intp],
) -> NDArray[np.intp]:
    """Return the best triangles from points `here`, (n,), to pairs of other points, (n, T).

    (n, EACH, 3) indices of their corners.
    """
    origin, normal = points[here, None], normals[here, None]  # (n, 1, 3)
    to_second, to_third = points[second] - origin, points[third] - origin  # (n, T, 3)
    across = np.stack(
        [
            to_second[..., (axis + 1) % 3] * to_third[..., (axis + 2) % 3]
            - to_second[..., (axis + 2) % 3] * to_third[..., (axis + 1) % 3]
            for axis in range(3)
        ],
        axis=2,
    )
    size = _length(across)
    others = normals[second], normals[third]
    wanted = normal + others[0] + others[1]
    cosine = _dot(across, wanted) / np.maximum(size * _length(wanted), 1e-300)  # (n, T)
    fit = np.abs(cosine)
    for other in others:
        fit -= 2.0 * (_dot(other, normal) < _SAME_SIDE)
    fit -= 1.0 * (
        size < 0.5 * np.median(size, axis=1, keepdims=True)
    )  # slivers turn with the noise
    chosen = np.argpartition(-fit, EACH, axis=1)[:, :EACH]
    b, c, side = (np.take_along_axis(a, chosen, axis=1) for a in (second, third, cosine))
    a = np.broadcast_to(here[:, None], b.shape)
    return np.stack([a, np.where(side < 0, c, b), np.where(side < 0, b, c)], axis=2)


def _dot(a: Vectors, b: Vectors) -> Vectors:
    """Return the scalar products, (n, T), of vectors (n, T, 3)."""
    return np.asarray(a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2])


def _length(vectors: Vectors) -> Vectors:
    return np.asarray(np.sqrt(_dot(vectors, vectors)))
