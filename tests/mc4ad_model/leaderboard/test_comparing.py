# SPDX-License-Identifier: Apache-2.0
"""Rows are compared over the same categories."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pydantic")

from intravariance.errors import InputError
from mc4ad_model.leaderboard.comparing import compare_rows
from mc4ad_model.leaderboard.standings import Standing


def test_results_that_somebody_removed_meanwhile_are_named() -> None:
    """The measurements are not looked at before."""
    row: Any = SimpleNamespace
    measured: Any = {(0, "vase"): None, (0, "bowl"): None}
    standings = [Standing(row(name="constant"), measured), Standing(row(name="random"), {})]
    dataset: Any = None
    with pytest.raises(InputError, match="results of random are gone"):
        compare_rows(standings, dataset)
