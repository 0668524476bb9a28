# SPDX-License-Identifier: Apache-2.0
"""ResNet18 against the published one: its size, its names, and the formula from its tensors."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from torch import Tensor
from torch.nn import functional

from mc4ad_model.methods.projections.resnet import (
    PUBLISHED,
    ResNet18,
    ResNetConfig,
    colour_images,
)
from tests.support.backbones import drawn


def published_names() -> list[str]:
    """List the names in torchvision's state dict, in its order."""

    def norm(name: str) -> list[str]:
        parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        return [f"{name}.{part}" for part in parts]

    names = ["conv1.weight", *norm("bn1")]
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            place = f"layer{stage}.{block}"
            for part in (1, 2):
                names += [f"{place}.conv{part}.weight", *norm(f"{place}.bn{part}")]
            if stage > 1 and block == 0:
                names += [f"{place}.downsample.0.weight", *norm(f"{place}.downsample.1")]
    return [*names, "fc.weight", "fc.bias"]


def test_it_has_the_published_parameters_under_torchvisions_names() -> None:
    with torch.device("meta"):
        network = ResNet18(PUBLISHED)
    assert sum(p.numel() for p in network.parameters()) == 11_689_512
    assert list(network.state_dict()) == published_names()
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer3.0.downsample.0.weight"] == (256, 128, 1, 1)
    assert shapes["layer4.1.conv2.weight"] == (512, 512, 3, 3)
    assert shapes["fc.weight"] == (1000, 512)


def by_hand(state: dict[str, Tensor], images: Tensor) -> tuple[list[Tensor], Tensor]:
    """Compute maps and logits from tensors by their names (He et al. 2016, Table 1, 18 layers)."""

    def norm(values: Tensor, name: str) -> Tensor:
        own = [state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
        mean, variance, weight, bias = (one[None, :, None, None] for one in own)
        return (values - mean) / torch.sqrt(variance + 1e-5) * weight + bias

    def convolved(values: Tensor, name: str, stride: int, padding: int) -> Tensor:
        return functional.conv2d(values, state[name], stride=stride, padding=padding)

    values = torch.relu(norm(convolved(images, "conv1.weight", 2, 3), "bn1"))
    values, maps = functional.max_pool2d(values, 3, 2, 1), []
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            place, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            kept = values
            if stride == 2:
                kept = convolved(values, f"{place}.downsample.0.weight", 2, 0)
                kept = norm(kept, f"{place}.downsample.1")
            inner = norm(convolved(values, f"{place}.conv1.weight", stride, 1), f"{place}.bn1")
            inner = convolved(torch.relu(inner), f"{place}.conv2.weight", 1, 1)
            values = torch.relu(norm(inner, f"{place}.bn2") + kept)
        maps.append(values)
    pooled = values.mean(dim=(2, 3))
    return maps, pooled @ state["fc.weight"].T + state["fc.bias"]


@torch.no_grad()
def test_it_computes_what_the_formula_says() -> None:
    network = drawn(ResNetConfig(width=4, classes=5)).network
    images = torch.randn((2, 3, 70, 96), generator=torch.Generator().manual_seed(1))
    maps, logits = by_hand(network.state_dict(), images)
    found = network.maps(images)
    assert [tuple(one.shape) for one in found] == [
        (2, 4, 18, 24), (2, 8, 9, 12), (2, 16, 5, 6), (2, 32, 3, 3)
    ]  # fmt: skip
    for one, expected in zip(found, maps, strict=True):
        assert torch.allclose(one, expected, atol=1e-4, rtol=1e-4)
    assert torch.allclose(network(images), logits, atol=1e-4, rtol=1e-4)
    assert len(network.maps(images, 3)) == 3


def test_colours_are_brought_to_those_of_imagenet() -> None:
    found = colour_images(torch.tensor([[[0.0, 1.0]]]))
    assert found.shape == (1, 3, 1, 2)
    assert found[0, 0, 0].tolist() == pytest.approx([-0.485 / 0.229, 0.515 / 0.229])
    assert found[0, 2, 0].tolist() == pytest.approx([-0.406 / 0.225, 0.594 / 0.225])
