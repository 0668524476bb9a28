# SPDX-License-Identifier: Apache-2.0
"""The backend of the Triton kernels: where they run, what they are checked against, what they skip.

Kernels of 2^3 and 3^3 go through Triton. The 5^3 stem and 1^3 are matrix products already, and
float64 is for referees: plain torch computes these.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from intravariance.errors import BackendUnavailable, shortened
from intravariance.extras import how_to_install
from intravariance.progress import say
from mc4ad_model.machine.memory import is_full
from mc4ad_model.sparse.convolution import (
    check_operands,
    sparse_convolution,
    sparse_convolution_reference,
)
from mc4ad_model.sparse.coordinates import CoordinatePyramid
from mc4ad_model.sparse.epilogue import Epilogue, finish
from mc4ad_model.sparse.kernel_maps import Geometry, KernelMap

OLDEST = (8, 0)  # compute capability: the first with TF32 and bfloat16
OLDEST_TRITON = (3, 2)  # of torch 2.6
KERNEL_SIZES = (2, 3)
# Largest difference from the referee at the start, as a share of the largest value.
TOLERANCE = 1e-2  # TF32 has 10 bits

_INSTEAD = "--backend torch computes the same without it"


class TritonBackend:
    """The backend of the Triton kernels, checked against plain torch when it is made.

    Where the kernels cannot be compiled or run, or differ, it says so, once for each device and
    matmul precision, and plain torch computes.

    Raises
    ------
    BackendUnavailable
        Triton is not installed or too old, there is no CUDA device that is new enough, or it does
        not answer any more after the kernels ran.
    """

    name = "triton"

    def __init__(self) -> None:
        self._device = _device()
        self.works = not _fault(self._device, torch.get_float32_matmul_precision())

    def convolve(
        self,
        features: Tensor,
        kernel: Tensor,
        pyramid: CoordinatePyramid,
        geometry: Geometry,
        epilogue: Epilogue | None = None,
    ) -> Tensor:
        """Convolve, as `Backend.convolve` says; in inference the epilogue is in the kernel.

        On another device than the current one when the backend was made, plain torch computes.
        """
        kernel_map = pyramid.kernel_map(geometry)
        skipped = geometry.kernel_size not in KERNEL_SIZES or features.dtype == torch.float64
        elsewhere = features.device != self._device
        if skipped or elsewhere or not self.works:
            return finish(sparse_convolution(features, kernel, kernel_map), epilogue)
        if torch.is_autocast_enabled(features.device.type):
            dtype = torch.get_autocast_dtype(features.device.type)
            features, kernel = features.to(dtype), kernel.to(dtype)
        check_operands(features, kernel, kernel_map.forward.sources, kernel_map.forward.offsets)
        convolve = _engine().triton_convolution
        shape = (kernel_map.forward.targets, kernel.shape[2])
        if epilogue is not None and epilogue.fuses(features, shape):
            fused: Tensor = convolve(features, kernel, kernel_map, epilogue)
            return fused
        return finish(convolve(features, kernel, kernel_map), epilogue)


@functools.cache
def _fault(device: torch.device, precision: str) -> str:
    """Return what keeps the kernels from being used on a device, "" for nothing, and say it.

    precision : torch's float32 matmul precision, with which they are tested
    """
    try:
        # networks may be made under another default device, such as "meta", or without gradients
        with torch.device("cpu"), torch.inference_mode(False):
            difference = max(_differences(device))
        fault = f"differ from plain torch by {difference:.1e} of the largest value on this device"
        fault = "" if difference <= TOLERANCE else fault
    except Exception as error:  # of Triton's import or compiler, a C compiler, the driver
        if is_full(error):  # says nothing of the kernels
            raise
        _check_device(device, error)
        fault = f"cannot be used here ({_described(error)})"
    if fault:
        say(f"backend triton: its kernels {fault}; plain torch computes instead", quiet=False)
    return fault


def _check_device(device: torch.device, error: Exception) -> None:
    """Raise BackendUnavailable where a fault left the device unusable, for plain torch too."""
    try:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except RuntimeError:
        raise BackendUnavailable(
            f"backend triton: the device does not answer any more ({_described(error)}). Start "
            f"again; {_INSTEAD}"
        ) from error


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {shortened(' '.join(str(error).split()))}"


def _differences(device: torch.device) -> Iterator[float]:
    """Yield largest differences from the referee, over outputs and gradients, for each kernel."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.cartesian_prod(*[torch.arange(n) for n in (1, 5, 4, 3)])
    pyramid = CoordinatePyramid(corners[::2].contiguous().to(device))
    for dtype, channels in _cases(device):
        for geometry in (Geometry(3, 1, 1), Geometry(2, 1, 2), Geometry(2, 2, 1)):
            sizes = (pyramid.size(geometry.source_stride), pyramid.size(geometry.target_stride))
            shapes = (
                (sizes[0], channels), (geometry.offsets, channels, channels), (sizes[1], channels)
            )  # fmt: skip
            operands = [torch.randn(s, generator=generator).to(device, dtype) for s in shapes]
            kernel_map = pyramid.kernel_map(geometry)
            found = _with_gradients(_engine().triton_convolution, operands, kernel_map)
            exact = [operand.float() for operand in operands]
            expected = _with_gradients(sparse_convolution_reference, exact, kernel_map)
            yield from map(_difference, found, expected)
            yield _difference(*_with_epilogue(operands, kernel_map))


