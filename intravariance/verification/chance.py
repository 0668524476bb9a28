# SPDX-License-Identifier: Apache-2.0
"""AUROCs under chance: labels shuffled, and samples redrawn, for several numbers at once.

Memory is bounded whatever the number of samples is, and time grows with it alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 9_999
BOOTSTRAPS = 1_999
_NUMBERS_AT_ONCE = 2_000_000  # of 8 bytes

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Chance:
    """AUROCs of K numbers, positive samples against the others.

    found : (K,) as they are. shuffled : (PERMUTATIONS, K) with the labels shuffled. redrawn :
    (BOOTSTRAPS, K) with positive and other samples redrawn with replacement, apart.
    """

    found: Floats
    shuffled: Floats
    redrawn: Floats


def chance(values: Floats, positive: NDArray[np.bool_], rng: np.random.Generator) -> Chance:
    """Compute AUROCs, and what chance makes of them.

    values : (N, K), finite. positive : (N,), with both kinds. All K see the same shuffled labels
    and the same redrawn samples.
    """
    ranks = np.stack([_ranks(column) for column in values.T], axis=1)
    shuffled = [
        _aurocs(chosen.astype(np.float64), ranks, int(positive.sum()))
        for chosen in _deals(len(values), int(positive.sum()), rng)
    ]
    found = _aurocs(positive[None].astype(np.float64), ranks, int(positive.sum()))[0]
    redrawn = _redrawn(values[positive], values[~positive], rng)
    return Chance(found, np.concatenate(shuffled), redrawn)


def _ranks(values: Floats) -> Floats:
    """Return the ranks (N,) of numbers (N,) from 1 on, equal ones sharing the mean of theirs.

    As `scipy.stats.rankdata`, whose import takes longer than all of `chance`.
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def _aurocs(chosen: Floats, ranks: Floats, count: int) -> Floats:
    """Compute (R, K) AUROCs, `count` samples of each of chosen (R, N) being the positive ones."""
    smallest = count * (count + 1) / 2
    return np.asarray((chosen @ ranks - smallest) / (count * (len(ranks) - count)))


def _blocks(rows: int, width: int) -> Iterator[int]:
    """Divide rows of so many numbers into blocks that fit; yield the number of rows of each."""
    block = max(1, _NUMBERS_AT_ONCE // width)
    for first in range(0, rows, block):
        yield min(block, rows - first)


def _deals(count: int, positives: int, rng: np.random.Generator) -> Iterator[NDArray[np.bool_]]:
    """Draw (R, N) which samples are called positive, in blocks."""
    for rows in _blocks(PERMUTATIONS, count):
        # a random subset: those with the smallest of as many random numbers
        drawn = rng.random((rows, count))
        yield drawn <= np.partition(drawn, positives - 1, axis=1)[:, positives - 1, None]


def _redrawn(positive: Floats, negative: Floats, rng: np.random.Generator) -> Floats:
    """Compute (BOOTSTRAPS, K) AUROCs of samples redrawn with replacement."""
    orders = np.argsort(negative, axis=0)
    below, upto = (
        np.stack(
            [
                np.searchsorted(negative[orders[:, k], k], positive[:, k], side)
                for k in range(negative.shape[1])
            ]
        )
        for side in ("left", "right")
    )
    found = []
    for rows in _blocks(BOOTSTRAPS, len(positive) + len(negative)):
        ours, others = (_times(len(side), rows, rng) for side in (positive, negative))
        drawn = np.zeros((rows, negative.shape[1]))
        for k, order in enumerate(orders.T):
            reached = np.zeros((rows, len(negative) + 1), dtype=np.int64)
            np.cumsum(others[:, order], axis=1, out=reached[:, 1:])
            wins = reached[:, below[k]] + reached[:, upto[k]]  # twice as many
            drawn[:, k] = (ours * wins).sum(axis=1)
        found.append(drawn / (2 * len(positive) * len(negative)))
    return np.concatenate(found)


def _times(count: int, rows: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw (R, N) how often each of `count` samples is redrawn."""
    return np.asarray(rng.multinomial(count, np.full(count, 1 / count), size=rows))
