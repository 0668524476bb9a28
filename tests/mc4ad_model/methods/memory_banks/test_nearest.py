# SPDX-License-Identifier: Apache-2.0
"""The nearest entry, in few and in many dimensions, against all distances written out."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from mc4ad_model.methods.memory_banks.nearest import nearest


def brute_force(queries, bank, skipped):
    distances = np.sqrt(((queries[:, None].astype(float) - bank[None]) ** 2).sum(axis=2))
    for row, entry in enumerate(skipped):
        if entry >= 0:
            distances[row, entry] = np.inf
    return distances.min(axis=1), distances.argmin(axis=1)


@pytest.mark.parametrize("dimensions", [3, 33])
@pytest.mark.parametrize("scale", [1e-3, 100.0])
def test_it_is_what_brute_force_finds(dimensions: int, scale: float) -> None:
    rng = np.random.default_rng(dimensions)
    bank = (scale * (rng.normal(size=(400, dimensions)) + 20)).astype(np.float32)
    queries = (scale * (rng.normal(size=(300, dimensions)) + 20)).astype(np.float32)
    queries[:50] = bank[:50]
    skipped = np.where(np.arange(300) < 50, np.arange(300), -1)
    for skip in (None, skipped):
        distances, found = nearest(queries, bank, skip)
        expected = brute_force(queries, bank, np.full(300, -1) if skip is None else skip)
        assert np.array_equal(found, expected[1])
        assert distances == pytest.approx(expected[0], rel=1e-9, abs=0)
    assert (nearest(queries, bank)[0][:50] == 0).all()


@pytest.mark.parametrize("dimensions", [3, 33])
def test_the_only_entry_skipped_leaves_none(dimensions: int) -> None:
    one = np.ones((1, dimensions), dtype=np.float32)
    assert nearest(one, one, np.array([0]))[0].tolist() == [np.inf]
    assert nearest(one, one)[0].tolist() == [0]


@pytest.mark.parametrize("dimensions", [3, 33])
def test_a_twin_of_a_skipped_entry_is_found(dimensions: int) -> None:
    """Two entries that lie on each other: whichever is skipped, the other is as near."""
    bank = np.ones((2, dimensions), dtype=np.float32)
    for skipped in (0, 1):
        distances, found = nearest(bank[:1], bank, np.array([skipped]))
        assert distances.tolist() == [0] and found.tolist() == [1 - skipped]
