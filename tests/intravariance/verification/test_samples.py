# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from intravariance.building.plan import SampleJob
from intravariance.verification.samples import smallest_hashes
from tests.support.samples import make_sample


@pytest.mark.parametrize("count", [1, 64, 5_000])
@pytest.mark.parametrize("copies", [1, 2, 300])
def test_hashes_are_of_the_points_whatever_their_order_and_number(count: int, copies: int) -> None:
    rng = np.random.default_rng(count)
    points = rng.normal(size=(count, 3)).astype(np.float32)
    shuffled = rng.permutation(np.tile(points, (copies, 1)))
    sample = make_sample(SampleJob("ball_test_000", "ball", "round_ball", "test", "normal", 10))
    once, again = (smallest_hashes(replace(sample, points=cloud)) for cloud in (points, shuffled))
    assert len(once) == min(count, 64) and (np.diff(once.astype(object)) > 0).all()
    np.testing.assert_array_equal(once, again)
    # the smallest of all: those of a part of the points are above them, or among them
    part = smallest_hashes(replace(sample, points=points[: count // 2]))
    assert set(part[part <= once[-1]]) <= set(once)
