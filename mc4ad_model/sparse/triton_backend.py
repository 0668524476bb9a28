# SPDX-License-Identifier: Apache-2.0
"""The backend of the Triton kernels: where they run, what they are checked against, what they skip.

Kernels of 2^3 and 3^3 go through Triton. The 5^3 stem on three channels and 1^3 are matrix products
already, and float64 is for referees: plain torch computes these.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from intravariance.errors import BackendUnavailable
from intravariance.progress import say
from mc4ad_model.sparse.convolution import (
    check_operands,
    sparse_convolution,
    sparse_convolution_reference,
)
from mc4ad_model.sparse.coordinates import CoordinatePyramid
from mc4ad_model.sparse.kernel_maps import Geometry

OLDEST = (8, 0)  # compute capability: the first with TF32 and bfloat16
KERNEL_SIZES = (2, 3)
# Largest difference from the referee at the start, as a share of the largest value.
TOLERANCE = 1e-2  # TF32 has 10 bits

_INSTEAD = "--backend torch computes the same without it"


class TritonBackend:
    """The backend of the Triton kernels, checked against plain torch when it is made.

    Raises
    ------
    BackendUnavailable
        Triton is not installed, or there is no CUDA device that is new enough.
    """

    name = "triton"

    def __init__(self) -> None:
        self._device = _device()
        self.works = True
        difference = self._self_test()
        if not difference <= TOLERANCE:
            self.works = False
            say(
                f"backend triton: its kernels differ from plain torch by {difference:.1e} of the "
                "largest value on this device; plain torch computes instead",
                quiet=False,
            )

    def convolve(
        self, features: Tensor, kernel: Tensor, pyramid: CoordinatePyramid, geometry: Geometry
    ) -> Tensor:
        """Convolve, as `Backend.convolve` says."""
        kernel_map = pyramid.kernel_map(geometry)
        skipped = geometry.kernel_size not in KERNEL_SIZES or features.dtype == torch.float64
        elsewhere = features.device.type != self._device.type
        if skipped or elsewhere or not self.works:
            return sparse_convolution(features, kernel, kernel_map)
        if torch.is_autocast_enabled(features.device.type):
            dtype = torch.get_autocast_dtype(features.device.type)
            features, kernel = features.to(dtype), kernel.to(dtype)
        check_operands(features, kernel, kernel_map.forward.sources, kernel_map.forward.offsets)
        output: Tensor = _engine().triton_convolution(features, kernel, kernel_map)
        return output

    def _self_test(self) -> float:
        """Return the largest difference from the referee, over outputs and gradients."""
        generator = torch.Generator().manual_seed(0)
        corners = torch.cartesian_prod(*[torch.arange(n) for n in (1, 5, 4, 3)])
        pyramid = CoordinatePyramid(corners[::2].contiguous().to(self._device))
        largest = 0.0
        for geometry in (Geometry(3, 1, 1), Geometry(2, 1, 2), Geometry(2, 2, 1)):
            shapes = (
                (pyramid.size(geometry.source_stride), 16), (geometry.offsets, 16, 16),
                (pyramid.size(geometry.target_stride), 16),
            )  # fmt: skip
            operands = [torch.randn(s, generator=generator).to(self._device) for s in shapes]
            kernel_map = pyramid.kernel_map(geometry)
            found = _with_gradients(_engine().triton_convolution, operands, kernel_map)
            expected = _with_gradients(sparse_convolution_reference, operands, kernel_map)
            for a, b in zip(found, expected, strict=True):
                difference = float((a - b).abs().max() / b.abs().max())
                largest = max(largest, difference if difference == difference else float("inf"))
        return largest


def _with_gradients(convolve: Any, operands: list[Tensor], kernel_map: Any) -> list[Tensor]:
    """Return the output and both gradients of a convolution, without autocast."""
    with torch.enable_grad(), torch.autocast(operands[0].device.type, enabled=False):
        features, kernel = (x.detach().requires_grad_() for x in operands[:2])
        output = convolve(features, kernel, kernel_map)
        return [output.detach(), *torch.autograd.grad(output, (features, kernel), operands[2])]


def _device() -> torch.device:
    """Return the type of device that the kernels run on.

    Raises
    ------
    BackendUnavailable
        There is none, or it is too old, or Triton is missing; said with what was found.
    """
    if find_spec("triton") is None:
        raise BackendUnavailable(
            "backend triton: Triton is not installed; a torch with CUDA brings it, or "
            f"pip install triton. {_INSTEAD}"
        )
    if os.environ.get("TRITON_INTERPRET") == "1":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BackendUnavailable(
            f"backend triton: it needs a CUDA device, and torch finds none. {_INSTEAD}"
        )
    found = torch.cuda.get_device_capability()
    if found < OLDEST:
        raise BackendUnavailable(
            f"backend triton: {torch.cuda.get_device_name()} has compute capability "
            f"{found[0]}.{found[1]}; expected {OLDEST[0]}.{OLDEST[1]} or later. {_INSTEAD}"
        )
    return torch.device("cuda")


def _engine() -> Any:
    """Return the module of the kernels, which can be imported only where Triton is."""
    from mc4ad_model.sparse import triton_convolution  # noqa: PLC0415 - weight

    return triton_convolution
