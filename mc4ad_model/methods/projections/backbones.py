# SPDX-License-Identifier: Apache-2.0
"""The 2-D network of a fitted method: from a file that the user gives, or trained on renderings.

A fitted method keeps it in its run's folder, as `backbone.safetensors` and `backbone.json`, which
says where it comes from. A file is one of torchvision's, which are named by the first eight digits
of their SHA-256: `resnet18-f37072fd.pth` is ResNet18 trained on ImageNet.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch

from mc4ad_model.methods.pretrained import (
    Pretrained,
    load_pretrained,
    save_pretrained,
    with_tensors,
)
from mc4ad_model.methods.projections.resnet import PUBLISHED, ResNet18, ResNetConfig
from mc4ad_model.methods.published_tensors import file_sha256, published_tensors
from mc4ad_model.methods.settings import place_of

BACKBONE = "backbone"
_PUBLIC = "f37072fd"
_COUNTED = "num_batches_tracked"


Backbone = Pretrained[ResNet18]


def describe(backbone: Backbone) -> str:
    """Say for a person which network it is, with the SHA-256 of a file."""
    origin = backbone.origin
    if "sha256" not in origin:
        return f"{BACKBONE}: trained on renderings of the templates"
    known = "torchvision's" if origin["public"] else "not torchvision's"
    return f"{BACKBONE} {origin['file']}: sha256 {origin['sha256']} ({known})"


def read_published(path: Path) -> Backbone:
    """Read torchvision's ResNet18, a `.pth` file of its state dict.

    Raises
    ------
    InputError
        The file is missing, damaged, holds something else than tensors, or is another network's.
    """
    published = published_tensors(path, "state_dict")
    tensors = published.single_precision()
    with torch.device("meta"):
        names = list(ResNet18(PUBLISHED).state_dict())
    for name in names:
        # older files lack it, and nothing in evaluation needs it
        if name.endswith(_COUNTED):
            tensors.setdefault(name, torch.zeros((), dtype=torch.int64))
    origin = {**published.origin, "public": published.origin["sha256"].startswith(_PUBLIC)}
    return with_tensors(lambda: ResNet18(PUBLISHED), tensors, str(path), origin)


def save_backbone(folder: Path, backbone: Backbone) -> None:
    """Write a backbone into a folder, in place of what is there. Errors as of `write_pair`."""
    save_pretrained(folder / BACKBONE, backbone)


def load_backbone(folder: Path) -> Backbone:
    """Read what `save_backbone` wrote. Errors as of `load_pretrained`."""
    return load_pretrained(folder / BACKBONE, ResNetConfig, ResNet18)


def backbone_label(file: str) -> str:
    """Say for folders and tables which backbone it is; a file's name where it cannot be read."""
    if not file:
        return f"{BACKBONE}=self-trained"
    path = place_of(file)
    try:
        state = path.stat()
        return f"{BACKBONE}=file-{_known_sha256(path, state.st_size, state.st_mtime_ns)[:8]}"
    except OSError:
        return f"{BACKBONE}={path.stem}"


@lru_cache(maxsize=8)  # labels are asked for often
def _known_sha256(path: Path, size: int, changed: int) -> str:
    return file_sha256(path)
