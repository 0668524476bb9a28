# SPDX-License-Identifier: Apache-2.0
"""Voxels of a batch of point clouds, and the pyramid of their coordinates at strides 1, 2, 4, ...

A voxel coordinate is (batch, x, y, z): int32, in units of stride-1 voxels,
x = floor(position / voxel size). At stride s coordinates are floor(x / s) * s, also for negative
ones, as in MinkowskiEngine. Rows are sorted lexicographically at every stride.

Every voxel has one int64 key, 16 bits each for batch, x, y and z, so that a neighbour is one
addition away. Hence the range: batch below `BATCH_LIMIT`; |x|, |y|, |z| up to `COORDINATE_LIMIT`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from intravariance.errors import InputError
from mc4ad_model.sparse.kernel_maps import (
    LARGEST_REACH,
    Geometry,
    KernelMap,
    down_and_up_tables,
    submanifold_table,
)

# The key's bias (2**15) keeps a field positive; the reach of the largest kernel must not leave it.
COORDINATE_LIMIT = 2**15 - 1 - LARGEST_REACH
BATCH_LIMIT = 2**15

_BIAS = 2**15
_FIELD = 2**16 - 1
# In the key: bits of x, y and z; those that a shift by one leaves to each; half of their biases.
_SPACE, _HALVED, _HALF_BIAS = 2**48 - 1, 0x7FFF_7FFF_7FFF, 0x4000_4000_4000
_NO_VOXEL = torch.iinfo(torch.int64).max  # larger than any key


@dataclass(frozen=True)
class Voxels:
    """The voxels of a batch of point clouds.

    Attributes
    ----------
    coordinates : (V, 4) int32
        Batch index, x, y, z in voxels; unique, sorted lexicographically.
    representative : (V,) int64
        Row of the concatenated points: the first point of each voxel (released code: one raw point
        stands for its voxel, nothing is averaged).
    point_to_voxel : (N,) int64
        Voxel of each point.
    """

    coordinates: Tensor
    representative: Tensor
    point_to_voxel: Tensor


def voxelise(clouds: Sequence[Tensor], voxel_size: float) -> Voxels:
    """Group a batch of point clouds into voxels.

    Parameters
    ----------
    clouds
        B tensors (N_b, 3) of floats, in the unit of `voxel_size`, on one device. Their rows count
        through in this order (N = sum of N_b).
    voxel_size
        Edge length of a voxel, positive (released code: 0.03 on clouds in the unit ball).

    Raises
    ------
    InputError
        No cloud, an empty one, one that isn't (N_b, 3) floats, NaN or infinite coordinates, a cloud
        that is too large for the voxel size, or more than `BATCH_LIMIT` clouds.
    """
    if not (isinstance(voxel_size, (int, float)) and math.isfinite(voxel_size) and voxel_size > 0):
        raise InputError(f"voxel size: expected a positive number, found {voxel_size!r}")
    if len(clouds) == 0:
        raise InputError("voxelise: expected at least one point cloud, found none")
    if len(clouds) > BATCH_LIMIT:
        raise InputError(
            f"voxelise: expected a batch of at most {BATCH_LIMIT} clouds, found {len(clouds)}"
        )
    for index, cloud in enumerate(clouds):
        if cloud.ndim != 2 or cloud.shape[1] != 3 or not cloud.is_floating_point():
            raise InputError(
                f"point cloud {index}: expected (N, 3) floats, "
                f"found {tuple(cloud.shape)} of {cloud.dtype}"
            )
        if len(cloud) == 0:
            raise InputError(f"point cloud {index} has no points; leave it out of the batch")
    points = torch.cat(list(clouds))  # [N, 3]
    lengths = [len(cloud) for cloud in clouds]
    # By a tensor: CUDA would multiply with the reciprocal of a number, and round differently. It is
    # filled on the device, since a copy from the host would wait.
    cells = torch.floor(points / points.new_full((), voxel_size))  # [N, 3]
    # NaN compares false, so one test finds NaN, infinity and distance alike.
    inside = (cells.float().abs() <= COORDINATE_LIMIT).all(1)  # half precision rounds the limit
    if not bool(inside.all()):
        raise InputError(_outside(points, inside, lengths, voxel_size))
    # a Python loop over clouds: repeat_interleave with a tensor would wait for the device
    batch = torch.cat([cells.new_full((n, 1), b, dtype=torch.int32) for b, n in enumerate(lengths)])
    return Voxels(*_unique(torch.cat([batch, cells.int()], dim=1)))


def _outside(points: Tensor, inside: Tensor, lengths: list[int], voxel_size: float) -> str:
    """Say which point is the first that no voxel can hold."""
    row = int(torch.nonzero(~inside)[0])
    cloud, first = 0, 0
    while row >= first + lengths[cloud]:
        first += lengths[cloud]
        cloud += 1
    position = [float(x) for x in points[row]]
    place = f"point cloud {cloud}, point {row - first}: found {position}"
    if not all(math.isfinite(x) for x in position):
        return f"{place}; expected finite coordinates"
    return (
        f"{place}; with a voxel size of {voxel_size:g} coordinates may reach "
        f"{COORDINATE_LIMIT * voxel_size:g}: normalise the cloud or use larger voxels"
    )


def unique_coordinates(coordinates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sort voxel coordinates and drop duplicates.

    Parameters
    ----------
    coordinates : (N, 4) of an integer dtype
        Batch, x, y, z; any order, duplicates allowed.

    Returns
    -------
    unique : (V, 4) int32, sorted lexicographically
    first : (V,) int64, the lowest row of `coordinates` with each value
    inverse : (N,) int64, coordinates == unique[inverse]

    Raises
    ------
    InputError
        Wrong shape or dtype, no row, or a coordinate out of range.
    """
    _check(coordinates)
    return _unique(coordinates)


