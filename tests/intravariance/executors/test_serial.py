# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from intravariance.errors import InputError, IVError
from intravariance.executors import Executor
from intravariance.executors.serial import SerialExecutor


def square(number: int) -> int:
    if number == 3:
        raise InputError("no threes")
    if number == 13:
        raise ValueError("a bug")
    return number * number


def test_results_come_in_order_and_only_when_asked_for() -> None:
    taken: list[int] = []
    executor: Executor = SerialExecutor()
    with executor:
        results = executor.run(square, (taken.append(n) or n for n in (1, 3, 5, 7)))
        assert next(results) == (1, 1)
        number, failure = next(results)
        assert number == 3 and isinstance(failure, IVError) and str(failure) == "no threes"
        assert next(results) == (5, 25)
        assert taken == [1, 3, 5]


def test_a_bug_is_raised() -> None:
    with SerialExecutor() as executor, pytest.raises(ValueError, match="a bug"):
        list(executor.run(square, [13]))
