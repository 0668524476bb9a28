# SPDX-License-Identifier: Apache-2.0
"""Encoders on disk, and published checkpoints, hostile ones among them."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from intravariance.errors import InputError, IntegrityError
from mc4ad_model.methods.point_mae.encoders import (
    load_encoder,
    origin_label,
    read_origin,
    read_published,
    save_encoder,
)
from mc4ad_model.methods.point_mae.network import PAPER
from tests.support.encoders import untrained

# The published names of one block, and the shapes of its tensors.
BLOCK = {
    "norm1": (384,), "attn.qkv": (1152, 384), "attn.proj": (384, 384), "norm2": (384,),
    "mlp.fc1": (1536, 384), "mlp.fc2": (384, 1536),
}  # fmt: skip


def published() -> dict:
    """Return tensors named and shaped as in the public checkpoint."""
    shapes = {}
    for k in range(12):
        for name, shape in BLOCK.items():
            shapes[f"blocks.blocks.{k}.{name}.weight"] = shape
            if name != "attn.qkv":
                shapes[f"blocks.blocks.{k}.{name}.bias"] = shape[:1]
    for name, outs, ins in (
        ("encoder.first_conv.0", 128, 3), ("encoder.first_conv.3", 256, 128),
        ("encoder.second_conv.0", 512, 512), ("encoder.second_conv.3", 384, 512),
    ):  # fmt: skip
        shapes |= {f"{name}.weight": (outs, ins, 1), f"{name}.bias": (outs,)}
    for name, count in (("encoder.first_conv.1", 128), ("encoder.second_conv.1", 512)):
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (count,)
    for name, outs, ins in (("pos_embed.0", 128, 3), ("pos_embed.2", 384, 128)):
        shapes |= {f"{name}.weight": (outs, ins), f"{name}.bias": (outs,)}
    shapes |= {"norm.weight": (384,), "norm.bias": (384,)}
    rng = torch.Generator().manual_seed(0)
    tensors = {n: 0.1 * torch.randn(s, generator=rng) for n, s in shapes.items()}
    for name in ("encoder.first_conv.1", "encoder.second_conv.1"):
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(3)
        tensors[f"{name}.running_var"].abs_().add_(1)
    found = {f"module.MAE_encoder.{n}": t for n, t in tensors.items()}
    found["module.mask_token"] = torch.zeros(1, 1, 384)
    found["module.MAE_decoder.norm.weight"] = torch.zeros(384)
    found["module.increase_dim.0.weight"] = torch.zeros(96, 384, 1)
    found["module.decoder_pos_embed.0.bias"] = torch.zeros(128)
    return found


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    encoder = untrained()
    save_encoder(tmp_path, encoder)
    again = load_encoder(tmp_path)
    assert again.origin == read_origin(tmp_path) == {"seed": 0}
    assert again.network.config == encoder.network.config
    assert again.parameters == encoder.parameters
    for name, tensor in encoder.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor)
    assert not again.network.training
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(IntegrityError, match="SHA-256"):
        load_encoder(tmp_path)


def test_a_published_checkpoint_finds_its_places(tmp_path: Path) -> None:
    path, state = tmp_path / "pretrain.pth", published()
    torch.save(
        {"base_model": state, "epoch": 299, "metrics": {"acc": np.float64(91.5)}, "optimizer": {}},
        path,
    )
    encoder = read_published(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert encoder.origin == {"file": "pretrain.pth", "sha256": digest, "public": False}
    assert origin_label(encoder.origin) == f"pointmae=file-{digest[:8]}"
    assert encoder.network.config == PAPER
    own = encoder.network.state_dict()
    for theirs, ours in {
        "encoder.first_conv.3.weight": "embedding.point.3.weight",
        "encoder.second_conv.1.running_mean": "embedding.group.1.running_mean",
        "pos_embed.2.bias": "position.2.bias",
        "blocks.blocks.3.norm1.weight": "blocks.3.before_attention.weight",
        "blocks.blocks.11.norm2.bias": "blocks.11.before_perceptron.bias",
        "blocks.blocks.0.attn.qkv.weight": "blocks.0.attention.weight",
        "blocks.blocks.0.mlp.fc2.weight": "blocks.0.perceptron.2.weight",
        "norm.bias": "norm.bias",
    }.items():
        expected = state[f"module.MAE_encoder.{theirs}"]
        assert torch.equal(own[ours], expected.reshape(own[ours].shape)), ours
    found = encoder.network.features(torch.randn(4, 8, 3), torch.randn(4, 3))
    assert found.shape == (4, 1152) and bool(torch.isfinite(found).all())


class Hostile:
    """Unpickled without restriction, it would run a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch hostile",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"base_model": {"a": Hostile()}}, r"a\.pth holds posix\.system, and only tensors"),
        ({"base_model": {}, "optimizer": Hostile()}, r"a\.pth holds posix\.system"),
        ({"base_model": {"epoch": 3}}, "found int under 'epoch'"),
        ({"base_model": {"MAE_encoder.a": torch.zeros(3)}}, "missing: .*unexpected: a"),
        (
            {"base_model": {**published(), "module.MAE_encoder.norm.bias": torch.zeros(3)}},
            r"of another shape: norm\.bias \(3,\), expected \(384,\)",
        ),
        (
            {
                "base_model": {
                    **published(),
                    "module.MAE_encoder.norm.bias": torch.full((384,), math.nan),
                }
            },
            r"norm\.bias has numbers that are not finite",
        ),
    ],
    ids=["code", "code beside", "number", "other network", "other size", "not finite"],
)
def test_what_is_no_published_checkpoint_is_refused(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "a.pth")
    with pytest.raises(InputError, match=message):
        read_published(Path("a.pth"))
    assert not Path("hostile").exists()


def test_a_published_checkpoint_in_half_precision_works_in_single(tmp_path: Path) -> None:
    half = {n: t.half() if t.is_floating_point() else t for n, t in published().items()}
    torch.save({"base_model": half}, tmp_path / "a.pth")
    network = read_published(tmp_path / "a.pth").network
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_a_file_larger_than_any_network_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    with path.open("wb") as file:
        file.truncate(2**31 + 1)  # a hole, which takes no room
    with pytest.raises(InputError, match=r"2,147,483,649 bytes; expected a network"):
        read_published(path)
