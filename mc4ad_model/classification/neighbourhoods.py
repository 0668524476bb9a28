# SPDX-License-Identifier: Apache-2.0
"""Centres, neighbours and interpolation in batches of clouds, whatever the order of the points."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mc4ad_model.methods.point_mae.groups import farthest_points

_INTERPOLATED = 3  # neighbours that a feature is interpolated from, as in PointNet++


def centres(points: Tensor, count: int) -> Tensor:
    """Choose points [B, N, 3] of each cloud by farthest point sampling: [B, min(count, N)] int64.

    The first is the point that is farthest from the mean, so that the choice does not depend on
    the order of the points.
    """
    chosen = []
    for cloud in points.detach().cpu().numpy():
        gap = np.square(cloud - cloud.mean(axis=0, dtype=np.float64)).sum(axis=1)
        order = np.roll(np.arange(len(cloud)), -int(gap.argmax()))
        chosen.append(order[farthest_points(cloud[order], count)])
    return torch.from_numpy(np.stack(chosen)).to(points.device)


def nearest(queries: Tensor, points: Tensor, count: int) -> Tensor:
    """Return the nearest of points [B, N, C] to queries [B, M, C]: [B, M, min(count, N)] int64."""
    found = torch.cdist(queries.detach(), points.detach())  # [B, M, N]
    return found.topk(min(count, points.shape[1]), largest=False).indices


def within(queries: Tensor, points: Tensor, radius: float, count: int) -> Tensor:
    """Return the nearest points within a radius of queries [B, M, 3]: [B, M, min(count, N)] int64.

    Where there are fewer, the nearest one of all stands in the places that are left. (PointNet++
    takes the first points within the radius, in the order of the cloud.)
    """
    found = torch.cdist(queries.detach(), points.detach())
    distance, index = found.topk(min(count, points.shape[1]), largest=False)  # [B, M, K]
    return torch.where(distance <= radius, index, index[..., :1])


def gather(values: Tensor, index: Tensor) -> Tensor:
    """Take rows of values [B, N, C] by an index [B, ...] into N: [B, ..., C]."""
    size, rows = values.shape[0], values.shape[1]
    first = torch.arange(size, device=index.device).view(size, *[1] * (index.ndim - 1)) * rows
    return functional.embedding(index + first, values.reshape(size * rows, -1))


def interpolate(fine: Tensor, coarse: Tensor, values: Tensor) -> Tensor:
    """Carry values [B, M, C] at coarse points [B, M, 3] to fine ones [B, N, 3]: [B, N, C].

    The three nearest are weighed by the inverse of the squared distance, as in PointNet++.
    """
    index = nearest(fine, coarse, _INTERPOLATED)  # [B, N, 3]
    offset = gather(coarse, index) - fine[:, :, None]  # [B, N, 3, 3]
    weight = 1 / (offset.square().sum(dim=-1) + 1e-8)
    weight = weight / weight.sum(dim=-1, keepdim=True)
    return (gather(values, index) * weight[..., None]).sum(dim=2)
