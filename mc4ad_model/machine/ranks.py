# SPDX-License-Identifier: Apache-2.0
"""The ranks: the processes that `torchrun` started, or this one alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class Ranks:
    """The processes of one training, as seen from this one.

    rank : this process's number; count : how many there are; local_rank : number on its machine,
    which is that of its GPU.
    """

    rank: int
    count: int
    local_rank: int

    @classmethod
    def here(cls, device: torch.device) -> Ranks:
        """Read from the environment what torchrun says; join the group when there are several."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(
            rank=int(os.environ.get("RANK", "0")),
            count=count,
            local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        )

    @property
    def first(self) -> bool:
        """Tell whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Wrap the network for training, so that gradients are averaged over processes.

        On GPUs batch normalisation sees the whole batch. (On CPUs torch has no such normalisation:
        each process normalises by its share, and the first one's statistics are kept.)
        """
        if self.count == 1:
            return network
        if next(network.parameters()).is_cuda:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
            return nn.parallel.DistributedDataParallel(network, device_ids=[self.local_rank])
        return nn.parallel.DistributedDataParallel(network)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Tell whether the flag is set in any process."""
        if self.count == 1:
            return flag
        value: Any = torch.tensor(float(flag), device=device)
        distributed.all_reduce(value)
        return bool(value > 0)

    def mean(self, values: Tensor) -> Tensor:
        """Average values over the processes, in place where there are several."""
        if self.count > 1:
            distributed.all_reduce(values)
            values /= self.count
        return values

    def wait(self) -> None:
        """Wait until all processes have come here."""
        if self.count > 1:
            distributed.barrier()
