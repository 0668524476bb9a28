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


def clouds(kind: str, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw queries and a bank, float32."""
    rng, shape = np.random.default_rng(dimensions), (300, dimensions)
    bank, queries = rng.normal(20, size=shape), rng.normal(20, size=(200, dimensions))
    if kind == "lattice":  # many entries are equally near
        bank, queries = rng.integers(0, 3, size=shape), rng.integers(0, 3, size=shape)
    elif kind == "twins":
        bank, queries = np.tile(bank[:100], (3, 1)), bank[:100]
    elif kind == "one place":
        bank = np.full(shape, 0.1)
    elif kind == "outliers":
        bank[::10] += 100
    return queries.astype(np.float32), bank.astype(np.float32)


@pytest.mark.parametrize("dimensions", [3, 8, 9, 33])
@pytest.mark.parametrize("kind", ["random", "lattice", "twins", "one place", "outliers"])
def test_it_is_what_scikit_learn_finds(kind: str, dimensions: int) -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    queries, bank = clouds(kind, dimensions)
    exact = bank.astype(float)
    twin = neighbors.NearestNeighbors(n_neighbors=1, algorithm="brute").fit(exact)
    others = np.arange(len(bank))  # each entry's nearest but itself
    for given, skipped, theirs in (
        (queries, None, twin.kneighbors(queries.astype(float), return_distance=False)),
        (bank, others, twin.kneighbors(return_distance=False)),
    ):
        distances, found = nearest(given, bank, skipped)
        own, expected = (
            ((given.astype(float) - exact[entry]) ** 2).sum(axis=1)
            for entry in (found, theirs[:, 0])
        )
        assert np.array_equal(distances, np.sqrt(own))
        assert skipped is None or (found != skipped).all()
        if kind == "outliers" and dimensions > 8:  # as the module says
            largest = ((exact - exact.mean(axis=0)) ** 2).sum(axis=1).max()
            assert np.abs(own - expected).max() < 1e-6 * largest
        else:
            assert np.array_equal(own, expected)


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
