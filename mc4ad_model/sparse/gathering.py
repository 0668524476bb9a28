# SPDX-License-Identifier: Apache-2.0
"""From voxels to their points and back: sums in the points' order, without atomics.

So the same call gives the same bits each time, on CUDA too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def gather_rows(features: Tensor, rows: Tensor) -> Tensor:
    """Return features[rows], (N, C), of features (V, C) and rows (N,) int64, differentiably.

    On the CPU values and gradients have the bits of `features.index_select(0, rows)` (in bfloat16
    the gradients are rounded differently), whose gradient is a sum by atomics on CUDA.
    """
    return _apply(features, rows)


def reduce_rows(values: Tensor, rows: Tensor, size: int, mode: Literal["sum", "mean"]) -> Tensor:
    """Return sum or mean (size, C) of those of the values (N, C) that have each of `rows` (N,)."""
    order = torch.argsort(rows, stable=True)  # [N]
    bounds = torch.nn.functional.pad(torch.bincount(rows, minlength=size).cumsum(0), (1, 0))
    return torch.nn.functional.embedding_bag(
        order, values, bounds, mode=mode, include_last_offset=True
    )


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.size = len(features)
        return features.index_select(0, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        return reduce_rows(gradient.contiguous(), rows, ctx.size, "sum"), None


# torch types Function.apply as untyped
_apply: Callable[[Tensor, Tensor], Tensor] = _GatherRows.apply
