# SPDX-License-Identifier: Apache-2.0
"""Products whose surface and inside are known in closed form: a thick solid, a thin shell, and an
open sheet."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from intravariance.geometry.mesh import Mesh, mesh_from_arrays
from mc4ad_model.pseudo_anomalies.product import Product
from tests.mc4ad_model.pseudo_anomalies.shapes import HALF, SHELL


@pytest.fixture(scope="session")
def box() -> Product:
    shape = trimesh.creation.box(extents=2 * HALF)
    return Product.from_mesh(as_mesh(shape), np.random.default_rng(0))


@pytest.fixture(scope="session")
def shell() -> Product:
    outer = trimesh.creation.icosphere(subdivisions=4, radius=SHELL[1])
    inner = trimesh.creation.icosphere(subdivisions=4, radius=SHELL[0])
    inner.invert()
    both = trimesh.util.concatenate([outer, inner])
    return Product.from_mesh(as_mesh(both), np.random.default_rng(0))


@pytest.fixture(scope="session")
def sheet() -> Product:
    """Return the side of a tube without ends, which faces outwards."""
    tube = trimesh.creation.cylinder(radius=0.6, height=1.4, sections=48)
    side = tube.submesh([np.abs(tube.face_normals[:, 2]) < 0.5], append=True)
    return Product.from_mesh(as_mesh(side), np.random.default_rng(0))


@pytest.fixture(params=["box", "shell", "sheet"])
def product(request: pytest.FixtureRequest) -> Product:
    chosen: Product = request.getfixturevalue(request.param)
    return chosen


def as_mesh(shape: trimesh.Trimesh) -> Mesh:
    return mesh_from_arrays(shape.vertices, shape.faces)
