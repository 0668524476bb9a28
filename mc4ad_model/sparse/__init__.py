# SPDX-License-Identifier: Apache-2.0
"""Sparse 3-D convolution on voxelised point clouds, in plain torch, Triton or MinkowskiEngine."""

from mc4ad_model.sparse.backends import BACKENDS, Backend, TorchBackend, get_backend
from mc4ad_model.sparse.convolution import sparse_convolution, sparse_convolution_reference
from mc4ad_model.sparse.coordinates import (
    BATCH_LIMIT,
    COORDINATE_LIMIT,
    CoordinatePyramid,
    Voxels,
    unique_coordinates,
    voxelise,
)
from mc4ad_model.sparse.epilogue import Epilogue
from mc4ad_model.sparse.gathering import gather_rows, reduce_rows
from mc4ad_model.sparse.kernel_maps import Geometry, KernelMap
from mc4ad_model.sparse.layers import SparseConvolution

__all__ = [
    "BACKENDS",
    "BATCH_LIMIT",
    "COORDINATE_LIMIT",
    "Backend",
    "CoordinatePyramid",
    "Epilogue",
    "Geometry",
    "KernelMap",
    "SparseConvolution",
    "TorchBackend",
    "Voxels",
    "gather_rows",
    "get_backend",
    "reduce_rows",
    "sparse_convolution",
    "sparse_convolution_reference",
    "unique_coordinates",
    "voxelise",
]
