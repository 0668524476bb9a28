# SPDX-License-Identifier: Apache-2.0
"""Networks that a method starts from, on disk: a pair of files that says where they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from intravariance.errors import InputError
from mc4ad_model.methods.mc4ad.checkpoints import assign_tensors, read_tensors, write_tensors
from mc4ad_model.methods.settings import read_section

Network = TypeVar("Network", bound=nn.Module)
Config = TypeVar("Config")


@dataclass(frozen=True)
class Pretrained(Generic[Network]):
    """A network in evaluation mode, and plain values that say where it comes from."""

    network: Network
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Number of learnt parameters."""
        return sum(p.numel() for p in self.network.parameters())


def save_pretrained(path: Path, pretrained: Pretrained[Any]) -> None:
    """Write the pair of files `path`, in place of what is there. Errors as of `write_pair`."""
    network = pretrained.network
    description = {"network": asdict(network.config), "origin": pretrained.origin}
    write_tensors(path, network.state_dict(), description, force=True)


def load_pretrained(
    path: Path, config: type[Config], make: Callable[[Config], Network]
) -> Pretrained[Network]:
    """Read the pair of files `path` that `save_pretrained` wrote.

    Parameters
    ----------
    config, make
        The type of the network's configuration, and what makes a network of one.

    Raises
    ------
    InputError
        A file is missing or not ours, or its tensors are another network's.
    IntegrityError
        The files do not belong together or are damaged.
    """
    tensors, description = read_tensors(path)
    found = read_section(config, description.get("network"), f"{path}.json: network")
    origin = description.get("origin")
    if not isinstance(origin, dict):
        raise InputError(f"{path}.json: expected a table origin, found {origin!r}")
    return with_tensors(lambda: make(found), tensors, f"{path}.safetensors", origin)


def with_tensors(
    make: Callable[[], Network], tensors: Mapping[str, Tensor], where: str, origin: dict[str, Any]
) -> Pretrained[Network]:
    """Make a network that has these parameters and statistics. Errors as of `assign_tensors`."""
    with torch.device("meta"):  # a size in the file takes no memory before it is checked
        network = make()
    assign_tensors(network, tensors, where)
    return Pretrained(network.eval(), origin)
