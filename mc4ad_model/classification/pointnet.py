# SPDX-License-Identifier: Apache-2.0
"""PointNet (Qi et al., CVPR 2017), in the form of three convolutions that the paper's Eq. 12 has.

Followed: T-Nets on the input and after the first convolution, convolutions of 64, 128 and 1,024
channels, maximum over the points, hidden layers of 512 and 256, dropout of 0.3, and the
regulariser of the feature transform with a weight of 0.001. 3.47 million parameters with 40
classes; the first release has five convolutions (64, 64, 64, 128, 1,024) and 3.48 million.
Different: segmentation has the same three convolutions (that release: five, up to 2,048 channels),
and their outputs for each point beside that for the cloud. No code of others is used.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from mc4ad_model.classification.layers import Convolutions, Features, convolution, head
from mc4ad_model.classification.sizes import Sizes

PENALTY = 0.001


class TNet(nn.Module):
    """A linear transform of D channels, found from a cloud [B, N, C]: [B, D, D]."""

    def __init__(self, inside: int, dimensions: int, sizes: Sizes) -> None:
        super().__init__()
        widths = sizes.channels((64, 128, 1024))
        pairs = zip((inside, *widths[:-1]), widths, strict=True)
        self.points = nn.Sequential(*(convolution(*pair) for pair in pairs))
        self.cloud = head(widths[-1], sizes.channels((512, 256)), dimensions**2)
        self.dimensions = dimensions

    def forward(self, x: Tensor) -> Tensor:
        found = self.cloud(self.points(x).amax(dim=1))  # [B, D * D]
        matrix: Tensor = found.view(-1, self.dimensions, self.dimensions)
        return matrix + torch.eye(self.dimensions, device=x.device)


def orthogonality(matrices: Tensor) -> Tensor:
    """Return the mean Frobenius norm of A A^T - 1 over matrices [B, D, D]."""
    one = torch.eye(matrices.shape[-1], device=matrices.device)
    norms: Tensor = torch.linalg.matrix_norm(matrices @ matrices.transpose(1, 2) - one)
    return norms.mean()


class _Transformed(nn.Module):
    """The first convolution, and the transform of its features; keeps the regulariser's value."""

    def __init__(self, inside: int, outside: int, sizes: Sizes) -> None:
        super().__init__()
        self.convolution = convolution(inside, outside)
        self.transform = TNet(outside, outside, sizes)
        self.penalty = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)  # [B, N, C]
        matrix = self.transform(x)
        self.penalty = PENALTY * orthogonality(matrix)
        turned: Tensor = x @ matrix
        return turned


class PointNet(nn.Module):
    """The backbone. `whole` : channels of a cloud; `local` : of each point."""

    def __init__(self, sizes: Sizes, mc_skip: bool, local: bool) -> None:
        super().__init__()
        inside, (low, middle, high) = sizes.inside, sizes.channels((64, 128, 1024))
        self.transform = TNet(inside, 3, sizes)
        self.first = _Transformed(inside, low, sizes)
        widths = (low, middle, middle, high) if mc_skip else (low, middle, high)
        pairs = pairwise(widths)
        layers = [convolution(*pair) for pair in pairs]
        layers[-1].pop(-1)  # there is no activation before the maximum, as published
        self.convolutions = Convolutions(inside, widths, [self.first, *layers], mc_skip)
        self.whole, self.local = high, sum(widths) if local else 0

    def forward(self, points: Tensor) -> Features:
        turned = points[..., :3] @ self.transform(points)
        x = torch.cat([turned, points[..., 3:]], dim=2)  # [B, N, C], F_1
        found = self.convolutions(x)
        local = torch.cat(found, dim=2) if self.local else None
        return Features(found[-1].amax(dim=1), local, self.first.penalty)
