# SPDX-License-Identifier: Apache-2.0
"""The 2-D network of a fitted method: from a file that the user gives, or trained on renderings.

A fitted method keeps it in its run's folder, as `backbone.safetensors` and `backbone.json`, which
says where it comes from. A file is one of torchvision's, which are named by the first eight digits
of their SHA-256: `resnet18-f37072fd.pth` is ResNet18 trained on ImageNet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from intravariance.errors import InputError
from mc4ad_model.methods.mc4ad.checkpoints import assign_tensors, read_tensors, write_tensors
from mc4ad_model.methods.projections.resnet import PUBLISHED, ResNet18, ResNetConfig
from mc4ad_model.methods.published_tensors import published_tensors
from mc4ad_model.methods.settings import read_section

BACKBONE = "backbone"
_PUBLIC = "f37072fd"
_COUNTED = "num_batches_tracked"


@dataclass(frozen=True)
class Backbone:
    """A network in evaluation mode, and plain values that say where it comes from."""

    network: ResNet18
    origin: dict[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Number of learnt parameters."""
        return sum(p.numel() for p in self.network.parameters())

    def describe(self) -> str:
        """Say for a person which network it is, with the SHA-256 of a file."""
        if "sha256" not in self.origin:
            return f"{BACKBONE}: trained on renderings of the templates"
        known = "torchvision's" if self.origin["public"] else "not torchvision's"
        return f"{BACKBONE} {self.origin['file']}: sha256 {self.origin['sha256']} ({known})"


def read_published(path: Path) -> Backbone:
    """Read torchvision's ResNet18, a `.pth` file of its state dict.

    Raises
    ------
    InputError
        The file is missing, damaged, holds something else than tensors, or is another network's.
    """
    tensors = published_tensors(path, "state_dict")
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.layout == torch.strided:
            tensor = tensor.float()  # images are single precision
            if not tensor.isfinite().all():
                raise InputError(f"{path}: {name} has numbers that are not finite")
        found[name] = tensor
    with torch.device("meta"):
        network = ResNet18(PUBLISHED)
    for name in network.state_dict():
        # older files lack it, and nothing in evaluation needs it
        if name.endswith(_COUNTED):
            found.setdefault(name, torch.zeros((), dtype=torch.int64))
    assign_tensors(network, found, str(path))
    digest = _sha256(path)
    origin = {"file": path.name, "sha256": digest, "public": digest.startswith(_PUBLIC)}
    return Backbone(network.eval(), origin)


def save_backbone(folder: Path, backbone: Backbone) -> None:
    """Write a backbone into a folder, in place of what is there. Errors as of `write_pair`."""
    description = {"network": asdict(backbone.network.config), "origin": backbone.origin}
    write_tensors(folder / BACKBONE, backbone.network.state_dict(), description, force=True)


def load_backbone(folder: Path) -> Backbone:
    """Read what `save_backbone` wrote.

    Raises
    ------
    InputError
        A file is missing or not ours, or its tensors are another network's.
    IntegrityError
        The files do not belong together or are damaged.
    """
    path = folder / BACKBONE
    tensors, description = read_tensors(path)
    config = read_section(ResNetConfig, description.get("network"), f"{path}.json: network")
    origin = description.get("origin")
    if not isinstance(origin, Mapping):
        raise InputError(f"{path}.json: expected a table origin, found {origin!r}")
    with torch.device("meta"):  # a size in the file takes no memory before it is checked
        network = ResNet18(config)
    assign_tensors(network, tensors, f"{path}.safetensors")
    return Backbone(network.eval(), dict(origin))


def backbone_label(file: str) -> str:
    """Say for folders and tables which backbone it is; a file's name where it cannot be read."""
    if not file:
        return f"{BACKBONE}=self-trained"
    path = Path(file)
    try:
        state = path.stat()
        return f"{BACKBONE}=file-{_known_sha256(path, state.st_size, state.st_mtime_ns)[:8]}"
    except OSError:
        return f"{BACKBONE}={path.stem}"


@lru_cache(maxsize=8)  # labels are asked for often
def _known_sha256(path: Path, size: int, changed: int) -> str:
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
