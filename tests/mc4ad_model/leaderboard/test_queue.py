# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from mc4ad_model.leaderboard.queue import seconds_left


def test_the_estimate_knows_what_a_row_takes() -> None:
    assert seconds_left(["a"], {}, 2) is None
    took = {"a": 10.0, "b": 50.0}
    assert seconds_left(["a", "b", "b"], took, 1) == pytest.approx(110)
    assert seconds_left(["a", "b", "b"], took, 2) == pytest.approx(55)
    assert seconds_left(["c"], took, 2) == pytest.approx(30)  # as the mean row, one at a time
