# SPDX-License-Identifier: Apache-2.0
"""The device of a training or an evaluation: what the user says of it, and what there is."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from intravariance.errors import InputError
from intravariance.executors.processes import cores

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Machine:
    """The user's choices of how a run uses its machine.

    device : "auto" (a GPU if there is one), "cpu" or "cuda". backend : what computes the sparse
    convolutions, "torch", "triton" or "minkowski". workers : processes that make training samples,
    None for one core less than there are, 4 at most. quiet : whether to leave out progress on
    stderr. on_epoch : called with a training's folder after an epoch, once its metrics.jsonl has
    it.

    The number of workers changes no result.
    """

    device: str = "auto"
    backend: str = "torch"
    workers: int | None = None
    quiet: bool = False
    on_epoch: Callable[[Path], None] | None = None

    @property
    def loaders(self) -> int:
        """Return the number of processes that make training samples."""
        return min(4, cores() - 1) if self.workers is None else self.workers

    def torch_device(self) -> torch.device:
        """Return the device; under torchrun each process has a GPU of its own.

        Raises
        ------
        InputError
            "cuda" without a GPU, or fewer GPUs than processes.
        """
        import torch  # noqa: PLC0415 - weight

        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("--device cuda: torch finds no GPU here; take --device cpu")
        if self.device == "cpu" or not torch.cuda.is_available():
            return torch.device("cpu")
        number = int(os.environ.get("LOCAL_RANK", "0"))
        if number >= torch.cuda.device_count():
            raise InputError(
                f"torchrun: process {number} has no GPU of its own, there are "
                f"{torch.cuda.device_count()}; start as many processes as GPUs, or take "
                "--device cpu"
            )
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
        return device
