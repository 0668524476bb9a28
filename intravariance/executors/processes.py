# SPDX-License-Identifier: Apache-2.0
"""Runs tasks in worker processes of this machine, behind `concurrent.futures`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Self

from intravariance.errors import IVError
from intravariance.executors import Executor, Result, Task
from intravariance.executors.serial import SerialExecutor
from intravariance.progress import say

# A worker killed from outside (out of memory, say) breaks the whole pool; its tasks are given to
# a new pool this many times.
POOLS = 3
# After so many seconds without a result, workers are looked at: one that was stopped (SIGSTOP, a
# debugger, a batch system that pauses jobs) finishes nothing and holds up the run without a word.
# It is named then, and replaced at the last look. One that was killed while it sent a result leaves
# half of it and the lock of the pipe behind, and the pool would wait for the other half for ever.
LOOK_AFTER, LOOKS = 60.0, 10
# So many tasks for each worker are submitted: enough that none waits while results are stored, few
# enough that the results waiting to be stored take little memory.
WINDOW = 3


def cores() -> int:
    """Count the cores that this process may use: a container may allow fewer than there are."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def local_executor(jobs: int | None) -> Executor:
    """Make the executor that `--jobs` asks for: this process alone for 1, or worker processes."""
    return SerialExecutor() if jobs == 1 else ProcessExecutor(jobs)


class ProcessExecutor:
    """Run tasks in `jobs` spawned worker processes, which live from one `run` to the next.

    jobs : None for one for each core at hand. The processes end with this one, also when it is
    killed.
    """

    def __init__(self, jobs: int | None = None) -> None:
        self.jobs = jobs or cores()
        self._pool: ProcessPoolExecutor | None = None
        self._stopped: Counter[int] = Counter()  # looks at which a worker was stopped, by its pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the workers; tasks that have not begun are forgotten."""
        self._close()

    def run(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | IVError]]:
        """Yield (task, result); see `Executor`. Raises IVError when workers keep being killed."""
        source = enumerate(tasks)
        taken: dict[int, Task] = {}  # and not finished
        for _ in range(POOLS):
            try:
                for key, result in self._run_once(function, taken, source):
                    yield taken.pop(key), result
                return
            except BrokenProcessPool:
                self._close()
        raise IVError(
            f"worker processes were killed {POOLS} times, at least {len(taken)} tasks are left. If "
            "memory is short, use fewer --jobs; what is finished is kept."
        )

    def _run_once(
        self,
        function: Callable[[Task], Result],
        taken: dict[int, Task],
        source: Iterator[tuple[int, Task]],
    ) -> Iterator[tuple[int, Result | IVError]]:
        """Yield key and result of the tasks `taken`, and of those in `source`, which it takes."""
        pool = self._pool = self._pool or _open_pool(self.jobs)
        keys = {pool.submit(function, task): key for key, task in taken.items()}
        try:
            while True:
                for key, task in islice(source, max(0, WINDOW * self.jobs - len(keys))):
                    taken[key] = task
                    keys[pool.submit(function, task)] = key
                if not keys:
                    return
                finished, _ = wait(keys, timeout=LOOK_AFTER, return_when=FIRST_COMPLETED)
                if not finished:
                    self._look_at(pool)
                for future in finished:
                    key = keys.pop(future)
                    try:
                        yield key, future.result()
                    except IVError as error:
                        yield key, error
        finally:
            for future in keys:
                future.cancel()

    def _look_at(self, pool: ProcessPoolExecutor) -> None:
        """Name workers that were stopped from outside; kill those that stay so, for a new pool.

        Where one is dead, the pool is broken and has not noticed: see LOOK_AFTER.
        """
        workers = list(pool._processes.values())
        if not all(process.is_alive() for process in workers):
            for process in workers:
                process.kill()
            # ours is the last: the pool reads an end now
            pool._result_queue._writer.close()  # type: ignore[attr-defined]
            return
        for process in workers:
            pid = process.pid
            if pid is None or not is_stopped(pid):
                continue
            self._stopped[pid] += 1
            if self._stopped[pid] == 1:
                say(
                    f"worker process {pid} was stopped from outside, and holds up the run; kill "
                    f"-CONT {pid} continues it, or it is replaced in {LOOKS * LOOK_AFTER / 60:.0f} "
                    "minutes"
                )
            elif self._stopped[pid] > LOOKS:
                process.kill()

    def _close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped, as by SIGSTOP; False where the system does not say."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1].split()[0]
    except (OSError, IndexError):
        return False
    return state in (b"T", b"t")


def _open_pool(jobs: int) -> ProcessPoolExecutor:
    # One thread per worker: the parallelism is over samples. Spawned workers inherit this.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return ProcessPoolExecutor(
        max_workers=jobs, mp_context=multiprocessing.get_context("spawn"), initializer=start_worker
    )


def start_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent is gone, even if it was killed.

    Libraries that have not been loaded yet (Open3D, torch) find one thread for OpenMP, unless the
    user or whoever starts the worker says otherwise: the threads of all workers would wait for each
    other on the same cores.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
