# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of networks, as pairs of files (`mc4ad_model.methods.saved_files`).

The JSON file holds the network's configuration and the caller's metadata. `write_tensors` and
`read_tensors` keep any other named tensors in the same way (the optimiser's state, for example), in
a pair of its own beside the network's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from intravariance.errors import InputError, IntegrityError, first_of
from mc4ad_model.methods.mc4ad.architectures import NetworkConfig
from mc4ad_model.methods.mc4ad.deviations.network import new_network
from mc4ad_model.methods.mc4ad.network import CFPNet
from mc4ad_model.methods.saved_files import pair_names, read_pair, write_pair

NAMED = 5  # so many names are spelled out in a message, the rest is counted


def save_checkpoint(
    path: str | Path, network: CFPNet, metadata: Mapping[str, Any], force: bool = False
) -> None:
    """Write the network's parameters and statistics, its configuration and `metadata`.

    Parameters
    ----------
    path
        Both files' name, with or without `.safetensors` or `.json`.
    metadata
        Plain values that JSON can hold: where the network comes from.
    force
        Whether existing files may be replaced.

    Raises
    ------
    InputError
        The files exist or cannot be written, or the metadata is not plain.
    """
    description = {"network": asdict(network.config), "metadata": dict(metadata)}
    write_tensors(path, network.state_dict(), description, force)


def load_checkpoint(
    path: str | Path, backend: str = "torch", expected: NetworkConfig | None = None
) -> tuple[CFPNet, dict[str, Any]]:
    """Read a checkpoint.

    Parameters
    ----------
    path
        Name of the pair, or of either file.
    backend
        What computes the convolutions, one of `sparse.BACKENDS`.
    expected
        The architecture that it must have; any without it.

    Returns
    -------
    network
        On the CPU, in training mode, every tensor as it was saved.
    metadata

    Raises
    ------
    InputError
        A file is missing or is not ours, or the network is of another architecture.
    IntegrityError
        The two files do not belong together or are damaged.
    BackendUnavailable
        The backend is not installed or cannot be used here.
    """
    tensors, description = read_tensors(path)
    table, json_file = pair_names(path)
    config, metadata = description.get("network"), description.get("metadata")
    if not isinstance(config, dict) or not isinstance(metadata, dict):
        raise InputError(f"{json_file}: describes no network; it holds {_some(description)}")
    found = NetworkConfig.from_mapping(config, str(json_file))
    if expected is not None and found != expected:
        different = [
            f"{field.name} = {getattr(found, field.name)!r}, "
            f"expected {getattr(expected, field.name)!r}"
            for field in fields(NetworkConfig)
            if getattr(found, field.name) != getattr(expected, field.name)
        ]
        raise InputError(f"{json_file}: another architecture: {'; '.join(different)}")
    with torch.device("meta"):  # a size in the file takes no memory before it is checked
        network = new_network(found, backend)
    assign_tensors(network, tensors, str(table))
    return network, metadata


def assign_tensors(network: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Give the network these parameters and statistics, in the precision that they have.

    Raises
    ------
    InputError
        Names or shapes are not those of the network; `where` and the first of them are named.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    shapes = {
        f"{name} {tuple(tensors[name].shape)}, expected {shape}"
        for name, shape in wanted.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    }
    kinds = {name: tensor.is_floating_point() for name, tensor in network.state_dict().items()}
    precisions = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    odd = {
        f"{name} {tensor.dtype}"
        for name, tensor in tensors.items()
        if tensor.layout != torch.strided or tensor.is_floating_point() != kinds.get(name)
    }
    faults = {
        "missing": wanted.keys() - tensors.keys(),
        "unexpected": tensors.keys() - wanted.keys(),
        "of another shape": shapes,
        "of another type": odd,
        "of several precisions": set(map(str, precisions)) if len(precisions) > 1 else set(),
    }
    found = [f"{fault}: {_some(names)}" for fault, names in faults.items() if names]
    if found:
        raise InputError(
            f"{where}: these tensors are not the ones of this architecture. {'; '.join(found)}"
        )
    own = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    network.load_state_dict(own, assign=True)


def write_tensors(
    path: str | Path,
    tensors: Mapping[str, Tensor],
    description: Mapping[str, Any],
    force: bool = False,
) -> None:
    """Write named tensors and a description of plain values. Errors as of `write_pair`."""
    content = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    )
    write_pair(path, content, description, force)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote: tensors and description. Errors as of `read_pair`."""
    content, description = read_pair(path)
    try:
        return safetensors.torch.load(content), description
    except SafetensorError as error:
        raise IntegrityError(f"{pair_names(path)[0]} is not a safetensors file: {error}") from error


def _some(names: Iterable[str]) -> str:
    """Return the first few of some names, for a message."""
    return first_of(sorted(names), NAMED) or "nothing"
