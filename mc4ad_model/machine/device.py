# SPDX-License-Identifier: Apache-2.0
"""The device of a training or an evaluation: what the user says of it, and what there is."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from intravariance.errors import InputError
from intravariance.executors.processes import cores
from intravariance.progress import say

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
            "cuda" without a GPU that torch can compute on, or fewer GPUs than processes.
        """
        import torch  # noqa: PLC0415 - weight

        if self.device == "cpu":
            return torch.device("cpu")
        if not torch.cuda.is_available():
            if self.device == "cuda":
                raise InputError("--device cuda: torch finds no GPU here; take --device cpu")
            return torch.device("cpu")
        number = int(os.environ.get("LOCAL_RANK", "0"))
        if number >= torch.cuda.device_count():
            raise InputError(
                f"torchrun: process {number} has no GPU of its own, there are "
                f"{torch.cuda.device_count()}; start as many processes as GPUs, or take "
                "--device cpu"
            )
        if not runs_on(torch.cuda.get_device_capability(number), torch.cuda.get_arch_list()):
            found = _other_build(number)
            if self.device == "cuda":
                raise InputError(f"--device cuda: {found}; take --device cpu")
            if not self.quiet:
                _say_once(f"{found}; the processor computes (--device cpu)")
            return torch.device("cpu")
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
        return device


def runs_on(capability: tuple[int, int], built_for: Sequence[str]) -> bool:
    """Return whether a build of torch has kernels for a GPU.

    capability : the GPU's compute capability. built_for : what `torch.cuda.get_arch_list` says:
    "sm_86" runs on 8.6 and later ones of 8, "sm_90a" on 9.0 alone, and "compute_90" is compiled for
    9.0 and all that follow.
    """
    for architecture in built_for:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", architecture)
        if found is None:
            return True  # not NVIDIA's
        kind, major, minor, special = found.groups()
        own = (int(major), int(minor))
        later = own <= capability and (
            own[0] == capability[0] or (kind == "compute" and not special)
        )
        if own == capability or (later and special != "a"):
            return True
    return not built_for


def _other_build(number: int) -> str:
    import torch  # noqa: PLC0415 - weight

    major, minor = torch.cuda.get_device_capability(number)
    return (
        f"{torch.cuda.get_device_name(number)} has compute capability {major}.{minor}, and torch "
        f"{torch.__version__} is built for {', '.join(torch.cuda.get_arch_list())}"
    )


@functools.cache
def _say_once(text: str) -> None:
    say(text)