def _difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference, in the largest number; infinity where one is no number."""
    difference = float((found - expected).abs().max() / expected.abs().max())
    return difference if difference == difference else float("inf")


def _with_epilogue(operands: list[Tensor], kernel_map: KernelMap) -> tuple[Tensor, Tensor]:
    """Return a convolution with normalisation, sum and ReLU by the kernels, and by plain torch."""
    features, kernel, added = operands
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        norm = torch.nn.BatchNorm1d(kernel.shape[2], device=features.device).eval()
        plain = sparse_convolution_reference(features.float(), kernel.float(), kernel_map)
        norm.running_mean, norm.running_var = plain.mean(0), plain.var(0, correction=0)
        for number, parameter in enumerate(norm.parameters(), 1):
            parameter.copy_(torch.linspace(number, -1, kernel.shape[2]))
        expected = Epilogue(norm, True, added.float())(plain)
        fused = Epilogue(norm, True, added)
        return _engine().triton_convolution(features, kernel, kernel_map, fused), expected


def _cases(device: torch.device) -> list[tuple[torch.dtype, int]]:
    """List dtypes and channels: each width of the tiles, and the widest in bfloat16."""
    if device.type == "cpu":  # the interpreter: one width, and it multiplies bfloat16 wrongly
        return [(torch.float32, 16)]
    return [*((torch.float32, channels) for channels in (16, 64, 128)), (torch.bfloat16, 128)]


def _with_gradients(convolve: Any, operands: list[Tensor], kernel_map: Any) -> list[Tensor]:
    """Return the output and both gradients of a convolution, without autocast."""
    with torch.enable_grad(), torch.autocast(operands[0].device.type, enabled=False):
        features, kernel = (x.detach().requires_grad_() for x in operands[:2])
        output = convolve(features, kernel, kernel_map)
        return [output.detach(), *torch.autograd.grad(output, (features, kernel), operands[2])]


def _device() -> torch.device:
    """Return the device that the kernels run on.

    Raises
    ------
    BackendUnavailable
        There is none, or it or Triton is too old or missing; said with what was found.
    """
    spec = find_spec("triton")
    if spec is None:
        raise BackendUnavailable(
            "backend triton: Triton is not installed; a torch with CUDA brings it, or "
            f"{how_to_install('triton')}. {_INSTEAD}"
        )
    text = Path(spec.origin).read_text(encoding="utf-8") if spec.origin else ""
    version = re.search(r"^__version__ = .(\d+)\.(\d+)", text, re.MULTILINE)  # nothing is imported
    if version and tuple(map(int, version.groups())) < OLDEST_TRITON:
        raise BackendUnavailable(
            f"backend triton: found Triton {'.'.join(version.groups())}; expected "
            f"{OLDEST_TRITON[0]}.{OLDEST_TRITON[1]} or later, as torch 2.6 and later bring. "
            f"{_INSTEAD}"
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
    return torch.device("cuda", torch.cuda.current_device())


def _engine() -> Any:
    """Return the module of the kernels, which can be imported only where Triton is."""
    from mc4ad_model.sparse import triton_convolution  # noqa: PLC0415 - weight

    return triton_convolution
