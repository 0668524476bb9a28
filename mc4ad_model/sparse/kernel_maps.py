# SPDX-License-Identifier: Apache-2.0
"""Kernel maps: the source voxel that each target voxel sees through each offset of a kernel.

Offsets are numbered as in MinkowskiEngine, the first spatial axis fastest: with kernel size r,
k = ix + r * iy + r * r * iz. Along an axis, offset i is i - r // 2 for odd r (centred), i for 2.
A convolution is y[o] = sum over k of x[o + offset_k] @ kernel[k]; missing voxels add nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from intravariance.errors import InputError

LARGEST_REACH = 2  # of kernel size 5


@dataclass(frozen=True)
class Geometry:
    """Kernel size and strides of a convolution.

    Three kinds exist: submanifold (odd kernel, equal strides), down (kernel 2, target stride twice
    the source stride) and up, its transpose onto the finer voxels (kernel 2, target stride half).

    Raises
    ------
    InputError
        None of the three.
    """

    kernel_size: int
    source_stride: int
    target_stride: int

    def __post_init__(self) -> None:
        source, target = self.source_stride, self.target_stride
        if min(source, target) < 1 or source & (source - 1) or target & (target - 1):
            raise InputError(f"strides: expected powers of two, found {source} and {target}")
        same = source == target and self.kernel_size in (1, 3, 5)
        change = max(source, target) == 2 * min(source, target) and self.kernel_size == 2
        if not (same or change):
            raise InputError(
                "convolution geometry: expected kernel size 1, 3 or 5 between equal strides, or 2 "
                f"between a stride and its double, found kernel size {self.kernel_size} "
                f"from stride {source} to {target}"
            )

    @property
    def offsets(self) -> int:
        """Return K, the number of offsets of the kernel."""
        return self.kernel_size**3

    @property
    def transposed(self) -> bool:
        """Tell whether this is an up convolution."""
        return self.target_stride < self.source_stride


@dataclass(frozen=True)
class PairBlock:
    """The pairs (source, target) of a run of target rows, ordered by offset.

    Attributes
    ----------
    start, stop : int
        The target rows.
    source, target : (P,) int32
        Rows of the whole source and target.
    counts : K ints
        Pairs of each offset.
    order, bounds : (P,) and (rows + 1,) int32
        The pairs of target row start + i are order[bounds[i]:bounds[i + 1]].
    """

    start: int
    stop: int
    source: Tensor
    target: Tensor
    counts: list[int]
    order: Tensor
    bounds: Tensor


class NeighbourTable:
    """The source row for each offset and target row, in the two forms that the convolution reads.

    Parameters
    ----------
    table : (K, V_target) int32
        Source row, or `sources` where there is none.
    sources : int
        Number of source rows.
    """

    def __init__(self, table: Tensor, sources: int) -> None:
        self.table = table
        self.sources = sources
        self._kept: dict[str, Any] = {}

    @property
    def offsets(self) -> int:
        """Return K, the number of offsets."""
        return self.table.shape[0]

    @property
    def targets(self) -> int:
        """Return the number of target rows."""
        return self.table.shape[1]

    @cached_property
    def by_target(self) -> Tensor:
        """Return the table as (V_target, K), contiguous."""
        return self.table.t().contiguous()

    @cached_property
    def pairs(self) -> int:
        """Count (source, target) pairs over all offsets."""
        return int((self.table != self.sources).sum())

    def blocks(self, rows: int) -> list[PairBlock]:
        """Cut the pairs into blocks of `rows` target rows; the first call waits for the device."""
        make = functools.partial(_pair_blocks, self.table, self.sources, rows)
        blocks: list[PairBlock] = self.kept(f"blocks of {rows}", make)
        return blocks

    def kept(self, name: str, make: Callable[[], Any]) -> Any:
        """Return another form of the table, made at the first call of its name and kept."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]


