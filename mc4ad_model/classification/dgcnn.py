# SPDX-License-Identifier: Apache-2.0
"""DGCNN (Wang et al., ACM Transactions on Graphics 2019).

Followed: four edge convolutions of 64, 64, 128 and 256 channels, each on the graph of the 20
nearest neighbours in the features before it; all of them into 1,024 channels, maximum and mean
over the points, hidden layers of 512 and 256 with dropout of 0.5; trained with label smoothing of
0.2. 1.81 million parameters with 40 classes.
Different: the first graph is of coordinates, also where there are normals; segmentation has the
four edge convolutions of classification (the paper: a T-Net and three edge convolutions of two
layers on 40 neighbours). With MC-Skip the four edge convolutions are those of Eq. 13, "dynamic
graph aggregation after each convolution" (A.6), so no layer is added but the MC-Skips. No code of
others is used.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mc4ad_model.classification.layers import Convolutions, Features, Normalised
from mc4ad_model.classification.neighbourhoods import gather, nearest
from mc4ad_model.classification.sizes import Sizes

_NEIGHBOURS = 20
_WIDTHS = (64, 64, 128, 256)
_WHOLE = 1024


def _convolution(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inside, outside, bias=False),
        Normalised(outside),
        nn.LeakyReLU(0.2, inplace=True),
    )


class EdgeConvolution(nn.Module):
    """A convolution of each neighbour's difference and the point itself, and their maximum.

    metric : channels, the first ones, by which neighbours are found; None for all.
    """

    def __init__(self, inside: int, outside: int, count: int, metric: int | None = None) -> None:
        super().__init__()
        self.convolution = _convolution(2 * inside, outside)
        self.count, self.metric = count, metric

    def forward(self, x: Tensor) -> Tensor:
        place = x[..., : self.metric]
        near = gather(x, nearest(place, place, self.count))  # [B, N, K, C]
        own = x[:, :, None].expand_as(near)
        return self.convolution(torch.cat([near - own, own], dim=3)).amax(dim=2)  # type: ignore[no-any-return]


class DGCNN(nn.Module):
    """The backbone. `whole` : channels of a cloud; `local` : of each point."""

    def __init__(self, sizes: Sizes, mc_skip: bool, local: bool) -> None:
        super().__init__()
        widths, count = sizes.channels(_WIDTHS), sizes.crowd(_NEIGHBOURS)
        before = (sizes.inside, *widths[:-1])
        layers = [
            EdgeConvolution(inside, outside, count, None if number else 3)
            for number, (inside, outside) in enumerate(zip(before, widths, strict=True))
        ]
        self.convolutions = Convolutions(sizes.inside, widths, layers, mc_skip)
        self.last = _convolution(sum(widths), sizes.channel(_WHOLE))
        self.whole, self.local = 2 * sizes.channel(_WHOLE), sum(widths) if local else 0

    def forward(self, points: Tensor) -> Features:
        found = torch.cat(self.convolutions(points), dim=2)  # [B, N, C]
        every = self.last(found)
        whole = torch.cat([every.amax(dim=1), every.mean(dim=1)], dim=1)  # [B, 2 C]
        return Features(whole, found if self.local else None, whole.new_zeros(()))


class DGCNNHead(nn.Module):
    """The head: hidden layers with leaky ReLU, of which only the later ones have a bias."""

    def __init__(self, inside: int, widths: tuple[int, ...], outside: int, dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, width in enumerate(widths):
            layers += [nn.Linear(inside, width, bias=number > 0), Normalised(width)]
            layers += [nn.LeakyReLU(0.2, inplace=True), nn.Dropout(dropout)]
            inside = width
        self.layers = nn.Sequential(*layers, nn.Linear(inside, outside))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found
