# SPDX-License-Identifier: Apache-2.0
"""Runs tasks in this process, one after another: no start-up, and nothing that is pickled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Self

from intravariance.errors import IVError
from intravariance.executors import Result, Task


class SerialExecutor:
    """Run each task when its result is asked for, in the order given."""

    def run(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | IVError]]:
        """Yield (task, result); see `Executor`."""
        for task in tasks:
            result: Result | IVError
            try:
                result = function(task)
            except IVError as error:
                result = error
            yield task, result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: there is nothing to end."""
