# SPDX-License-Identifier: Apache-2.0
"""Runs independent tasks on this machine's processes, behind `concurrent.futures`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import TypeVar

from intravariance.errors import IVError

Task = TypeVar("Task")
Result = TypeVar("Result")

# A worker killed from outside (out of memory, say) breaks the whole pool; its tasks are given to
# a new pool this many times.
POOLS = 3


def cores() -> int:
    """Cores that this process may use; a container may allow fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Processes:
    """`jobs` spawned worker processes, which live from one `run` to the next.

    They end with this process, also when it is killed.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def run(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | IVError]]:
        """Yield (task, result) as tasks finish, in any order.

        An IVError of a task is yielded in the place of its result, so that one failure does not
        stop the others; any other exception is a bug and propagates. `function` and tasks must be
        importable and picklable. Raises IVError when workers keep being killed.
        """
        left = dict(enumerate(tasks))
        for _ in range(POOLS):
            try:
                for key, result in self._run_once(function, left):
                    yield left.pop(key), result
                return
            except BrokenProcessPool:
                self._close()
        raise IVError(
            f"worker processes were killed {POOLS} times, {len(left)} tasks are left. If memory "
            "is short, use fewer --jobs; what is finished is kept."
        )

    def _run_once(
        self, function: Callable[[Task], Result], tasks: dict[int, Task]
    ) -> Iterator[tuple[int, Result | IVError]]:
        if self._pool is None:
            self._pool = _open_pool(self.jobs)
        keys: dict[Future[Result], int] = {
            self._pool.submit(function, task): key for key, task in tasks.items()
        }
        try:
            while keys:
                finished, _ = wait(keys, return_when=FIRST_COMPLETED)
                for future in finished:
                    key = keys.pop(future)
                    try:
                        yield key, future.result()
                    except IVError as error:
                        yield key, error
        finally:
            for future in keys:
                future.cancel()

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _open_pool(jobs: int) -> ProcessPoolExecutor:
    # One thread per worker: the parallelism is over samples. Spawned workers inherit this.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return ProcessPoolExecutor(
        max_workers=jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    )


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent is gone, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
