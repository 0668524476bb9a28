# SPDX-License-Identifier: Apache-2.0
"""Base meshes that a function of an installed package makes.

The function is called with the names of a category and a product and returns (vertices, faces);
docs/extending.md shows one. Its result is read and repaired as a file is, in the same process
with the same limits, and the digest of the mesh tells one build from another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.dataset.specification import Category
from intravariance.errors import InputError
from intravariance.extensions import Extension
from intravariance.names import plain_name
from intravariance.sources.finding import Candidate, Up

_FACE = np.dtype([("count", "u1"), ("corners", "<i4", (3,))])
_LARGEST_INDEX = 2**31 - 1
_EXPECTED = "vertices (V, 3) of numbers and faces (F, 3) of whole numbers from 0 to V - 1"


@dataclass(frozen=True)
class Added:
    """The source that an installed package adds. Each product of a category is asked for."""

    extension: Extension
    up: Up | None = None

    @property
    def kind(self) -> str:
        return self.extension.name

    @property
    def label(self) -> str:
        return self.extension.name

    def candidates(self, category: Category) -> list[Candidate]:
        """List what is asked for: the category's products, and those that `meshes` names."""
        products = {f"{category.name}/{name}": name for name in category.subcategories}
        asked = {path: path for path in category.meshes.values()} | products
        return [Candidate(category.name, plain_name(asked[name]), name) for name in sorted(asked)]

    def where(self, category: Category) -> str:
        return f"what {self.extension} makes of {category.name}"

    def left_out(self, category: Category) -> list[str]:
        return []

    def up_axis(self, name: str) -> Up:
        return self.up or "z"

    def file_format(self, name: str) -> str:
        return "ply"

    def read(self, name: str) -> bytes:
        """Make the mesh of a candidate, as the bytes of a PLY file."""
        category, slash, product = name.partition("/")
        if not slash:
            raise InputError(f"meshes names {name!r}: expected CATEGORY/PRODUCT")
        function = self.extension.load()
        if not callable(function):
            raise self.extension.refuse("a function", repr(function))
        with self.extension.used():
            found = function(category, product)
        return _ply_bytes(*self._mesh(found))

    def _mesh(self, found: object) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return what the function gave as arrays; ExtensionError where it is no mesh."""
        try:
            given, corners = (np.asarray(array) for array in found)  # type: ignore[attr-defined]
        except (TypeError, ValueError):
            raise self.extension.refuse(_EXPECTED, _shown(found)) from None
        numbers = given.dtype.kind in "fiu" and corners.dtype.kind in "iu"
        if not numbers or any(a.ndim != 2 or a.shape[1] != 3 for a in (given, corners)):
            raise self.extension.refuse(_EXPECTED, f"{_shown(given)} and {_shown(corners)}")
        if corners.size and not 0 <= corners.min() <= corners.max() < min(
            len(given), _LARGEST_INDEX
        ):
            raise self.extension.refuse(
                _EXPECTED,
                f"faces with {corners.min()} to {corners.max()}, and {len(given)} vertices",
            )
        return given.astype(np.float64), corners.astype(np.int64)


def _ply_bytes(vertices: NDArray[np.float64], faces: NDArray[np.int64]) -> bytes:
    """Write a mesh as a binary PLY file, coordinates bit for bit."""
    lists = np.zeros(len(faces), _FACE)
    lists["count"], lists["corners"] = 3, faces
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"element vertex {len(vertices)}\n"
        + "".join(f"property double {axis}\n" for axis in "xyz")
        + f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    return header.encode() + vertices.astype("<f8").tobytes() + lists.tobytes()


def _shown(found: Any) -> str:
    if isinstance(found, np.ndarray):
        return f"an array {found.shape} of {found.dtype}"
    return f"{type(found).__name__} {str(found)[:60]!r}"
