# SPDX-License-Identifier: Apache-2.0
"""The GLB format (binary glTF 2.0), read by hand: the triangles of the scene, nothing else.

trimesh 5.2 reads what a compressed file leaves in its accessors (zeros), leaves out triangle fans
and sparse values, and says nothing of either. Numbers in brackets are sections of the glTF 2.0
specification.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blender_scripts.portable import dot
from intravariance.errors import InputError
from intravariance.sources.formats.ply import strip_triangles

# Required extensions that change no triangle, or that are read: integer coordinates.
_HARMLESS = ("KHR_materials_", "KHR_texture_", "EXT_texture_", "MSFT_texture_", "KHR_lights_")
_READ = ("KHR_mesh_quantization",)
_WAYS_OUT = {
    "KHR_draco_mesh_compression": "export it without Draco compression",
    "EXT_meshopt_compression": "export it without meshopt compression",
    "EXT_mesh_gpu_instancing": "make its instances objects of their own",
}
_NO_FALLBACK = {"EXT_mesh_gpu_instancing"}
_KINDS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_COLUMNS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_TRIANGLES, _STRIP, _FAN = 4, 5, 6  # modes of primitives (3.7.2.1); others are points and lines
_MOST_ROWS = 100_000_000  # of an accessor that declares zeros without bytes behind them
_DAMAGE = (
    *(ValueError, KeyError, IndexError, TypeError, AttributeError),
    *(ArithmeticError, RecursionError, struct.error),
)


def read_glb(data: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (V, 3) vertices and (F, 3) faces of the scene, in its frame (y up).

    Skinned meshes are read in their rest pose. Raises InputError naming every extension that the
    file requires and that is not read, and when the file is damaged or refers to another.
    """
    try:
        scene = _Scene(*_chunks(data))
        return scene.triangles()
    except _DAMAGE as error:
        raise InputError(f"it is not a valid GLB file ({type(error).__name__}: {error})") from error


def _chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the description and the bytes of the file's own buffer (4.4)."""
    magic, version, length = struct.unpack_from("<4sII", data)
    if magic != b"glTF" or version != 2:
        raise InputError(
            f"it is not a valid GLB file (begins with {data[:4]!r}, version {version})"
        )
    if length > len(data):
        raise InputError(f"it is cut off: declares {length} bytes, holds {len(data)}")
    size, kind = struct.unpack_from("<I4s", data, 12)
    if kind != b"JSON":
        raise ValueError("its first chunk is not JSON")
    description = json.loads(data[20 : 20 + size])
    rest = 20 + size
    body = b""
    if rest + 8 <= length:
        body_size, kind = struct.unpack_from("<I4s", data, rest)
        body = data[rest + 8 : rest + 8 + body_size] if kind == b"BIN\0" else b""
    return description, body


