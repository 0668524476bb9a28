# SPDX-License-Identifier: Apache-2.0
"""The nearest entry of a memory bank.

Up to 8 dimensions SciPy's k-d tree finds it. In more, all distances are computed as products of
matrices in single precision: in 33 dimensions a tree looks at nearly every entry, and
scikit-learn computes in double precision (`benchmarks/memory_banks.py` compares them). The distance
to the entry that was found is then computed anew, so rounding can only exchange entries whose
squared distances differ by less than a millionth of the largest from the bank's middle: a bank with
entries a thousand times as far from it as from each other would need another search.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Indices = NDArray[np.intp]

_TREE_DIMENSIONS = 8
_BLOCK = 128  # queries at a time: their products with the bank stay in the cache


def nearest(
    queries: NDArray[Any], bank: NDArray[Any], skipped: Indices | None = None
) -> tuple[NDArray[np.float64], Indices]:
    """Find the nearest entry of a bank by Euclidean distance.

    Parameters
    ----------
    queries : (Q, C)
    bank : (M, C)
    skipped : (Q,), optional
        An entry that a query must not find, because it is the query itself; -1 for none.

    Returns
    -------
    distances : (Q,), inf where the only entry is skipped
    indices : (Q,)
    """
    if bank.shape[1] <= _TREE_DIMENSIONS:
        found = _by_tree(queries, bank, skipped)
    else:
        found = _by_products(queries, bank, skipped)
    difference = queries.astype(np.float64) - bank[found]
    distances = np.sqrt((difference**2).sum(axis=1))
    if skipped is not None:
        distances[found == skipped] = np.inf
    return distances, found


def _by_tree(queries: NDArray[Any], bank: NDArray[Any], skipped: Indices | None) -> Indices:
    tree = cKDTree(bank)
    if skipped is None or len(bank) == 1:
        return np.asarray(tree.query(queries)[1])
    two = tree.query(queries, 2)[1]  # (Q, 2)
    return np.where(two[:, 0] == skipped, two[:, 1], two[:, 0])


def _by_products(queries: NDArray[Any], bank: NDArray[Any], skipped: Indices | None) -> Indices:
    """Find them as the largest q.b - |b|^2 / 2; around the bank's middle less is lost of it."""
    middle = bank.mean(axis=0, dtype=np.float64)
    entries = (bank - middle).astype(np.float32)
    halves = (entries**2).sum(axis=1) / 2
    found = np.zeros(len(queries), dtype=np.intp)
    for start in range(0, len(queries), _BLOCK):
        own = slice(start, start + _BLOCK)
        likeness = (queries[own] - middle).astype(np.float32) @ entries.T  # (B, M)
        likeness -= halves
        if skipped is not None:
            rows = np.flatnonzero(skipped[own] >= 0)
            likeness[rows, skipped[own][rows]] = -np.inf
        found[own] = likeness.argmax(axis=1)
    return found
