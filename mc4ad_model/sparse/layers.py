# SPDX-License-Identifier: Apache-2.0
"""The sparse convolution as a torch module, with MinkowskiEngine's parameter layout."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mc4ad_model.sparse.backends import Backend, TorchBackend
from mc4ad_model.sparse.coordinates import CoordinatePyramid
from mc4ad_model.sparse.epilogue import Epilogue, finish
from mc4ad_model.sparse.kernel_maps import Geometry


class SparseConvolution(nn.Module):
    """Submanifold, down or up convolution, as its geometry says.

    Parameters
    ----------
    in_channels, out_channels
        C_in, C_out.
    geometry
        Kernel size and strides.
    bias
        Adds one number for each output channel.
    backend
        The backend that computes it; torch alone by default.
    generator
        Source of the initial parameters; torch's global one by default.

    Attributes
    ----------
    kernel : (K, C_in, C_out), or (C_in, C_out) for kernel size 1
    bias : (1, C_out) or None
        Shapes, names and initial distribution of MinkowskiEngine: uniform within
        1 / sqrt(K * C_in), for up convolutions within 1 / sqrt(K * C_out).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        geometry: Geometry,
        *,
        bias: bool = False,
        backend: Backend | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.geometry = geometry
        self.backend = backend or TorchBackend()
        shape = (in_channels, out_channels)
        pointwise = geometry.kernel_size == 1
        self.kernel = nn.Parameter(torch.zeros(shape if pointwise else (geometry.offsets, *shape)))
        self.bias = nn.Parameter(torch.zeros(1, out_channels)) if bias else None
        bound = 1 / math.sqrt(geometry.offsets * shape[geometry.transposed])
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator)

    def forward(
        self, features: Tensor, pyramid: CoordinatePyramid, epilogue: Epilogue | None = None
    ) -> Tensor:
        """Convolve features (V_source, C_in) -> (V_target, C_out), and apply the epilogue."""
        if self.geometry.kernel_size > 1 and self.bias is None:
            return self.backend.convolve(features, self.kernel, pyramid, self.geometry, epilogue)
        if self.geometry.kernel_size == 1:
            output = features @ self.kernel
        else:
            output = self.backend.convolve(features, self.kernel, pyramid, self.geometry)
        return finish(output if self.bias is None else output + self.bias, epilogue)

    def extra_repr(self) -> str:
        """Describe channels, kernel and strides, for torch's representation of modules."""
        geometry, shape = self.geometry, self.kernel.shape
        strides = f"stride {geometry.source_stride} -> {geometry.target_stride}"
        return f"{shape[-2]} -> {shape[-1]}, kernel {geometry.kernel_size}^3, {strides}"
