# SPDX-License-Identifier: Apache-2.0
"""Kernel maps as tiles: what the Triton kernels read of a `NeighbourTable`.

A tile is a run of target rows that one program of a kernel computes. Rows are ordered by a mask
word that has one bit for each offset, so that rows with the same neighbours share a tile, and a
tile loops over the offsets that one of its rows has. A kernel of 27 offsets has two words, each
with an order of its own: with all offsets in one word, hardly two rows of a noisy cloud are alike.

All is computed on the table's device, and nothing waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mc4ad_model.sparse.kernel_maps import NeighbourTable


@dataclass(frozen=True)
class Tiles:
    """The tiles of one word of offsets: T tiles of R rows.

    Attributes
    ----------
    order : (T * R,) int32
        The target row at each place, the number of target rows where there is none.
    live : (T, W) int32
        The offsets that a row of the tile has, in increasing order; W is the offsets of the word.
    counts : (T,) int32
        How many of `live` count.
    """

    order: Tensor
    live: Tensor
    counts: Tensor


@dataclass(frozen=True)
class OffsetPairs:
    """The target rows of each offset.

    Attributes
    ----------
    targets : (K, V_target + 1) int32
        Rows that have a source at the offset, in increasing order, the first `counts` of them.
    counts : (K,) int32
    """

    targets: Tensor
    counts: Tensor


def make_tiles(table: NeighbourTable, rows: int, words: int) -> list[Tiles]:
    """Cut the target rows into tiles of `rows`, once for each word of offsets."""
    size, targets = -(-table.offsets // words), table.targets
    padding = -targets % rows
    present = table.table != table.sources  # [K, V]
    present = torch.nn.functional.pad(present, (0, 0, 0, words * size - table.offsets))
    present = present.view(words, size, targets)
    bits = torch.arange(size, device=present.device)
    word = (present.long() << bits[:, None]).sum(1)  # [words, V]
    order = torch.argsort(word, dim=1, stable=True)
    alike = present.gather(2, order[:, None].expand(-1, size, -1))
    alike = torch.nn.functional.pad(alike, (0, padding))
    live = alike.view(words, size, -1, rows).any(3).transpose(1, 2).contiguous()  # [words, T, size]
    offsets = torch.argsort((~live).to(torch.int8), dim=2, stable=True)
    offsets += size * torch.arange(words, device=present.device)[:, None, None]
    order = torch.nn.functional.pad(order, (0, padding), value=targets).int()
    return [
        Tiles(*of_word) for of_word in zip(order, offsets.int(), live.sum(2).int(), strict=True)
    ]


def make_pairs(table: NeighbourTable) -> OffsetPairs:
    """List the target rows of each offset."""
    present = table.table != table.sources  # [K, V]
    offsets, targets = present.shape
    rows = torch.arange(targets, device=present.device, dtype=torch.int32).expand(offsets, -1)
    place = torch.where(present, present.cumsum(1) - 1, targets)  # the last column takes the rest
    compact = rows.new_zeros(offsets, targets + 1).scatter_(1, place, rows)
    return OffsetPairs(compact, present.sum(1).int())
