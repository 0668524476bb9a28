# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation, a sum and ReLU that follow a sparse convolution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Epilogue:
    """Batch normalisation of a convolution's output, then a sum, then ReLU.

    Parameters
    ----------
    norm
        Its channels are those of the output.
    relu
        Whether ReLU comes last.
    added : (V_target, C_out), optional
        The other branch of a residual block.
    """

    norm: nn.BatchNorm1d
    relu: bool
    added: Tensor | None = None

    def fuses(self, like: Tensor, shape: tuple[int, int]) -> bool:
        """Tell whether it is one function of each number of an output, as a kernel computes it.

        like : a tensor of the output's dtype and device. shape : (V_target, C_out).
        """
        norm, added = self.norm, self.added
        if norm.training or torch.is_grad_enabled() or not norm.affine or norm.running_mean is None:
            return False
        if norm.running_mean.device != like.device or norm.num_features != shape[1]:
            return False
        return added is None or (
            added.shape == shape and added.dtype == like.dtype and added.device == like.device
        )

    def __call__(self, output: Tensor) -> Tensor:
        """Apply it to a convolution's output (V_target, C_out)."""
        output = self.norm(output)
        if self.added is not None:
            output = output + self.added
        return functional.relu(output, inplace=True) if self.relu else output


def finish(output: Tensor, epilogue: Epilogue | None) -> Tensor:
    """Apply an epilogue to a convolution's output (V_target, C_out), where there is one."""
    return output if epilogue is None else epilogue(output)
