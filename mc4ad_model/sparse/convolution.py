# SPDX-License-Identifier: Apache-2.0
"""Sparse convolution in plain torch operations, with its own gradient; CPU and CUDA alike.

Two strategies give the same result:

* pairs: gather the sources of all (source, target) pairs ordered by offset, multiply each offset's
  run of rows with its matrix, and sum the products of each target row. No row is gathered or
  multiplied that is not there. Nothing is scattered, so sums come in the same order every time.
* im2col: gather all K neighbours of each target row, zeros where there is none, and multiply once.
  Better for very few channels (the 5^3 stem on 3 channels) and where nearly all neighbours exist.

Both work through the target rows in blocks whose buffers stay in the processor's cache.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from intravariance.errors import InputError
from mc4ad_model.sparse.kernel_maps import KernelMap, NeighbourTable, PairBlock

Strategy = Literal["pairs", "im2col"]

_MANY_OFFSETS = 64  # fewer than a 5^3 kernel has; not measured, as no GPU was at hand
# Measured with benchmarks/sparse_convolution.py; see docs/sparse_convolution.md.
_FEW_CHANNELS = 8
_DENSE = 1.3
# Elements of each of the two buffers: on the CPU, for each thread, large enough for long matrix
# products and small enough for the caches; on other devices, what memory may reasonably hold.
_CPU_BUFFER = 2**20
_LARGE_BUFFER = 2**28


def sparse_convolution(
    features: Tensor, kernel: Tensor, kernel_map: KernelMap, *, strategy: Strategy | None = None
) -> Tensor:
    """Convolve the features of the source voxels into the target voxels.

    Under autocast the work is done in the autocast dtype, otherwise in that of the features.

    Parameters
    ----------
    features : (V_source, C_in) float
    kernel : (K, C_in, C_out), the dtype of the features
        Offsets numbered as in `kernel_maps`, which is MinkowskiEngine's order.
    kernel_map
        From `CoordinatePyramid.kernel_map`.
    strategy
        By default chosen by shape and occupancy.

    Returns
    -------
    (V_target, C_out); row o is the sum over k of features[source(o, k)] @ kernel[k].

    Raises
    ------
    InputError
        Shapes or dtypes that do not fit each other or the kernel map.
    """
    device = features.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        features, kernel = features.to(dtype), kernel.to(dtype)
    check_operands(features, kernel, kernel_map.forward.sources, kernel_map.forward.offsets)
    return _apply(features, kernel, kernel_map, strategy)


def check_operands(features: Tensor, kernel: Tensor, sources: int, offsets: int) -> None:
    """Check features (sources, C_in) against kernel (offsets, C_in, C_out).

    Raises
    ------
    InputError
        Other shapes, two dtypes, or one that isn't floating point.
    """
    if features.ndim != 2 or len(features) != sources:
        raise InputError(
            f"features: expected ({sources}, C), one row for each source voxel, "
            f"found {tuple(features.shape)}"
        )
    if kernel.ndim != 3 or kernel.shape[:2] != (offsets, features.shape[1]):
        raise InputError(
            f"kernel: expected ({offsets}, {features.shape[1]}, C_out), found {tuple(kernel.shape)}"
        )
    if features.dtype != kernel.dtype or not features.is_floating_point():
        raise InputError(
            "features and kernel: expected one floating-point dtype, "
            f"found {features.dtype} and {kernel.dtype}"
        )


def sparse_convolution_reference(features: Tensor, kernel: Tensor, kernel_map: KernelMap) -> Tensor:
    """Convolve by one gather, product and sum for each offset: the obvious twin of the fast one."""
    table = kernel_map.forward
    output = features.new_zeros(table.targets, kernel.shape[2])
    for matrix, sources in zip(kernel, table.table, strict=True):
        target = (sources != table.sources).nonzero().squeeze(1)
        output = output.index_add(0, target, features[sources[target]] @ matrix)
    return output


class _SparseConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        kernel: Tensor,
        kernel_map: KernelMap,
        strategy: Strategy | None,
    ) -> Tensor:
        ctx.save_for_backward(features, kernel)
        ctx.kernel_map, ctx.strategy = kernel_map, strategy
        return _convolve(features, kernel.unbind(), kernel_map.forward, strategy)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        features, kernel = ctx.saved_tensors
        kernel_map: KernelMap = ctx.kernel_map
        gradient = gradient.contiguous()
        of_features = of_kernel = None
        if ctx.needs_input_grad[0]:
            matrices = kernel.transpose(1, 2).unbind()
            if kernel_map.mirrored:
                matrices = matrices[::-1]
            of_features = _convolve(gradient, matrices, kernel_map.backward, ctx.strategy)
        if ctx.needs_input_grad[1]:
            of_kernel = _kernel_gradient(features, gradient, kernel_map.forward, ctx.strategy)
        return of_features, of_kernel, None, None


# torch types Function.apply as untyped
_apply: Callable[[Tensor, Tensor, KernelMap, Strategy | None], Tensor] = _SparseConvolution.apply


def _choose(table: NeighbourTable, features: Tensor) -> Strategy:
    """Choose im2col where gathering and multiplying zeros costs less than summing by pair."""
    if features.shape[1] <= _FEW_CHANNELS:
        return "im2col"
    if features.device.type != "cpu" and table.offsets > _MANY_OFFSETS:
        return "im2col"  # a product for each offset is a launch, and the host waits for the runs
    if features.device.type == "cpu" and features.dtype == torch.bfloat16:
        return "im2col"  # torch compiles a bfloat16 product for each shape: runs have too many
    if table.targets * table.offsets <= _DENSE * table.pairs:
        return "im2col"
    return "pairs"


_kept = threading.local()


def _buffer(name: str, like: Tensor, rows: int, columns: int) -> Tensor:
    """Return uninitialised memory (rows, columns), of the dtype and device of `like`.

    On the CPU it is kept for the next call of this thread: fresh memory costs more, page by page,
    than the gathering it is for. It must not leave this module.
    """
    if like.device.type != "cpu":
        return like.new_empty(rows, columns)
    key = f"{name} {like.dtype}"
    kept: Tensor | None = getattr(_kept, key, None)
    if kept is None or kept.numel() < rows * columns:
        with torch.inference_mode(False):  # what is made in inference mode cannot be used outside
            kept = torch.empty(rows * columns, dtype=like.dtype)
        setattr(_kept, key, kept)
    return kept[: rows * columns].view(rows, columns)


def _block_rows(table: NeighbourTable, device: torch.device, elements: int) -> int:
    """Return how many target rows a block has, with so many buffer elements each.

    The number is a power of two of at least 256, but not more than the table has.
    """
    buffer = _CPU_BUFFER * torch.get_num_threads() if device.type == "cpu" else _LARGE_BUFFER
    rows = max(256, buffer // max(1, elements))
    return min(1 << (rows.bit_length() - 1), max(1, table.targets))


def _pair_blocks(table: NeighbourTable, channels: int, device: torch.device) -> list[PairBlock]:
    # Two classes of channels, so that a table is cut in two ways at most.
    """Cut the table's pairs into blocks for products with so many channels."""
    typical = 64 if channels <= 64 else 192
    elements = typical * table.pairs // max(1, table.targets)
    return table.blocks(_block_rows(table, device, elements))


