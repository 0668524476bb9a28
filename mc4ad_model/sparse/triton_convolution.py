# SPDX-License-Identifier: Apache-2.0
"""The sparse convolution and its gradients by the Triton kernels.

Forward and the features' gradient are one kernel on two tables; the kernel's gradient sums runs of
each offset's pairs and then the runs. Nothing is added atomically and nothing is tuned at run time,
so the same call gives the same bits. Needs a CUDA device, or TRITON_INTERPRET=1 on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from mc4ad_model.sparse.epilogue import Epilogue
from mc4ad_model.sparse.kernel_maps import KernelMap, NeighbourTable
from mc4ad_model.sparse.tiles import OffsetPairs, Tiles, make_pairs, make_tiles
from mc4ad_model.sparse.triton_kernels import convolve_tiles, kernel_gradient

WORDS = 2  # of a kernel with more offsets than SINGLE_WORD
SINGLE_WORD = 8
SPLITS = 16  # runs of an offset's pairs in the kernel's gradient
# of the compiler; Triton 3.9 warns where this one, which was the default, is not said
OPTIONS = {"enable_fp_fusion": True}


@dataclass(frozen=True)
class TileShape:
    """The fixed shape of a program's work: rows by columns of output, `depth` channels at a time.

    warps and stages : what Triton compiles for; they change no result.
    """

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int


def tile_shape(channels: int, capability: tuple[int, int] | None) -> TileShape:
    """Return the shape for so many output channels, by the class of the device.

    capability : the device's compute capability; None for Triton's interpreter
    """
    if capability is None:  # what is small is fast
        return TileShape(16, 16, 16, 1, 1)
    columns = 32 if channels <= 32 else 64 if channels <= 64 else 128
    return TileShape(64, columns, 32, 4, 4 if capability >= (9, 0) else 3)


def triton_convolution(
    features: Tensor, kernel: Tensor, kernel_map: KernelMap, epilogue: Epilogue | None = None
) -> Tensor:
    """Convolve features (V_source, C_in) with a kernel (K, C_in, C_out) -> (V_target, C_out).

    Both are float32, float16 or bfloat16, on one CUDA device; sums are in float32. Float32 products
    follow torch's float32 matmul precision: "highest" is IEEE, anything else TF32.

    epilogue : one that fuses, computed in float32 in the same launch; then there are no gradients
    """
    if epilogue is None:
        return _apply(features, kernel, kernel_map)
    return _convolve(features.contiguous(), kernel, kernel_map.forward, epilogue=epilogue)


def _shape(channels: int, device: torch.device) -> TileShape:
    if device.type == "cpu":
        return tile_shape(channels, None)
    return tile_shape(channels, torch.cuda.get_device_capability(device))


def _precision() -> str:
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"


class _TritonConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, kernel: Tensor, kernel_map: KernelMap) -> Tensor:
        features = features.contiguous()
        ctx.save_for_backward(features, kernel)
        ctx.kernel_map = kernel_map
        return _convolve(features, kernel, kernel_map.forward)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, kernel = ctx.saved_tensors
        kernel_map: KernelMap = ctx.kernel_map
        gradient = gradient.contiguous()
        of_features = of_kernel = None
        if ctx.needs_input_grad[0]:
            transposed, mirrored = kernel.transpose(1, 2), kernel_map.mirrored
            of_features = _convolve(gradient, transposed, kernel_map.backward, mirrored)
        if ctx.needs_input_grad[1]:
            of_kernel = _gradient_of_kernel(features, gradient, kernel, kernel_map.forward)
        return of_features, of_kernel, None


# torch types Function.apply as untyped
_apply: Callable[[Tensor, Tensor, KernelMap], Tensor] = _TritonConvolution.apply


def _tiles(table: NeighbourTable, rows: int) -> list[Tiles]:
    words = 1 if table.offsets <= SINGLE_WORD else WORDS
    tiles: list[Tiles] = table.kept(f"tiles of {rows}", lambda: make_tiles(table, rows, words))
    return tiles


def _convolve(
    features: Tensor,
    kernel: Tensor,
    table: NeighbourTable,
    reverse: bool = False,
    epilogue: Epilogue | None = None,
) -> Tensor:
    """Convolve by the offsets of a table; `reverse` reads the kernel's matrices backwards."""
    offsets, inside, outside = kernel.shape
    shape = _shape(outside, features.device)
    output = features.new_empty(table.targets, outside)  # each tile writes all of its rows
    if not table.targets:
        return output
    words, source_rows = _tiles(table, shape.rows), table.table
    # words add to float32 sums: those of bfloat16 are rounded once, by the last word
    exact = len(words) == 1 or output.dtype == torch.float32
    partial = output if exact else torch.empty_like(output, dtype=torch.float32)
    for number, tiles in enumerate(words):
        grid, last = (len(tiles.counts), triton.cdiv(outside, shape.columns)), tiles is words[-1]
        convolve_tiles[grid](
            features, kernel, partial, output if last else partial,
            source_rows, tiles.order, tiles.live, tiles.counts,
            tiles.live.shape[1], table.sources, table.targets, source_rows.stride(0),
            offsets - 1 if reverse else 0, -1 if reverse else 1,
            inside, outside, *kernel.stride(), **_following(epilogue if last else None),
            ADD=number > 0, ROWS=shape.rows, COLUMNS=shape.columns, DEPTH=shape.depth,
            PRECISION=_precision(), num_warps=shape.warps, num_stages=shape.stages, **OPTIONS,
        )  # fmt: skip
    return output


def _following(epilogue: Epilogue | None) -> dict[str, Any]:
    """Return the kernel's arguments for an epilogue, or for none."""
    if epilogue is None:
        names = ("mean", "variance", "weight", "bias", "epsilon", "added")
        return {**dict.fromkeys(names), "NORM": False, "SUM": False, "RELU": False}
    norm, added = epilogue.norm, epilogue.added
    return {
        "mean": norm.running_mean, "variance": norm.running_var, "weight": norm.weight,
        "bias": norm.bias, "epsilon": norm.eps,
        "added": None if added is None else added.contiguous(),
        "NORM": True, "SUM": added is not None, "RELU": epilogue.relu,
    }  # fmt: skip


def _gradient_of_kernel(
    features: Tensor, gradient: Tensor, kernel: Tensor, table: NeighbourTable
) -> Tensor:
    """Return the gradient (K, C_in, C_out) in the kernel's dtype."""
    offsets, inside, outside = kernel.shape
    if not table.targets:
        return torch.zeros_like(kernel)
    shape = _shape(outside, features.device)
    pairs: OffsetPairs = table.kept("pairs", lambda: make_pairs(table))
    splits = 2 if features.device.type == "cpu" else SPLITS
    # each program writes all of its part
    partial = features.new_empty((splits, offsets, inside, outside), dtype=torch.float32)
    depth = min(64, shape.columns)
    grid = (offsets * splits, triton.cdiv(inside, depth), triton.cdiv(outside, shape.columns))
    kernel_gradient[grid](
        features, gradient, partial, table.table, pairs.targets, pairs.counts,
        table.table.stride(0), pairs.targets.stride(0), offsets, splits, inside, outside,
        ROWS=shape.depth, COLUMNS=shape.columns, DEPTH=depth, PRECISION=_precision(),
        num_warps=shape.warps, num_stages=shape.stages, **OPTIONS,
    )  # fmt: skip
    return partial.sum(0).to(kernel.dtype)
