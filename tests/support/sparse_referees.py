# SPDX-License-Identifier: Apache-2.0
"""Referees for the tests of `mc4ad_model.sparse`: dictionaries and dense grids.

A test module that imports this one calls `pytest.importorskip("torch")` first.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from mc4ad_model.sparse import CoordinatePyramid, Geometry

# Sums in a fixed order, and no barriers that spin on a shared machine.
torch.set_num_threads(1)

Row = tuple[int, int, int, int]  # batch, x, y, z

SUBMANIFOLD = [Geometry(k, s, s) for k in (3, 5) for s in (1, 2, 4, 8)]
DOWN = [Geometry(2, s, 2 * s) for s in (1, 2, 4)]
UP = [Geometry(2, 2 * s, s) for s in (1, 2, 4)]
GEOMETRIES = [*SUBMANIFOLD, *DOWN, *UP]


def name(geometry: Geometry) -> str:
    """Return the name of a parametrised test."""
    return f"k{geometry.kernel_size}_s{geometry.source_stride}_to_{geometry.target_stride}"


def rows(coordinates: Tensor) -> list[Row]:
    return [tuple(row) for row in coordinates.tolist()]


def random_pyramid(
    sizes: Sequence[int] = (90, 25, 60), extent: int = 5, seed: int = 0
) -> CoordinatePyramid:
    """Clouds of different sizes round the origin, so that coordinates of both signs occur.

    About `sizes` voxels, fewer where they coincide, with x, y, z from -extent to extent.
    """
    random = torch.Generator().manual_seed(seed)
    clouds = []
    for batch, size in enumerate(sizes):
        cloud = torch.randint(-extent, extent + 1, (size, 4), generator=random)
        cloud[:, 0] = batch
        clouds.append(cloud)
    # torch.unique with a dimension sorts rows lexicographically
    return CoordinatePyramid(torch.unique(torch.cat(clouds), dim=0))


def random_operands(
    pyramid: CoordinatePyramid,
    geometry: Geometry,
    channels: tuple[int, int] = (3, 4),
    dtype: torch.dtype = torch.float64,
    seed: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Features, kernel, and a gradient to send back from the output."""
    random = torch.Generator().manual_seed(seed)
    narrow, wide = channels
    features = torch.randn(
        pyramid.size(geometry.source_stride), narrow, dtype=dtype, generator=random
    )
    kernel = torch.randn(geometry.offsets, narrow, wide, dtype=dtype, generator=random)
    gradient = torch.randn(
        pyramid.size(geometry.target_stride), wide, dtype=dtype, generator=random
    )
    return features.requires_grad_(), kernel.requires_grad_(), gradient


def strided(coordinates: Sequence[Row], stride: int) -> list[Row]:
    """Return unique floor(c / stride) * stride, sorted."""
    return sorted({(b, *(c // stride * stride for c in xyz)) for b, *xyz in coordinates})


def offsets(geometry: Geometry) -> list[tuple[int, int, int]]:
    """(dx, dy, dz) of each row of the kernel: x fastest, in steps of the finer stride."""
    size, step = geometry.kernel_size, min(geometry.source_stride, geometry.target_stride)
    first = -(size // 2) if size % 2 else 0
    axis = [step * (first + i) for i in range(size)]
    return [(dx, dy, dz) for dz, dy, dx in itertools.product(axis, repeat=3)]


def dictionary_pairs(
    source: Sequence[Row], target: Sequence[Row], geometry: Geometry
) -> set[tuple[int, int, int]]:
    """All (k, source row, target row): source = target + offset_k; for up, the other way round."""
    sign = -1 if geometry.transposed else 1
    row_of = {coordinate: row for row, coordinate in enumerate(source)}
    pairs = set()
    for out, (batch, x, y, z) in enumerate(target):
        for k, (dx, dy, dz) in enumerate(offsets(geometry)):
            row = row_of.get((batch, x + sign * dx, y + sign * dy, z + sign * dz))
            if row is not None:
                pairs.add((k, row, out))
    return pairs


def dense_convolution(
    features: Tensor, kernel: Tensor, pyramid: CoordinatePyramid, geometry: Geometry
) -> Tensor:
    """Compute the same by torch's dense convolutions on the whole grid; differentiable."""
    fine, coarse = sorted((geometry.source_stride, geometry.target_stride))
    size = geometry.kernel_size
    channels = kernel.shape[1:]
    # [K, C_in, C_out], x fastest -> [C_out, C_in, x, y, z]
    weight = kernel.view(size, size, size, *channels).permute(4, 3, 2, 1, 0)
    # The grid begins at a multiple of the coarser stride, so that cells coincide.
    finest = pyramid.coordinates(fine)[:, 1:].long()
    origin = finest.amin(0) // coarse * coarse
    extent = ((finest.amax(0) - origin) // coarse + 1) * coarse
    clouds = int(pyramid.coordinates()[-1, 0]) + 1

    def cells(stride: int) -> tuple[Tensor, ...]:
        batch, *xyz = pyramid.coordinates(stride).long().unbind(1)
        return batch, *((c - o) // stride for c, o in zip(xyz, origin, strict=True))

    shape = (extent // geometry.source_stride).tolist()
    volume = features.new_zeros(clouds, *shape, features.shape[1])  # [B, x, y, z, C_in]
    volume = volume.index_put(cells(geometry.source_stride), features).permute(0, 4, 1, 2, 3)
    if geometry.transposed:
        dense = torch.nn.functional.conv_transpose3d(volume, weight.transpose(0, 1), stride=2)
    elif fine != coarse:
        dense = torch.nn.functional.conv3d(volume, weight, stride=2)
    else:
        dense = torch.nn.functional.conv3d(volume, weight, padding=size // 2)
    return dense.permute(0, 2, 3, 4, 1)[cells(geometry.target_stride)]  # [V_target, C_out]


def with_gradients(
    output: Tensor, inputs: Sequence[Tensor], gradient: Tensor
) -> tuple[Tensor, ...]:
    """Return the output and the inputs' gradients, when `gradient` comes back to the output."""
    return output.detach(), *torch.autograd.grad(output, inputs, gradient)


def assert_close(actual: Sequence[Tensor], expected: Sequence[Tensor], relative: float) -> None:
    """Each tensor, relative to its largest element."""
    assert len(actual) == len(expected)
    for mine, theirs in zip(actual, expected, strict=True):
        assert mine.shape == theirs.shape
        scale = theirs.abs().max().item()
        torch.testing.assert_close(mine, theirs, rtol=0, atol=relative * max(scale, 1e-300))
