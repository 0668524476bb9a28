# SPDX-License-Identifier: Apache-2.0
"""MC-Skip against its two branches, and the convolutions against Eq. 12 and 13 written out."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch
from torch import nn

from mc4ad_model.classification.layers import Convolutions, MCSkip, patch_encoder


def skip(weight: float) -> MCSkip:
    """Return an MC-Skip of 3 and 5 channels whose alpha is sigmoid(weight * sum of the later)."""
    made = MCSkip(3, 5)
    with torch.no_grad():
        made.later_projection.weight.copy_(torch.eye(5))
        made.weight.weight.fill_(weight)
    return made


@torch.no_grad()
def test_alpha_of_1_is_the_earlier_branch_alone_and_of_0_the_later() -> None:
    torch.manual_seed(0)
    earlier, later = torch.randn(2, 7, 3), torch.rand(2, 7, 5) + 1
    for weight, branch in ((1e4, "earlier_projection"), (-1e4, "later_projection")):
        made = skip(weight)
        alone = getattr(made, branch)(earlier if weight > 0 else later)
        assert torch.equal(made(earlier, later), alone)
    made = skip(0.0)
    halves = (made.earlier_projection(earlier) + made.later_projection(later)) / 2
    assert torch.allclose(made(earlier, later), halves)


@torch.no_grad()
def test_the_weight_is_of_each_point_and_from_the_later_feature() -> None:
    torch.manual_seed(0)
    made = MCSkip(3, 5)
    earlier, later = torch.randn(4, 3), torch.randn(4, 5)
    second = made.later_projection(later)
    alpha = 1 / (1 + torch.exp(-second @ made.weight.weight[0]))
    expected = alpha[:, None] * made.earlier_projection(earlier) + (1 - alpha)[:, None] * second
    assert torch.allclose(made(earlier, later), expected, atol=1e-6)
    assert not any(module.bias is not None for module in made.children())


@torch.no_grad()
def test_convolutions_are_those_of_equation_13() -> None:
    torch.manual_seed(0)
    widths = (4, 5, 6, 7)
    layers = [nn.Linear(*pair) for pair in ((3, 4), (4, 5), (5, 6), (6, 7))]
    made = Convolutions(3, widths, layers, mc_skip=True)
    first = torch.randn(2, 9, 3)
    second = layers[0](first)
    third = layers[1](second)
    fourth = layers[2](made.skips[0](second, third))
    fifth = layers[3](made.skips[1](first, fourth))
    found = made(first)
    for one, expected in zip(found, (second, third, fourth, fifth), strict=True):
        assert torch.equal(one, expected)
    plain = Convolutions(3, widths, layers, mc_skip=False)(first)
    assert torch.equal(plain[-1], layers[3](layers[2](third)))


@pytest.mark.parametrize(("widths", "with_skips"), [((8, 9), 4), ((8, 9, 10), 4)])
def test_patch_encoders_have_the_published_or_four_convolutions(
    widths: tuple[int, ...], with_skips: int
) -> None:
    plain, changed = patch_encoder(6, widths, False), patch_encoder(6, widths, True)
    assert len(plain.layers) == len(widths) and not len(plain.skips)
    assert len(changed.layers) == with_skips and len(changed.skips) == 2
    for made in (plain, changed):
        found = made(torch.randn(2, 5, 6, 6))
        assert found[-1].shape == (2, 5, 6, widths[-1])