def _pair_blocks(table: Tensor, sources: int, rows: int) -> list[PairBlock]:
    """Cut the pairs of a table into blocks of `rows` target rows."""
    offsets, targets = table.shape
    blocks = -(-targets // rows)
    padded = torch.nn.functional.pad(table, (0, blocks * rows - targets), value=sources)
    cells = padded.view(offsets, blocks, rows).permute(1, 0, 2)  # [blocks, K, rows]
    present = cells != sources
    block, offset, row = present.nonzero().unbind(1)  # ordered by block, offset, row
    source = cells[block, offset, row].int()
    target = (block * rows + row).int()
    counted = torch.bincount(block * offsets + offset, minlength=blocks * offsets)
    counts = counted.view(blocks, offsets).tolist()
    # position of each pair within its block, read row by row
    sizes = [sum(of_block) for of_block in counts]
    starts = [sum(sizes[:b]) for b in range(blocks)]
    position = torch.zeros_like(cells, memory_format=torch.contiguous_format)
    position[block, offset, row] = torch.arange(
        len(source), device=table.device, dtype=position.dtype
    )
    order = position.transpose(1, 2)[present.transpose(1, 2)]
    bounds = torch.nn.functional.pad(present.sum(1).cumsum(1), (1, 0)).int()  # [blocks, rows + 1]
    result = []
    for b, (first, size) in enumerate(zip(starts, sizes, strict=True)):
        start, stop = b * rows, min((b + 1) * rows, targets)
        span = slice(first, first + size)
        result.append(
            PairBlock(
                start,
                stop,
                source[span],
                target[span],
                counts[b],
                order[span] - first,
                bounds[b, : stop - start + 1],
            )
        )
    return result


@dataclass(frozen=True, eq=False)
class KernelMap:
    """The neighbours of a convolution and of its transpose, which carries the gradient back.

    Attributes
    ----------
    forward : source rows of each target row
    backward : target rows of each source row, by the same offsets
    mirrored : bool
        For a submanifold convolution both are one table, read with the offsets in reverse.
    """

    forward: NeighbourTable
    backward: NeighbourTable
    mirrored: bool = False

    @classmethod
    def submanifold(cls, table: NeighbourTable) -> KernelMap:
        """Make the map of a submanifold convolution from its one table."""
        return cls(table, table, mirrored=True)


def submanifold_table(keys: Tensor, kernel_size: int) -> NeighbourTable:
    """Find the neighbours among one set of voxels, for an odd kernel.

    Parameters
    ----------
    keys : (V,) int64
        Sorted keys of `coordinates.py`: z in the lowest 16 bits, then y, x, batch.
    kernel_size
        1, 3 or 5.
    """
    size, reach, offsets = len(keys), kernel_size // 2, kernel_size**3
    # Keys that differ in z alone lie next to each other: one search serves a column of offsets.
    # Half of the columns do: if j is the neighbour of i at k, then i is j's at the mirror image.
    column = torch.arange(kernel_size**2 // 2 + 1, device=keys.device)
    x, y = column // kernel_size, column % kernel_size
    steps = (x - reach << 32) + (y - reach << 16) - reach
    first = x + kernel_size * y
    rows = torch.arange(size, device=keys.device, dtype=torch.int32).expand(len(column), -1)
    # One column more than rows takes what has no neighbour, so that nothing waits for the device.
    table = rows.new_empty((offsets, size + 1))
    padded = torch.nn.functional.pad(keys, (0, 1), value=torch.iinfo(torch.int64).max)
    wanted = keys + steps[:, None]  # [columns, V]
    found = torch.searchsorted(keys, wanted)
    for z in range(kernel_size):
        hit = padded[found] == wanted
        neighbour = torch.where(hit, found, size)
        k = first + kernel_size**2 * z
        table[k, :size] = neighbour.int()
        mirrored = table.new_full((len(column), size + 1), size)
        table[offsets - 1 - k] = mirrored.scatter_(1, neighbour, rows)
        found += hit
        wanted += 1
    return NeighbourTable(table[:, :size], size)


def down_and_up_tables(
    parents: Tensor, offset: Tensor, coarse: int
) -> tuple[NeighbourTable, NeighbourTable]:
    """Find the neighbours of the convolution with kernel 2 and stride 2, and of its transpose.

    Parameters
    ----------
    parents, offset : (V_fine,) int64
        Coarse row of each fine voxel, and its offset 0 to 7 within the coarse voxel.
    coarse
        V_coarse, the number of coarse voxels.
    """
    fine = len(parents)
    rows = torch.arange(fine, device=parents.device, dtype=torch.int32)
    down = rows.new_full((8, coarse), fine)
    down[offset, parents] = rows
    up = rows.new_full((8, fine), coarse)
    up[offset, rows.long()] = parents.int()
    return NeighbourTable(down, fine), NeighbourTable(up, coarse)
