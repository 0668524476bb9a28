# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of the sparse convolution: no atomics, sums in float32, in a fixed order.

Imported by `triton_convolution` alone, where Triton is installed. With TRITON_INTERPRET=1 in the
environment they run in Triton's interpreter on the CPU.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def convolve_tiles(
    features: Any, kernel: Any, output: Any, table: Any, order: Any, live: Any, counts: Any,
    sources: Any, targets: Any, table_stride: Any, first: Any, step: Any,
    kernel_stride: Any, in_stride: Any, out_stride: Any,
    C_IN: tl.constexpr, C_OUT: tl.constexpr, WIDTH: tl.constexpr, ADD: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, PRECISION: tl.constexpr,
) -> None:  # fmt: skip
    """Compute one tile of rows by COLUMNS output channels.

    output[row] (+)= sum over live offsets k of features[table[k, row]] @ kernel[first + step k].
    features (sources, C_IN) and output (targets, C_OUT) are contiguous. ADD: to what is there.
    """
    tile = tl.program_id(0)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    rows = tl.load(order + tile * ROWS + tl.arange(0, ROWS))
    there = rows < targets
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for number in range(tl.load(counts + tile)):
        offset = tl.load(live + tile * WIDTH + number)
        source = tl.load(table + offset * table_stride + rows, mask=there, other=sources)
        found = source < sources
        matrix = kernel + (first + step * offset) * kernel_stride
        for start in range(0, C_IN, DEPTH):
            depth = start + tl.arange(0, DEPTH)
            left = tl.load(
                features + source.to(tl.int64)[:, None] * C_IN + depth[None, :],
                mask=found[:, None] & (depth < C_IN)[None, :],
                other=0.0,
            )
            right = tl.load(
                matrix + depth[:, None] * in_stride + columns[None, :] * out_stride,
                mask=(depth < C_IN)[:, None] & (columns < C_OUT)[None, :],
                other=0.0,
            )
            total = tl.dot(left, right, total, input_precision=PRECISION)
    place = output + rows.to(tl.int64)[:, None] * C_OUT + columns[None, :]
    inside = there[:, None] & (columns < C_OUT)[None, :]
    if ADD:
        total += tl.load(place, mask=inside, other=0.0).to(tl.float32)
    tl.store(place, total.to(output.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def kernel_gradient(
    features: Any, gradient: Any, partial: Any, table: Any, pairs: Any, counts: Any,
    table_stride: Any, pairs_stride: Any, offsets: Any,
    C_IN: tl.constexpr, C_OUT: tl.constexpr, SPLITS: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, PRECISION: tl.constexpr,
) -> None:  # fmt: skip
    """Compute DEPTH by COLUMNS of one offset's gradient, from one of SPLITS runs of its pairs.

    partial (SPLITS, K, C_IN, C_OUT) float32: sum over the run of features[source]^T @
    gradient[target].
    """
    offset = tl.program_id(0) // SPLITS
    split = tl.program_id(0) % SPLITS
    depth = tl.program_id(1) * DEPTH + tl.arange(0, DEPTH)
    columns = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    count = tl.load(counts + offset)
    run = tl.cdiv(tl.cdiv(count, SPLITS), ROWS) * ROWS
    begin = split * run
    end = tl.minimum(begin + run, count)
    total = tl.zeros((DEPTH, COLUMNS), tl.float32)
    for start in range(begin, end, ROWS):
        place = start + tl.arange(0, ROWS)
        there = place < end
        target = tl.load(pairs + offset * pairs_stride + place, mask=there, other=0)
        source = tl.load(table + offset * table_stride + target, mask=there, other=0)
        left = tl.load(
            features + source.to(tl.int64)[None, :] * C_IN + depth[:, None],
            mask=there[None, :] & (depth < C_IN)[:, None],
            other=0.0,
        )
        right = tl.load(
            gradient + target.to(tl.int64)[:, None] * C_OUT + columns[None, :],
            mask=there[:, None] & (columns < C_OUT)[None, :],
            other=0.0,
        )
        total = tl.dot(left, right, total, input_precision=PRECISION)
    matrix = partial + (split * offsets + offset).to(tl.int64) * (C_IN * C_OUT)
    inside = (depth < C_IN)[:, None] & (columns < C_OUT)[None, :]
    tl.store(matrix + depth[:, None] * C_OUT + columns[None, :], total, mask=inside)
