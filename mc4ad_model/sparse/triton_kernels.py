# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of the sparse convolution: no atomics, sums in float32, in a fixed order.

Imported by `triton_convolution` alone, where Triton is installed. With TRITON_INTERPRET=1 in the
environment they run in Triton's interpreter on the CPU.
"""

from __future__ import annotations

import triton
import triton.language as tl

# Numbers that change with the clouds. Triton would compile anew for 1 and for multiples of 16.
_COUNTS = ["width", "sources", "targets", "table_stride", "first", "step"]
_PAIR_COUNTS = ["table_stride", "pairs_stride", "offsets", "splits"]
# Tensors of a second word begin inside others, in some clouds at a multiple of 16 bytes: these too.
_ANYWHERE = ["live", "counts"]


# No annotation but constexpr: the compiler reads them, and knows no other name of this module.
@triton.jit(  # type: ignore[untyped-decorator]
    do_not_specialize=_COUNTS, do_not_specialize_on_alignment=_ANYWHERE
)
def convolve_tiles(  # type: ignore[no-untyped-def]
    features, kernel, partial, output, table, order, live, counts,
    width, sources, targets, table_stride, first, step,
    inside, outside, kernel_stride, in_stride, out_stride,
    mean, variance, weight, bias, epsilon, added,
    ADD: tl.constexpr, NORM: tl.constexpr, SUM: tl.constexpr, RELU: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Compute one tile of rows by COLUMNS output channels.

    output[row] = sum over live offsets k of features[table[k, row]] @ kernel[first + step k],
    and partial[row] where ADD. features (sources, inside), output and partial (targets, outside)
    are contiguous; partial is float32. live (tiles, width).

    It is then normalised by mean, variance, weight and bias (outside,) where NORM; added (targets,
    outside) is added where SUM; negative numbers become 0 where RELU.
    """
    tile = tl.program_id(0)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    rows = tl.load(order + tile * ROWS + tl.arange(0, ROWS))
    there = rows < targets
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for number in range(tl.load(counts + tile)):
        offset = tl.load(live + tile * width + number)
        source = tl.load(table + offset * table_stride + rows, mask=there, other=sources)
        found = source < sources
        matrix = kernel + (first + step * offset) * kernel_stride
        for start in range(0, inside, DEPTH):
            depth = start + tl.arange(0, DEPTH)
            left = tl.load(
                features + source.to(tl.int64)[:, None] * inside + depth[None, :],
                mask=found[:, None] & (depth < inside)[None, :],
                other=0.0,
            )
            right = tl.load(
                matrix + depth[:, None] * in_stride + columns[None, :] * out_stride,
                mask=(depth < inside)[:, None] & (columns < outside)[None, :],
                other=0.0,
            )
            total = tl.dot(left, right, total, input_precision=PRECISION)
    place = rows.to(tl.int64)[:, None] * outside + columns[None, :]
    held = there[:, None] & (columns < outside)[None, :]
    if ADD:
        total += tl.load(partial + place, mask=held, other=0.0)
    if NORM:
        shown = columns < outside
        spread = tl.sqrt(
            tl.load(variance + columns, mask=shown, other=1.0).to(tl.float32) + epsilon
        )
        scale = tl.load(weight + columns, mask=shown, other=0.0).to(tl.float32) / spread
        middle = tl.load(mean + columns, mask=shown, other=0.0).to(tl.float32)
        shift = tl.load(bias + columns, mask=shown, other=0.0).to(tl.float32)
        total = (total - middle[None, :]) * scale[None, :] + shift[None, :]
    if SUM:
        total += tl.load(added + place, mask=held, other=0.0).to(tl.float32)
    if RELU:
        total = tl.where(total < 0, 0.0, total)  # what is no number stays
    tl.store(output + place, total.to(output.dtype.element_ty), mask=held)


@triton.jit(do_not_specialize=_PAIR_COUNTS)  # type: ignore[untyped-decorator]
def kernel_gradient(  # type: ignore[no-untyped-def]
    features, gradient, partial, table, pairs, counts,
    table_stride, pairs_stride, offsets, splits, inside, outside,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Compute DEPTH by COLUMNS of one offset's gradient, from one of `splits` runs of its pairs.

    partial (splits, K, inside, outside) float32: sum over the run of features[source]^T @
    gradient[target].
    """
    offset = tl.program_id(0) // splits
    split = tl.program_id(0) % splits
    depth = tl.program_id(1) * DEPTH + tl.arange(0, DEPTH)
    columns = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    count = tl.load(counts + offset)
    run = tl.cdiv(tl.cdiv(count, splits), ROWS) * ROWS
    begin = split * run
    end = tl.minimum(begin + run, count)
    total = tl.zeros((DEPTH, COLUMNS), tl.float32)
    for start in range(begin, end, ROWS):
        place = start + tl.arange(0, ROWS)
        there = place < end
        target = tl.load(pairs + offset * pairs_stride + place, mask=there, other=0)
        source = tl.load(table + offset * table_stride + target, mask=there, other=0)
        left = tl.load(
            features + source.to(tl.int64)[None, :] * inside + depth[:, None],
            mask=there[None, :] & (depth < inside)[:, None],
            other=0.0,
        )
        right = tl.load(
            gradient + target.to(tl.int64)[:, None] * outside + columns[None, :],
            mask=there[:, None] & (columns < outside)[None, :],
            other=0.0,
        )
        total = tl.dot(left, right, total, input_precision=PRECISION)
    matrix = partial + (split * offsets + offset).to(tl.int64) * (inside * outside)
    held = (depth < inside)[:, None] & (columns < outside)[None, :]
    tl.store(matrix + depth[:, None] * outside + columns[None, :], total, mask=held)
