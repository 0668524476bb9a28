# SPDX-License-Identifier: Apache-2.0
"""P-AUROC among points of like distance from the centroid."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from benchmarks.radius import among_like
from intravariance.auroc import auroc

RNG = np.random.default_rng(0)
RADII = RNG.uniform(0.2, 1, 40_000)
TRUTH = RNG.random(len(RADII)) < 0.3 * RADII**2  # defects lie far out


def test_scores_that_only_know_where_defects_lie_are_at_chance() -> None:
    for scores in (RADII, -RADII, RADII + RNG.normal(scale=0.3, size=len(RADII))):
        assert abs(auroc(TRUTH, scores) - 0.5) > 0.1
        assert among_like(TRUTH, scores, RADII) == pytest.approx(0.5, abs=0.02)


def test_scores_that_see_defects_keep_what_they_have() -> None:
    seeing = TRUTH + RNG.normal(scale=1, size=len(RADII))
    assert among_like(TRUTH, seeing, RADII) == pytest.approx(auroc(TRUTH, seeing), abs=0.01)
    assert among_like(TRUTH, TRUTH + 0.0, RADII) == 1
