# SPDX-License-Identifier: Apache-2.0
"""Executors run independent tasks. Whoever starts a job chooses an executor and passes it in.

executors/processes.py    worker processes of this machine
executors/serial.py       this process, one task after another
executors/isolated.py     a process of its own for each task
executors/dask_cluster.py workers of a Dask cluster, which need none of this machine's files
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from intravariance.errors import IVError
from intravariance.progress import track

Task = TypeVar("Task")
Result = TypeVar("Result")

BLENDER = "BLENDER"  # the resource of workers that have Blender, where not all have


class Portable:
    """A task that can be done on a machine that has none of this machine's files.

    By default it names no file, and any worker will do; its classes say what differs. Executors
    of this machine have no use for any of this.
    """

    @property
    def title(self) -> str:
        """Return the name of the task in messages."""
        return type(self).__name__

    @property
    def needs(self) -> str:
        """Return the resource that its worker must have where some workers have it; "" for none."""
        return ""

    def packed(self) -> Self:
        """Return the task with the content of the files that it alone reads."""
        return self

    def shared(self) -> Collection[Path]:
        """List files that other tasks read too, so that their content is sent once for all."""
        return ()

    def with_shared(self, files: Mapping[Path, bytes]) -> Self:
        """Return the task with the content of these files, on the worker that does it.

        files : what `shared` lists, by the path here.
        """
        return self


class Executor(Protocol):
    """Run independent tasks, wherever that may be; a context manager that ends what it started."""

    def run(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | IVError]]:
        """Yield (task, result) as tasks finish, in any order.

        An IVError of a task is yielded in the place of its result, so that one failure does not
        stop the others; any other exception is a bug and propagates. Tasks are taken from the
        iterable as they are needed, and never many more than are being worked on. `function`, tasks
        and results must be importable and picklable; a task carries all that it needs, but for
        files of this machine (see `Portable`), and its result is written by whoever asked for it.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


def run_all(
    executor: Executor,
    function: Callable[[Task], Result],
    tasks: Collection[Task],
    label: str,
    quiet: bool,
) -> Iterator[tuple[Task, Result]]:
    """Yield (task, result) as tasks finish, with progress; raise the first IVError of a task."""
    for task, result in track(executor.run(function, tasks), len(tasks), label, quiet):
        if isinstance(result, IVError):
            raise result
        yield task, result