class _Scene:
    """A description and its bytes."""

    def __init__(self, description: dict[str, Any], body: bytes) -> None:
        self.description, self.body = description, body
        self.vertices: list[NDArray[np.float64]] = []
        self.faces: list[NDArray[np.int64]] = []
        self.count = 0
        self.seen: set[int] = set()

    def triangles(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        self._check_extensions()
        scenes = self.description.get("scenes", [])
        nodes = self.description.get("nodes", [])
        below = {child for node in nodes for child in node.get("children", [])}
        roots = [index for index in range(len(nodes)) if index not in below]
        if scenes:
            roots = scenes[self.description.get("scene", 0)].get("nodes", [])
        for root in roots:
            self._add_node(root, np.eye(4))
        if not self.faces:
            raise InputError("it has no faces (point clouds and lines cannot be base meshes)")
        return np.concatenate(self.vertices), np.concatenate(self.faces)

    def _check_extensions(self) -> None:
        required = set(self.description.get("extensionsRequired", []))
        # an extension that is used and not required has a fallback, but for these
        used = required | (set(self.description.get("extensionsUsed", [])) & _NO_FALLBACK)
        unread = sorted(
            name for name in used if name not in _READ and not name.startswith(_HARMLESS)
        )
        if unread:
            ways = [_WAYS_OUT.get(name, f"export it without {name}") for name in unread]
            raise InputError(
                f"it requires {', '.join(unread)}, which is not read; {', and '.join(ways)}"
            )

    def _add_node(self, index: int, above: NDArray[np.float64]) -> None:
        """Add the meshes of a node and of those below it. above : (4, 4) its parent's matrix."""
        if index in self.seen:
            raise ValueError(f"node {index} lies at two places of the tree")
        self.seen.add(index)
        node = self.description["nodes"][index]
        matrix = _product(above, _local_matrix(node))
        if "mesh" in node:
            # a skin's joints place its mesh, not the node (3.7.3.3)
            self._add_mesh(node["mesh"], np.eye(4) if "skin" in node else matrix)
        for child in node.get("children", []):
            self._add_node(child, matrix)

    def _add_mesh(self, index: int, matrix: NDArray[np.float64]) -> None:
        mesh = self.description["meshes"][index]
        if any(mesh.get("weights", [])):
            raise InputError("its mesh is morphed (weights), which is not read; apply its shapes")
        # a negative determinant turns the triangles round (3.7.4)
        mirrored = dot(matrix[0], np.cross(matrix[1, :3], matrix[2, :3])) < 0
        for primitive in mesh["primitives"]:
            mode = primitive.get("mode", _TRIANGLES)
            if mode not in (_TRIANGLES, _STRIP, _FAN):
                continue
            with np.errstate(invalid="ignore"):  # a signalling NaN
                points = self._accessor(primitive["attributes"]["POSITION"]).astype(np.float64)
            indices = np.arange(len(points), dtype=np.int64)
            if "indices" in primitive:
                indices = self._accessor(primitive["indices"])[:, 0].astype(np.int64)
            if len(indices) and indices.max() >= len(points):
                raise InputError(f"a face refers to a vertex outside 0..{len(points) - 1}")
            faces = _faces(indices, mode)
            placed = dot(points[:, None], matrix[:3]) + matrix[:3, 3]
            self.vertices.append(placed)
            self.faces.append((faces[:, ::-1] if mirrored else faces) + self.count)
            self.count += len(placed)

    def _accessor(self, index: int) -> NDArray[Any]:
        """Return (count, columns) values of an accessor (3.6.2), integers scaled if they say so."""
        accessor = self.description["accessors"][index]
        kind = np.dtype(_KINDS[accessor["componentType"]])
        count, columns = int(accessor["count"]), _COLUMNS[accessor["type"]]
        if "bufferView" in accessor:
            offset = accessor.get("byteOffset", 0)
            values = self._view(accessor["bufferView"], offset, kind, count, columns)
        elif "sparse" not in accessor:
            raise InputError("its accessor has no bytes: the values are in an extension")
        elif 0 <= count <= _MOST_ROWS:
            values = np.zeros((count, columns), dtype=kind)
        if "sparse" in accessor:
            values = self._with_sparse(values, accessor["sparse"])
        if accessor.get("normalized") and kind.kind in "iu":
            return np.maximum(values.astype(np.float64) / np.iinfo(kind).max, -1)
        return values

    def _with_sparse(self, values: NDArray[Any], sparse: dict[str, Any]) -> NDArray[Any]:
        """Put in the values that differ from the others (3.6.2.3)."""
        count, where, what = int(sparse["count"]), sparse["indices"], sparse["values"]
        kind = np.dtype(_KINDS[where["componentType"]])
        rows = self._view(where["bufferView"], where.get("byteOffset", 0), kind, count, 1)
        values = values.copy()
        values[rows[:, 0].astype(np.int64)] = self._view(
            what["bufferView"], what.get("byteOffset", 0), values.dtype, count, values.shape[1]
        )
        return values

    def _view(
        self, index: int, offset: int, kind: np.dtype[Any], count: int, columns: int
    ) -> NDArray[Any]:
        """Return (count, columns) numbers from a view of the file's buffer."""
        view = self.description["bufferViews"][index]
        buffer = self.description["buffers"][view["buffer"]]
        if view["buffer"] != 0 or "uri" in buffer:
            raise InputError("it is not a valid GLB file: it refers to a buffer outside the file")
        start = view.get("byteOffset", 0)
        data = self.body[start : start + view["byteLength"]]
        row = kind.itemsize * columns
        stride = view.get("byteStride", row)
        if min(count, offset, start) < 0 or stride < row:
            raise ValueError("negative sizes")
        if count and offset + (count - 1) * stride + row > len(data):
            raise InputError(f"it is cut off: {count} values go beyond the end of its buffer")
        return np.ndarray((count, columns), kind, data, offset, (stride, kind.itemsize))


def _faces(indices: NDArray[np.int64], mode: int) -> NDArray[np.int64]:
    """Return (F, 3) triangles of a primitive (3.7.2.1)."""
    if mode == _STRIP:
        return np.array(strip_triangles(indices.tolist()), dtype=np.int64).reshape(-1, 3)
    if mode == _FAN:
        first = np.broadcast_to(indices[:1], indices[1:-1].shape)
        return np.stack([indices[1:-1], indices[2:], first], axis=1)
    return indices[: len(indices) // 3 * 3].reshape(-1, 3)


def _product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the product of two (4, 4) matrices."""
    return np.asarray((a[:, :, None] * b).sum(axis=1))


def _local_matrix(node: dict[str, Any]) -> NDArray[np.float64]:
    """Return the (4, 4) matrix of a node: its own, or translation, rotation and scale (3.5.3)."""
    if "matrix" in node:
        return np.array(node["matrix"], dtype=np.float64).reshape(4, 4).T
    x, y, z, w = (float(value) for value in node.get("rotation", (0, 0, 0, 1)))
    length = math.sqrt(x * x + y * y + z * z + w * w)
    x, y, z, w = x / length, y / length, z / length, w / length
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), dtype=np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix
