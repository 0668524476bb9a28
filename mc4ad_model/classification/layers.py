# SPDX-License-Identifier: Apache-2.0
"""Layers that the four networks share: convolutions on points, MC-Skip between them, heads.

A convolution with a kernel of 1 is a linear map of each point's channels, which come last here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Features(NamedTuple):
    """Features that a backbone computes from clouds.

    whole : [B, C], of a cloud. local : [B, N, C'], of each point; None where the task needs none.
    penalty : [], to be added to the loss.
    """

    whole: Tensor
    local: Tensor | None
    penalty: Tensor


class Normalised(nn.Module):
    """Batch normalisation of the last channel over all others."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.reshape(-1, x.shape[-1])).view(x.shape)  # type: ignore[no-any-return]


def convolution(inside: int, outside: int) -> nn.Sequential:
    """Return a convolution with kernel 1, batch normalisation and ReLU: [..., C] -> [..., C']."""
    return nn.Sequential(nn.Linear(inside, outside), Normalised(outside), nn.ReLU(inplace=True))


class MCSkip(nn.Module):
    """Mechanical complementary skip connection (Eq. 13): two features, weighed for each point.

    The features go through convolutions to the later one's channels, without bias, normalisation
    or activation. The weight of the earlier one comes from the later one (Eq. 13), through a
    sigmoid, which the paper's appendix B.3 and released code have and Eq. 13 has not.
    """

    def __init__(self, earlier: int, later: int) -> None:
        super().__init__()
        self.earlier_projection = nn.Linear(earlier, later, bias=False)
        self.later_projection = nn.Linear(later, later, bias=False)
        self.weight = nn.Linear(later, 1, bias=False)

    def forward(self, earlier: Tensor, later: Tensor) -> Tensor:
        later = self.later_projection(later)  # [..., C]
        alpha = self.weight(later).sigmoid()  # [..., 1]
        mixed: Tensor = alpha * self.earlier_projection(earlier) + (1 - alpha) * later
        return mixed  # [..., C]


class Convolutions(nn.Module):
    """Convolutions in a row (Eq. 12), or four of them with two MC-Skips in between (Eq. 13).

    inside : channels of the input F_1. layers : what gives F_2, F_3, ..., with `widths` channels.
    With MC-Skip the third takes F_2 and F_3 together, the fourth F_1 and F_4.
    """

    def __init__(
        self, inside: int, widths: Sequence[int], layers: Sequence[nn.Module], mc_skip: bool
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.skips = nn.ModuleList()
        if mc_skip:
            self.skips.append(MCSkip(widths[0], widths[1]))
            self.skips.append(MCSkip(inside, widths[2]))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return what each layer gives for features [..., C]."""
        found = [x]
        for number, layer in enumerate(self.layers):
            if len(self.skips) and number >= 2:
                x = self.skips[number - 2](found[3 - number], found[number])
            x = layer(x)
            found.append(x)
        return found[1:]


def patch_encoder(inside: int, widths: tuple[int, ...], mc_skip: bool) -> Convolutions:
    """Return the convolutions of PointNet on patches, without T-Nets.

    widths : of the plain one's, two or three. With MC-Skip there are four convolutions, so the last
    but one is repeated.
    """
    if mc_skip:
        widths = (*widths[:-1], *[widths[-2]] * (4 - len(widths)), widths[-1])
    before = (inside, *widths[:-1])
    layers = [convolution(*pair) for pair in zip(before, widths, strict=True)]
    return Convolutions(inside, widths, layers, mc_skip)


class Network(nn.Module):
    """A backbone, and a head that names a cloud's class, or each point's part.

    Parameters
    ----------
    categories
        0 to name classes. To name parts: the number of categories, each cloud's own being given.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, categories: int = 0) -> None:
        super().__init__()
        self.backbone, self.head, self.categories = backbone, head, categories

    def forward(self, points: Tensor, category: Tensor) -> tuple[Tensor, Tensor]:
        """Score points [B, N, C], C = 3 coordinates, and 3 of normals where the network has them.

        Parameters
        ----------
        category
            [B] int64, not looked at where classes are named.

        Returns
        -------
        [B, classes] or [B, N, parts], before softmax; and a penalty [] for the loss.
        """
        features: Features = self.backbone(points)
        x = features.whole
        if features.local is not None and self.categories:
            known = nn.functional.one_hot(category, self.categories).to(x.dtype)
            cloud = torch.cat([x, known], dim=1)[:, None].expand(-1, points.shape[1], -1)
            x = torch.cat([features.local, cloud], dim=2)  # [B, N, C]
        return self.head(x), features.penalty


def head(
    inside: int, widths: Sequence[int], outside: int, dropout: float = 0.0, norm: bool = True
) -> nn.Sequential:
    """Return hidden layers with `widths` channels, each followed by dropout, and a last one."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += convolution(inside, width) if norm else [nn.Linear(inside, width), nn.ReLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
        inside = width
    return nn.Sequential(*layers, nn.Linear(inside, outside))
