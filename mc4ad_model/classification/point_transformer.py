# SPDX-License-Identifier: Apache-2.0
"""Point Transformer (Zhao et al., ICCV 2021), the paper's reference [47].

It had no code of its authors for years. Followed is the size of the common re-implementation for
classification: an attention block on all points, then four times a quarter of them as centres,
farthest apart, whose 16 nearest points a PointNet of two convolutions encodes (32 to 512
channels), and an attention block; vector attention among 16 neighbours, inside 512 channels wide;
mean over the points, hidden layers of 256 and 64. 9.58 million parameters with 40 classes and
normals. Segmentation brings features back by interpolation, with an attention block at each level.
With MC-Skip the PointNets have the four convolutions of Eq. 13, and Eq. 14 is what follows: centres
and their nearest points, "modified PointNet", attention. (Eq. 14 as printed fits other networks
named Point Transformer as well.) No code of others is used.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from mc4ad_model.classification.layers import Features, convolution, patch_encoder
from mc4ad_model.classification.neighbourhoods import centres, gather, interpolate, nearest
from mc4ad_model.classification.sizes import Sizes

_LEVELS = 4
_FIRST = 32
_INSIDE = 512
_NEIGHBOURS = 16
_FEWEST = 4  # centres, as many as 1,024 points have in the end


class Attention(nn.Module):
    """Vector attention of each point among its nearest neighbours, with a shortcut."""

    def __init__(self, channels: int, inside: int, count: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(channels, inside), nn.Linear(inside, channels)
        self.place = _two_layers(3, inside)
        self.weight = _two_layers(inside, inside)
        self.query, self.key, self.value = (nn.Linear(inside, inside, bias=False) for _ in range(3))
        self.count = count

    def forward(self, place: Tensor, x: Tensor) -> Tensor:
        index = nearest(place, place, self.count)  # [B, N, K]
        inner = self.enter(x)  # [B, N, C]
        encoded = self.place(place[:, :, None] - gather(place, index))  # [B, N, K, C]
        key, value = gather(self.key(inner), index), gather(self.value(inner), index)
        weight = self.weight(self.query(inner)[:, :, None] - key + encoded)
        weight = (weight / math.sqrt(weight.shape[-1])).softmax(dim=2)
        mixed = (weight * (value + encoded)).sum(dim=2)  # [B, N, C]
        return self.leave(mixed) + x  # type: ignore[no-any-return]


class _Rise(nn.Module):
    """Carries features of coarse points to finer ones, adds those of the finer, and attends."""

    def __init__(self, coarse: int, fine: int, inside: int, count: int) -> None:
        super().__init__()
        self.carried, self.own = convolution(coarse, fine), convolution(fine, fine)
        self.attention = Attention(fine, inside, count)

    def forward(self, place: Tensor, x: Tensor, fine_place: Tensor, fine: Tensor) -> Tensor:
        carried = interpolate(fine_place, place, self.carried(x))
        found: Tensor = self.attention(fine_place, carried + self.own(fine))
        return found


class PointTransformer(nn.Module):
    """The backbone. `whole` : channels of a cloud; `local` : of each point."""

    def __init__(self, sizes: Sizes, mc_skip: bool, local: bool) -> None:
        super().__init__()
        self.sizes, self.count = sizes, sizes.crowd(_NEIGHBOURS)
        widths = sizes.channels(_FIRST * 2**level for level in range(_LEVELS + 1))
        inside = max(round(_INSIDE * sizes.attention), 4)
        self.enter = nn.Sequential(
            nn.Linear(sizes.inside, widths[0]), nn.ReLU(), nn.Linear(widths[0], widths[0])
        )
        self.attentions = nn.ModuleList(Attention(width, inside, self.count) for width in widths)
        pairs = list(pairwise(widths))
        self.encoders = nn.ModuleList(
            patch_encoder(3 + fine, (coarse, coarse), mc_skip) for fine, coarse in pairs
        )
        self.rises = nn.ModuleList(
            _Rise(coarse, fine, inside, self.count) for fine, coarse in pairs if local
        )
        self.whole, self.local = widths[-1], widths[0] if local else 0

    def forward(self, points: Tensor) -> Features:
        place = points[..., :3]
        x = self.attentions[0](place, self.enter(points))
        levels = [(place, x)]
        for number, encoder in enumerate(self.encoders, start=1):
            count = max(self.sizes.points // 4**number, _FEWEST)
            centre = gather(place, centres(place, count))  # [B, M, 3]
            index = nearest(centre, place, self.count)  # [B, M, K]
            offset = gather(place, index) - centre[:, :, None]
            group = torch.cat([offset, gather(x, index)], dim=3)  # [B, M, K, 3 + C]
            place, x = centre, encoder(group)[-1].amax(dim=2)  # [B, M, C']
            x = self.attentions[number](place, x)
            levels.append((place, x))
        whole = x.mean(dim=1)  # [B, C]
        if not self.local:
            return Features(whole, None, whole.new_zeros(()))
        for number in reversed(range(_LEVELS)):
            x = self.rises[number](place, x, *levels[number])
            place = levels[number][0]
        return Features(whole, x, whole.new_zeros(()))


def _two_layers(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, outside), nn.ReLU(), nn.Linear(outside, outside))
