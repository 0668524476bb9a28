# SPDX-License-Identifier: Apache-2.0
"""Runs each task in a process of its own, which ends with the task.

Memory that a task leaves in use does not count for the next, so that a task can tell how much it
took. A task whose process is killed, say because memory is short, fails alone. A process takes
about a second to start: this is for few long tasks, `processes` for many short ones.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Self

from intravariance.errors import IVError
from intravariance.executors import Result, Task
from intravariance.executors.processes import cores, start_worker

LOOK_AFTER = 2.0  # seconds, until it is asked again whether the tasks are wanted
_PATIENCE = 30.0  # seconds that a task has to stop in, when the others are given up


class IsolatedExecutor:
    """Run tasks in spawned processes, `jobs` at a time.

    jobs : None for one for each core at hand. Each process may use as many threads as there are
    cores for it, unless OMP_NUM_THREADS says otherwise. They end with this process, also when it is
    killed. wanted : is asked now and then, and where it says no, the tasks are given up.
    """

    def __init__(self, jobs: int | None = None, wanted: Callable[[], bool] = lambda: True) -> None:
        self.jobs = jobs or cores()
        self._wanted = wanted
        self._running: dict[Connection, tuple[BaseProcess, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop what is running; it is forgotten."""
        for process, _task in self._running.values():
            process.terminate()
        for process, _task in self._running.values():
            process.join(_PATIENCE)
            process.kill()
            process.join()
        self._running = {}

    def run(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | IVError]]:
        """Yield (task, result); see `Executor`. A process that was killed is an IVError too.

        Raises IVError where the tasks are not wanted any more.
        """
        source = iter(tasks)
        while True:
            for task in islice(source, self.jobs - len(self._running)):
                self._start(function, task)
            if not self._running:
                return
            if not self._wanted():
                raise IVError("nobody waits for the result any more")
            for connection in wait(list(self._running), LOOK_AFTER):
                assert isinstance(connection, Connection)
                process, task = self._running.pop(connection)
                yield task, _received(connection, process)

    def workers(self) -> int:
        """Count the processes that may run at a time."""
        return self.jobs

    def _start(self, function: Callable[[Task], Result], task: Task) -> None:
        threads = str(max(1, cores() // self.jobs))
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # inherited
            os.environ.setdefault(name, threads)
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(there, function, task), daemon=False)
        with _not_daemonic():
            process.start()
        there.close()  # so that the end of the process is the end of what it sends
        self._running[here] = process, task


@contextmanager
def _not_daemonic() -> Iterator[None]:
    """Let this process start one although it is daemonic itself, as most of Dask's workers are.

    A daemonic process may have none lest they outlive it, which `start_worker` sees to.
    """
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    before = config.get("daemon")
    config["daemon"] = False
    try:
        yield
    finally:
        config["daemon"] = before


def _work(connection: Connection, function: Callable[[Any], Any], task: Any) -> None:
    start_worker()
    try:
        connection.send((function(task), None))
    except IVError as error:
        connection.send((error, None))
    except Exception as bug:
        connection.send((None, bug))
        raise


def _received(connection: Connection, process: BaseProcess) -> Any:
    """Return what the process of a task sent, or why it sent nothing; raise a bug."""
    try:
        result, bug = connection.recv()
    except (EOFError, OSError):  # the latter in the middle of a result
        process.join()
        code = process.exitcode or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return IVError(f"its process {how}; if memory is short, run fewer at a time (--jobs)")
    finally:
        connection.close()
    process.join()
    if bug is not None:
        raise bug
    return result
