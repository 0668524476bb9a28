# SPDX-License-Identifier: Apache-2.0
"""The ranks: the processes that `torchrun` started, or this one alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mc4ad_model.machine.device import Machine

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """rank : this process's number; count : how many there are; local_rank : number on its machine,
    which is that of its GPU."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @classmethod
    def here(cls, machine: Machine) -> Ranks:
        """Read what torchrun says in the environment, and join the group when there are several."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:  # torch is not needed
            return cls()
        from torch import distributed  # noqa: PLC0415 - weight

        if not distributed.is_initialized():
            on_gpu = machine.torch_device().type == "cuda"
            distributed.init_process_group("nccl" if on_gpu else "gloo")
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
        """Return the network to call in training.

        Gradients are averaged over processes, and on GPUs batch normalisation sees the whole
        batch. (On CPUs torch has no such normalisation:
        each process normalises by its share, and the first one's statistics are kept.)
        """
        if self.count == 1:
            return network
        from torch import nn  # noqa: PLC0415 - weight

        if next(network.parameters()).is_cuda:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
            return nn.parallel.DistributedDataParallel(network, device_ids=[self.local_rank])
        return nn.parallel.DistributedDataParallel(network)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Say whether the flag is set in any process."""
        if self.count == 1:
            return flag
        import torch  # noqa: PLC0415 - weight

        value: Any = torch.tensor(float(flag), device=device)
        torch.distributed.all_reduce(value)
        return bool(value > 0)

    def mean(self, values: Tensor) -> Tensor:
        """Average values that each process has its own of."""
        if self.count > 1:
            from torch import distributed  # noqa: PLC0415 - weight

            distributed.all_reduce(values)
            values /= self.count
        return values

    def wait(self) -> None:
        """Wait for all processes to come here."""
        if self.count > 1:
            from torch import distributed  # noqa: PLC0415 - weight

            distributed.barrier()
