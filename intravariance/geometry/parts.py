# SPDX-License-Identifier: Apache-2.0
"""The parts of a mesh: what hangs together through shared vertices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from intravariance.geometry.mesh import Mesh
from intravariance.geometry.topology import directed_edges


def components(mesh: Mesh) -> NDArray[np.int64]:
    """Return (F,) number of the connected component (through shared vertices) of each face."""
    start, end = directed_edges(mesh.faces)
    shape = (len(mesh.vertices), len(mesh.vertices))
    graph = coo_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=shape)
    _, labels = connected_components(graph, directed=False)
    _, numbers = np.unique(labels[mesh.faces[:, 0]], return_inverse=True)
    return numbers  # type: ignore[no-any-return]