def _unique(coordinates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    keys, inverse = torch.unique(_encode(coordinates), return_inverse=True)
    rows = torch.arange(len(inverse), device=inverse.device)
    first = torch.full_like(keys, len(rows)).scatter_reduce_(0, inverse, rows, "amin")
    return _decode(keys), first, inverse


def _check(coordinates: Tensor) -> None:
    """Raise InputError for wrong shape or dtype, no row, or a coordinate out of range."""
    whole = not (
        coordinates.is_floating_point()
        or coordinates.is_complex()
        or coordinates.dtype == torch.bool
    )
    if coordinates.ndim != 2 or coordinates.shape[1] != 4 or not whole or len(coordinates) == 0:
        raise InputError(
            "voxel coordinates: expected (V, 4) integers (batch, x, y, z) with V > 0, "
            f"found {tuple(coordinates.shape)} of {coordinates.dtype}"
        )
    least, most = coordinates.amin(0).tolist(), coordinates.amax(0).tolist()
    if least[0] < 0 or most[0] >= BATCH_LIMIT:
        raise InputError(
            f"voxel coordinates: expected batch indices from 0 to {BATCH_LIMIT - 1}, "
            f"found {least[0]} to {most[0]}"
        )
    if min(least[1:]) < -COORDINATE_LIMIT or max(most[1:]) > COORDINATE_LIMIT:
        raise InputError(
            f"voxel coordinates: expected -{COORDINATE_LIMIT} to {COORDINATE_LIMIT}, "
            f"found {min(least[1:])} to {max(most[1:])}"
        )


def _encode(coordinates: Tensor) -> Tensor:
    """Encode (V, 4) integers as (V,) int64 keys, in the same lexicographic order."""
    batch, x, y, z = coordinates.long().unbind(1)
    return (batch << 48) | (x + _BIAS) << 32 | (y + _BIAS) << 16 | (z + _BIAS)


def _decode(keys: Tensor) -> Tensor:
    """Decode (V,) int64 keys to (V, 4) int32."""
    x, y, z = ((keys >> shift & _FIELD) - _BIAS for shift in (32, 16, 0))
    return torch.stack([keys >> 48, x, y, z], dim=1).int()


def _halve(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find the voxels of twice the size, without waiting for the device.

    Parameters
    ----------
    keys : (V,)
        Sorted, `_NO_VOXEL` at the end where fewer voxels are.

    Returns
    -------
    coarse : (V,) their keys, in the same form
    parents : (V,) the row in `coarse` of each of `keys`
    count : () how many they are
    """
    space = keys & _SPACE
    halved = (keys - space) | ((space >> 1 & _HALVED) + _HALF_BIAS)  # floor, as the bias is even
    ordered, order = torch.sort(torch.where(keys == _NO_VOXEL, _NO_VOXEL, halved))
    new = torch.nn.functional.pad(ordered[1:] != ordered[:-1], (1, 0), value=True)
    row = new.cumsum(0) - 1
    coarse = torch.full_like(keys, _NO_VOXEL).scatter_(0, row, ordered)
    return coarse, torch.empty_like(row).scatter_(0, order, row), (coarse != _NO_VOXEL).sum()


class CoordinatePyramid:
    """The voxels of one batch at strides 1, 2, 4, ..., with the kernel maps between them.

    Levels and maps are made when first asked for and kept, so that all layers share them. All
    levels up to the one that is asked for are made together, with one wait for the device: ask for
    the coarsest first.

    Parameters
    ----------
    coordinates : (V, 4) of an integer dtype
        Unique and sorted, as `voxelise` and `unique_coordinates` give them.
    checked
        Whether they come from these functions: then nothing is checked, and nothing waits.

    Raises
    ------
    InputError
        Not so.
    """

    def __init__(self, coordinates: Tensor, *, checked: bool = False) -> None:
        if not checked:
            _check(coordinates)
        keys = _encode(coordinates)
        if not checked and not bool((keys[1:] > keys[:-1]).all()):
            raise InputError(
                "voxel coordinates: expected unique rows in lexicographic order: "
                "pass them through unique_coordinates"
            )
        # Keys of stride s hold coordinates / s: neighbours are one step apart at every stride.
        self._keys: dict[int, Tensor] = {1: keys}
        self._parents: dict[int, Tensor] = {}
        self._maps: dict[Geometry, KernelMap] = {}
        # A backend may keep things with this batch here (MinkowskiEngine: its coordinate manager).
        self.shared: dict[str, Any] = {}

    def coordinates(self, stride: int = 1) -> Tensor:
        """Return (V, 4) int32 coordinates at a stride, sorted, in units of stride-1 voxels.

        They are multiples of the stride.
        """
        coordinates = _decode(self._level(stride))
        coordinates[:, 1:] *= stride
        return coordinates

    def size(self, stride: int = 1) -> int:
        """Return the number of voxels at a stride."""
        return len(self._level(stride))

    def kernel_map(self, geometry: Geometry) -> KernelMap:
        """Return which voxels a convolution of this geometry connects."""
        if geometry not in self._maps:
            if geometry.source_stride == geometry.target_stride:
                keys = self._level(geometry.source_stride)
                table = submanifold_table(keys, geometry.kernel_size)
                self._maps[geometry] = KernelMap.submanifold(table)
            else:
                self._connect(min(geometry.source_stride, geometry.target_stride))
        return self._maps[geometry]

    def _connect(self, fine: int) -> None:
        """Make the two maps between a stride and its double: each is the other's transpose."""
        coarse = 2 * fine
        keys, count = self._level(fine), self.size(coarse)
        # The last bit of x, y and z (the bias is even), x fastest.
        offset = (keys >> 32 & 1) | (keys >> 16 & 1) << 1 | (keys & 1) << 2
        down, up = down_and_up_tables(self._parents[coarse], offset, count)
        self._maps[Geometry(2, fine, coarse)] = KernelMap(down, up)
        self._maps[Geometry(2, coarse, fine)] = KernelMap(up, down)

    def _level(self, stride: int) -> Tensor:
        """Return the keys (V,) at a stride."""
        if stride not in self._keys:
            if stride < 1 or stride & (stride - 1):
                raise InputError(f"stride: expected a power of two, found {stride}")
            self._make_levels(stride)
        return self._keys[stride]

    def _make_levels(self, coarsest: int) -> None:
        fine = max(self._keys)
        keys, size, made = self._keys[fine], self.size(fine), []
        for _ in range((coarsest // fine).bit_length() - 1):
            made.append(_halve(keys))
            keys = made[-1][0]
        counts = torch.stack([count for _, _, count in made]).tolist()  # waits for the device
        for (keys, parents, _), count in zip(made, counts, strict=True):
            fine *= 2
            self._keys[fine], self._parents[fine] = keys[:count], parents[:size]
            size = count
