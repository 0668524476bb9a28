# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: named tensors in `NAME.safetensors`, everything else in `NAME.json` beside it.

The JSON file holds the network's configuration, the caller's metadata and the SHA-256 of the
tensor file; the JSON itself may be read and edited, and nothing notices. It is written last: a pair
that was interrupted half-way does not load, rather than load wrongly. So replacing a pair is not
atomic: to be safe, write a new name, then delete the old pair. Neither file can hold code.

`write_tensors` and `read_tensors` keep any other named tensors in the same way (the optimiser's
state, for example), in a pair of its own beside the network's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from intravariance.errors import InputError, IntegrityError
from intravariance.files.atomic import check_target, write_file
from mc4ad_model.methods.mc4ad.architectures import NetworkConfig
from mc4ad_model.methods.mc4ad.network import CFPNet

FORMAT = "intravariance-tensors"
VERSION = 1
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
        What computes the convolutions: "torch" or "minkowski".
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
        The backend is not installed.
    """
    tensors, description = read_tensors(path)
    table, json_file = _files(path)
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
        network = CFPNet(found, backend)
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
    """Write named tensors and a description of plain values as a pair of files.

    Raises
    ------
    InputError
        The files exist or cannot be written, or the description is not plain.
    """
    table, json_file = _files(path)
    check_target(table, force)
    check_target(json_file, force)
    content = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    )
    header = {
        **description,
        "format": FORMAT,
        "version": VERSION,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    try:
        text = json.dumps(header, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{json_file}: the metadata does not fit into JSON: {error}") from error
    write_file(table, content, force)
    write_file(json_file, (text + "\n").encode(), force)


def read_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a pair of files that `write_tensors` wrote; the description without our own fields.

    Raises
    ------
    InputError
        A file is missing, or is of another format or version.
    IntegrityError
        The two files do not belong together or are damaged.
    """
    table, json_file = _files(path)
    for file, other in ((table, json_file), (json_file, table)):
        if not file.is_file():
            half = f"; {other.name} alone is not a checkpoint" if other.is_file() else ""
            raise InputError(f"{file} does not exist{half}")
    try:
        description = json.loads(json_file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{json_file} is not valid JSON: {error}") from error
    if not isinstance(description, dict) or description.pop("format", None) != FORMAT:
        raise InputError(f'{json_file}: expected "format": "{FORMAT}"; this is another file')
    if (version := description.pop("version", None)) != VERSION:
        raise InputError(
            f"{json_file}: format version {version!r}, but this program reads {VERSION}; "
            "use the version of intravariance that wrote it"
        )
    content = table.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if (stated := description.pop("sha256", None)) != digest:
        raise IntegrityError(
            f"{table}: its SHA-256 is {digest}, but {json_file.name} says {stated}. The file is "
            "damaged, or writing the pair was interrupted: take another checkpoint."
        )
    try:
        return safetensors.torch.load(content), description
    except SafetensorError as error:
        raise IntegrityError(f"{table} is not a safetensors file: {error}") from error


def _files(path: str | Path) -> tuple[Path, Path]:
    """The pair's names. Only our own suffixes are cut off: "cap0.5" is a name."""
    path = Path(path)
    name = path.name.removesuffix(".safetensors").removesuffix(".json")
    return path.with_name(name + ".safetensors"), path.with_name(name + ".json")


def _some(names: Iterable[str]) -> str:
    """The first few of some names, for a message."""
    every = sorted(names)
    rest = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return (", ".join(every[:NAMED]) or "nothing") + rest
