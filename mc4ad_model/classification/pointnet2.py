# SPDX-License-Identifier: Apache-2.0
"""PointNet++ (Qi et al., NeurIPS 2017), with grouping at a single scale (SSG).

Followed: half and an eighth of the points as centres, farthest apart, with 32 and 64 points within
0.2 and 0.4 radii; PointNets of (64, 64, 128), (128, 128, 256) and (256, 512, 1024) channels;
hidden layers of 512 and 256 with dropout of 0.4 (the paper: 0.5); feature propagation from the
three nearest for segmentation. 1.48 million parameters with 40 classes.
Different: the points within a radius are the nearest ones, not the first ones, and the first
centre is not drawn at random, so that the order of points does not matter; radii grow where a cloud
has fewer than 1,024 points; the category enters before the last layers. With MC-Skip each PointNet
has the four convolutions of Eq. 13. No code of others is used.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mc4ad_model.classification.layers import Features, convolution, patch_encoder
from mc4ad_model.classification.neighbourhoods import centres, gather, interpolate, within
from mc4ad_model.classification.sizes import Sizes

_RADII = (0.2, 0.4)
_CROWDS = (32, 64)
_CENTRES = (2, 8)  # a centre for so many points
_WIDTHS = ((64, 64, 128), (128, 128, 256), (256, 512, 1024))
_PROPAGATED = ((256, 256), (256, 128), (128, 128, 128))


class _Propagation(nn.Module):
    """Carries features of coarse points to fine ones, which have features of their own."""

    def __init__(self, inside: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = zip((inside, *widths[:-1]), widths, strict=True)
        self.layers = nn.Sequential(*(convolution(*pair) for pair in pairs))

    def forward(self, own: Tensor, carried: Tensor) -> Tensor:
        found: Tensor = self.layers(torch.cat([own, carried], dim=2))
        return found  # [B, N, C]


class PointNet2(nn.Module):
    """The backbone. `whole` : channels of a cloud; `local` : of each point."""

    def __init__(self, sizes: Sizes, mc_skip: bool, local: bool) -> None:
        super().__init__()
        self.sizes = sizes
        widths = [sizes.channels(one) for one in _WIDTHS]
        own = [sizes.inside - 3, widths[0][-1], widths[1][-1]]
        self.encoders = nn.ModuleList(
            patch_encoder(3 + inside, each, mc_skip)
            for inside, each in zip(own, widths, strict=True)
        )
        self.propagations = nn.ModuleList()
        self.whole = inside = widths[-1][-1]
        own[0] = sizes.inside  # coordinates, where points have nothing else
        for mine, each in zip(reversed(own), _PROPAGATED, strict=True):
            if local:
                self.propagations.append(_Propagation(mine + inside, sizes.channels(each)))
            inside = sizes.channel(each[-1])
        self.local = inside if local else 0

    def forward(self, points: Tensor) -> Features:
        places, features = [points[..., :3]], [points[..., 3:]]
        for encoder, radius, crowd, share in zip(
            self.encoders, _RADII, _CROWDS, _CENTRES, strict=False
        ):
            place, own = places[-1], features[-1]
            centre = gather(place, centres(place, max(self.sizes.points // share, 1)))  # [B, M, 3]
            index = within(
                centre, place, self.sizes.radius(radius), self.sizes.crowd(crowd)
            )  # [B, M, K]
            offset = gather(place, index) - centre[:, :, None]  # [B, M, K, 3]
            group = torch.cat([offset, gather(own, index)], dim=3)
            features.append(encoder(group)[-1].amax(dim=2))  # [B, M, C]
            places.append(centre)
        last = self.encoders[-1](torch.cat([places[-1], features[-1]], dim=2))[-1]
        whole = last.amax(dim=1)  # [B, C]
        local = self._propagate(points, places, features, whole) if self.local else None
        return Features(whole, local, whole.new_zeros(()))

    def _propagate(
        self, points: Tensor, places: list[Tensor], features: list[Tensor], whole: Tensor
    ) -> Tensor:
        third, second, first = self.propagations
        x = third(features[2], whole[:, None].expand(-1, features[2].shape[1], -1))
        x = second(features[1], interpolate(places[1], places[2], x))
        found: Tensor = first(points, interpolate(places[0], places[1], x))
        return found  # [B, N, C]
