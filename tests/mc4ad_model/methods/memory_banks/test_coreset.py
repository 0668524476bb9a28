# SPDX-License-Identifier: Apache-2.0
"""The greedy coreset against the obvious one, and what is known of it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from mc4ad_model.methods.memory_banks.coreset import greedy_coreset, mean_distance


def obvious(features, count, covered=None):
    """Recompute every distance from every chosen feature at each step."""
    features, chosen = features.astype(float), []
    while len(chosen) < min(count, len(features)):
        gap = np.full(len(features), np.inf) if covered is None else covered.copy()
        for new in chosen:
            gap = np.minimum(gap, np.linalg.norm(features - features[new], axis=1))
        gap[chosen] = -1
        chosen.append(int(gap.argmax()))
    return chosen


@pytest.mark.parametrize("dimensions", [3, 33])
@pytest.mark.parametrize("starts", [0, 10])
@pytest.mark.parametrize(("size", "count"), [(200, 60), (1100, 150)])
def test_it_chooses_what_the_obvious_one_chooses(
    dimensions: int, starts: int, size: int, count: int
) -> None:
    rng = np.random.default_rng(starts)
    features = rng.gamma(1.0, 30.0, size=(size, dimensions)).astype(np.float32)
    covered = None
    if starts:
        chosen = rng.choice(size, starts, replace=False)
        covered = mean_distance(features, chosen)
        gaps = np.linalg.norm(features[:, None].astype(float) - features[chosen], axis=2)
        assert covered == pytest.approx(gaps.mean(axis=1))
    found = greedy_coreset(features, count, covered)
    assert found.tolist() == obvious(features, count, covered)
    if not starts:
        assert found[0] == 0


def test_it_covers_at_worst_half_as_well_as_any_choice() -> None:
    """Gonzalez 1985: the farthest feature is at most twice as far as with the best choice."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(300, 5))

    def reach(chosen):
        return np.linalg.norm(features[:, None] - features[chosen], axis=2).min(axis=1).max()

    own = reach(greedy_coreset(features, 20))
    others = [reach(rng.choice(300, 20, replace=False)) for _ in range(50)]
    assert own <= 2 * min(others)
    assert own < np.median(others)


def test_what_lies_on_each_other_is_chosen_once() -> None:
    features = np.repeat(np.arange(4.0)[:, None] + 1e4, 5, axis=0)
    found = greedy_coreset(features, 12)
    assert len(set(found.tolist())) == 12
    assert len(np.unique(features[found[:4]])) == 4
    assert greedy_coreset(features, 20).tolist() == greedy_coreset(features, 99).tolist()
    assert greedy_coreset(features, 99).tolist() == list(range(20))
    assert greedy_coreset(features, 0).dtype == np.intp
