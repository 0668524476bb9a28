# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from intravariance.errors import InputError
from mc4ad_model.evaluation.calibration import OWN, POINT_LEVELS, score_normal_clouds
from mc4ad_model.methods.method import Aggregation
from tests.support.scorers import FunctionScorer

CLOUDS = [
    np.random.default_rng(number).normal(size=(50 + number, 3)).astype(np.float32)
    for number in range(9)
]
SCORER = FunctionScorer(lambda points: points[:, 0], Aggregation("top", 0.1))


def test_scores_are_the_methods_under_each_rule() -> None:
    found = score_normal_clouds(CLOUDS, len(CLOUDS), SCORER)
    first = [cloud[:, 0].astype(float) for cloud in CLOUDS]
    assert len(found) == 9
    assert found.of() == found.objects[OWN] == found.of("top")
    assert found.of("max") == tuple(values.max() for values in first)
    assert found.of("mean") == tuple(values.mean() for values in first)
    pooled = np.concatenate(first)
    for level in POINT_LEVELS:
        assert found.points[level] == np.quantile(pooled, level)


def test_a_score_is_judged_under_its_rule() -> None:
    found = score_normal_clouds(CLOUDS, len(CLOUDS), SCORER)
    for rule in (None, "max", "mean"):
        scores = found.of(rule)
        assert found.threshold(0.1, rule) == max(scores)
        assert found.p_value(max(scores), rule) == 0.2
        assert found.p_value(max(scores) + 1, rule) == 0.1


def test_scores_that_are_no_numbers_are_an_error() -> None:
    broken = FunctionScorer(lambda points: np.full(len(points), np.nan))
    with pytest.raises(InputError, match="normal product 0: 50 of 50"):
        score_normal_clouds(CLOUDS, len(CLOUDS), broken)