def _convolve(
    features: Tensor, matrices: Sequence[Tensor], table: NeighbourTable, strategy: Strategy | None
) -> Tensor:
    """Convolve features [V_source, C_in] with K matrices [C_in, C_out] -> [V_target, C_out]."""
    if (strategy or _choose(table, features)) == "im2col":
        return _convolve_im2col(features, torch.cat(list(matrices)), table)
    return _convolve_pairs(features, matrices, table)


def _convolve_pairs(features: Tensor, matrices: Sequence[Tensor], table: NeighbourTable) -> Tensor:
    """Convolve by pairs: gather, multiply each offset's run of rows, sum by target row."""
    narrow, wide = matrices[0].shape
    outputs = []
    for block in _pair_blocks(table, max(narrow, wide), features.device):
        pairs = len(block.source)
        gathered = _buffer("gathered", features, pairs, narrow)
        torch.index_select(features, 0, block.source, out=gathered)
        products = _buffer("products", features, pairs, wide)
        runs = zip(_split(gathered, block), matrices, _split(products, block), strict=True)
        for rows, matrix, product in runs:
            if len(rows):
                torch.mm(rows, matrix, out=product)
        # the sum of each target row's products: [rows, C_out]
        outputs.append(
            torch.nn.functional.embedding_bag(
                block.order, products, block.bounds, mode="sum", include_last_offset=True
            )
        )
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def _split(rows: Tensor, block: PairBlock) -> Sequence[Tensor]:
    """Split the rows by offset."""
    return torch.split_with_sizes(rows, block.counts)


def _convolve_im2col(features: Tensor, matrix: Tensor, table: NeighbourTable) -> Tensor:
    """Convolve at once with a matrix [K * C_in, C_out]: the K matrices below each other."""
    output = features.new_empty(table.targets, matrix.shape[1])
    for rows, columns in _im2col(features, table):
        torch.mm(columns, matrix, out=output[rows])
    return output


def _im2col(features: Tensor, table: NeighbourTable) -> Iterator[tuple[slice, Tensor]]:
    """Yield slices of target rows with their neighbours' features [rows, K * C]."""
    channels = features.shape[1]
    padded = torch.nn.functional.pad(features, (0, 0, 0, 1))  # the last row, zeros: no neighbour
    step = _block_rows(table, features.device, table.offsets * channels)
    for start in range(0, table.targets, step):
        rows = slice(start, min(start + step, table.targets))
        neighbours = table.by_target[rows].reshape(-1)  # [rows * K]
        columns = _buffer("gathered", features, len(neighbours), channels)
        torch.index_select(padded, 0, neighbours, out=columns)
        yield rows, columns.view(rows.stop - start, -1)


def _kernel_gradient(
    features: Tensor, gradient: Tensor, table: NeighbourTable, strategy: Strategy | None
) -> Tensor:
    """Multiply features [V_source, C_in] and gradient [V_target, C_out] to [K, C_in, C_out]."""
    offsets, narrow, wide = table.offsets, features.shape[1], gradient.shape[1]
    # bfloat16 products are added up in float32
    exact = torch.promote_types(features.dtype, torch.float32)
    if (strategy or _choose(table, features)) == "im2col":
        matrix = features.new_zeros(offsets * narrow, wide, dtype=exact)
        for rows, columns in _im2col(features, table):
            _add_product(matrix, columns.t(), gradient[rows])
        return matrix.view(offsets, narrow, wide).to(features.dtype)
    total = features.new_zeros(offsets, narrow, wide, dtype=exact)
    for block in _pair_blocks(table, max(narrow, wide), features.device):
        pairs = len(block.source)
        sources = _buffer("gathered", features, pairs, narrow)
        targets = _buffer("products", gradient, pairs, wide)
        torch.index_select(features, 0, block.source, out=sources)
        torch.index_select(gradient, 0, block.target, out=targets)
        runs = zip(total, _split(sources, block), _split(targets, block), strict=True)
        for sums, source, target in runs:
            if len(source):
                _add_product(sums, source.t(), target)
    return total.to(features.dtype)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to a total that may be of a more exact dtype."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
