# SPDX-License-Identifier: Apache-2.0
"""Backends that compute the convolutions: torch alone, Triton on a GPU, or MinkowskiEngine.

All take the same parameters and give the same rows in the same order, so a model can be trained
with one and run with the other.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from intravariance.errors import InputError
from mc4ad_model.sparse.convolution import sparse_convolution
from mc4ad_model.sparse.coordinates import CoordinatePyramid
from mc4ad_model.sparse.epilogue import Epilogue, finish
from mc4ad_model.sparse.kernel_maps import Geometry
from mc4ad_model.sparse.minkowski import MinkowskiBackend
from mc4ad_model.sparse.triton_backend import TritonBackend

BACKENDS = ("torch", "triton", "minkowski")


class Backend(Protocol):
    """One way to compute a sparse convolution."""

    @property
    def name(self) -> str:
        """Return one of `BACKENDS`."""

    def convolve(
        self,
        features: Tensor,
        kernel: Tensor,
        pyramid: CoordinatePyramid,
        geometry: Geometry,
        epilogue: Epilogue | None = None,
    ) -> Tensor:
        """Convolve, differentiably.

        Features (V_source, C_in) and kernel (K, C_in, C_out) -> (V_target, C_out), to which the
        epilogue is applied.
        """


class TorchBackend:
    """The backend of `sparse_convolution`, which needs nothing but torch."""

    name = "torch"

    def convolve(
        self,
        features: Tensor,
        kernel: Tensor,
        pyramid: CoordinatePyramid,
        geometry: Geometry,
        epilogue: Epilogue | None = None,
    ) -> Tensor:
        """Convolve, as `Backend.convolve` says."""
        output = sparse_convolution(features, kernel, pyramid.kernel_map(geometry))
        return finish(output, epilogue)


def get_backend(name: str = "torch") -> Backend:
    """Make the backend of a name.

    Raises
    ------
    InputError
        There is no such backend.
    BackendUnavailable
        MinkowskiEngine or Triton is not installed or cannot be used here.
    """
    if name == "torch":
        return TorchBackend()
    if name == "triton":
        return TritonBackend()
    if name == "minkowski":
        return MinkowskiBackend()
    raise InputError(f"backend {name!r}: expected one of {', '.join(BACKENDS)}")
