# SPDX-License-Identifier: Apache-2.0
"""Encoders on disk: `encoder.safetensors` and `encoder.json`, which says where they come from.

An encoder was trained here ("self-trained", on templates of a dataset file), or read from a file
that others published. The file of Point-MAE that was trained on ShapeNet is known by its SHA-256.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mc4ad_model.methods.point_mae.network import PAPER, NetworkConfig, PointEncoder
from mc4ad_model.methods.pretrained import (
    Pretrained,
    load_pretrained,
    save_pretrained,
    with_tensors,
)
from mc4ad_model.methods.published_tensors import published_tensors

ENCODER = "encoder"
SELF_TRAINED = "self-trained"
# pretrain.pth of the release of github.com/Pang-Yatian/Point-MAE (MIT), trained on ShapeNet
PUBLIC_SHA256 = "27ded932bb0a2625d5a8eb006df199b2578598c774aee6d86b985300b6a5fd20"

_TEMPLATE = "MAE_encoder."
_REST = ("MAE_decoder.", "decoder_pos_embed.", "increase_dim.", "mask_token")
_NAMES = {
    "encoder.first_conv": "embedding.point",
    "encoder.second_conv": "embedding.group",
    "pos_embed": "position",
    "norm": "norm",
}
_BLOCK = {
    "norm1": "before_attention",
    "norm2": "before_perceptron",
    "attn.qkv": "attention",
    "attn.proj": "projection",
    "mlp.fc1": "perceptron.0",
    "mlp.fc2": "perceptron.2",
}


Encoder = Pretrained[PointEncoder]


def origin_label(origin: Mapping[str, Any]) -> str:
    """Say for tables which encoder ran: pointmae=self-trained, or pointmae=file- and a hash."""
    digest = origin.get("sha256")
    return f"pointmae=file-{digest[:8]}" if isinstance(digest, str) else f"pointmae={SELF_TRAINED}"


def save_encoder(folder: Path, encoder: Encoder) -> None:
    """Write an encoder into a folder, in place of what is there. Errors as of `write_pair`."""
    save_pretrained(folder / ENCODER, encoder)


def load_encoder(folder: Path) -> Encoder:
    """Read what `save_encoder` wrote. Errors as of `load_pretrained`."""
    return load_pretrained(folder / ENCODER, NetworkConfig, PointEncoder)


def read_published(path: Path) -> Encoder:
    """Read the encoder of a Point-MAE checkpoint, a `.pth` file of its training script.

    Raises
    ------
    InputError
        The file is missing, damaged, holds something else than tensors, or is another network's.
    """
    published = published_tensors(path, "base_model")
    found: dict[str, Tensor] = {}
    for name, tensor in published.single_precision().items():
        if not name.startswith(_REST):
            # a convolution of width one is a linear layer
            flat = tensor.ndim == 3 and tensor.shape[-1] == 1
            found[_own_name(name.removeprefix(_TEMPLATE))] = tensor.squeeze(-1) if flat else tensor
    origin = {**published.origin, "public": published.origin["sha256"] == PUBLIC_SHA256}
    return with_tensors(lambda: PointEncoder(PAPER), found, str(path), origin)


def _own_name(name: str) -> str:
    """Return our name of a published tensor; one that is not known stays, and is reported."""
    module, _, leaf = name.rpartition(".")
    words = module.split(".")
    if words[:2] == ["blocks", "blocks"] and (own := _BLOCK.get(".".join(words[3:]))):
        return f"blocks.{words[2]}.{own}.{leaf}"
    for theirs, own in _NAMES.items():
        if module == theirs or module.startswith(f"{theirs}."):
            return f"{own}{module.removeprefix(theirs)}.{leaf}"
    return name


def read_origin(folder: Path) -> dict[str, Any]:
    """Return what an encoder's JSON file says of its origin; nothing where it cannot be read."""
    try:
        origin = json.loads((folder / f"{ENCODER}.json").read_bytes())["origin"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return origin if isinstance(origin, dict) else {}
