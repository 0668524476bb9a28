# SPDX-License-Identifier: Apache-2.0
"""Runs tasks on the workers of a Dask cluster: one that is there, or one of this machine's own.

Workers need no files of this machine: tasks carry what they read (`Portable`), and results come
back as they are returned, over Dask's connections. The content of a file that many tasks share is a
small task of its own, which Dask copies from worker to worker, and makes again where the last copy
was lost.

A few tasks for each worker are submitted, and more as results come. Workers are counted every few
seconds, so that one that joins gets its share; a task whose worker is lost is done again by
another. Workers must have the same software as this process, or results could differ: they are
asked at the start, and each compares again with every task, as it may have joined since.

A task that fails for want of memory or disk is done again by another worker, where there is one: a
worker whose disk is full fails at once, is idle, and would be given one task after another.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self

from intravariance.errors import BackendUnavailable, InputError, IVError, first_of
from intravariance.executors import BLENDER, Portable, Result, Task
from intravariance.executors.dask_connection import connected
from intravariance.executors.dask_worker import (
    Failed,
    MadeWith,
    Refused,
    differing,
    versions_here,
    work,
)
from intravariance.executors.processes import WINDOW, cores
from intravariance.progress import say

LOOK_AFTER = 2.0  # seconds, until workers are counted again
RETRIES = 2  # of a task that fails for want of memory, disk or a file
# So many files that tasks share, and so many bytes, are kept on the cluster for tasks to come.
SHARED, SHARED_BYTES = 64, 2**30

_State = tuple[Path, int, int]  # a file, its size, and when it was changed


@dataclass(frozen=True)
class _Flight:
    """A task that is under way. only : the workers that may do it; none means any."""

    task: Any
    future: Any
    failures: tuple[Failed, ...]
    only: frozenset[str]


class DaskExecutor:
    """Run tasks on a Dask cluster.

    Parameters
    ----------
    made_with
        Says what must be the same on all workers, by name; each calls it. Where only one of two
        has a name, as Blender, they agree.
    scheduler
        Its address ("tcp://HOST:PORT") or the file that it writes; None for a cluster of this
        machine, which ends with this process.
    jobs
        Worker processes of that; None for one for each core at hand.
    quiet
        No remarks.
    """

    def __init__(
        self,
        made_with: MadeWith,
        scheduler: str | None = None,
        jobs: int | None = None,
        quiet: bool = False,
    ) -> None:
        self._made_with = made_with
        self._versions: Mapping[str, str] = {}
        self._scheduler = scheduler
        self._jobs = jobs or cores()
        self._quiet = quiet
        self._stack = ExitStack()
        self._client: Any = None
        self._shared: OrderedDict[_State, Any] = OrderedDict()  # futures
        self._fetching: set[Any] = set()  # results under way
        self._workers: dict[str, Any] = {}
        self._short: set[str] = set()  # workers that lacked memory or disk
        self._looked = -LOOK_AFTER

    def __enter__(self) -> Self:
        """Connect.

        Raises
        ------
        InputError
            The scheduler is not there, or workers have other versions.
        """
        with ExitStack() as stack:
            self._client = stack.enter_context(connected(self._scheduler, self._jobs))
            self._versions = versions_here(self._made_with)
            self._check_versions()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect; tasks that are not finished are forgotten, and a cluster of our own ends."""
        self._shared.clear()
        self._stack.close()

    def run(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result | IVError]]:
        """Yield (task, result); see `Executor`.

        A task whose workers were lost again and again is an IVError in the place of its result.
        Raises InputError where a worker has other versions, BackendUnavailable where it lacks what
        its task needs, IVError where the scheduler is lost.
        """
        source = iter(tasks)
        flying: dict[str, _Flight] = {}
        fetched: SimpleQueue[tuple[str, Any]] = SimpleQueue()

        def fly(task: Task, failures: tuple[Failed, ...] = ()) -> None:
            flight = self._submit(function, task, failures)
            flying[flight.future.key] = flight
            flight.future.add_done_callback(partial(self._fetch, fetched))

        try:
            while True:
                window = self._window()
                for key, flight in [*flying.items()]:
                    if flight.only and flight.only.isdisjoint(self._workers):  # they are gone
                        flying.pop(key).future.release()
                        fly(flight.task, flight.failures)
                for task in islice(source, max(0, window - len(flying))):
                    fly(task)
                if not flying:
                    return
                try:
                    key, found = fetched.get(timeout=LOOK_AFTER)
                except Empty:
                    continue  # and see who has joined
                if key not in flying:  # it was given to another worker
                    continue
                flight = flying.pop(key)
                title = _title(function, flight.task)
                result = self._result(found, title)
                flight.future.release()
                if isinstance(result, Failed):
                    failures = (*flight.failures, result)
                    if len(failures) <= RETRIES:
                        self._tell(title, result)
                        fly(flight.task, failures)
                        continue
                    result = _given_up(title, failures)
                yield flight.task, result
        finally:
            for flight in flying.values():
                flight.future.release()
            for fetching in [*self._fetching]:
                fetching.cancel()

    def workers(self) -> int:
        """Count the workers that are there."""
        self._look()
        return len(self._workers)

    def _submit(
        self, function: Callable[[Any], Any], task: Any, failures: tuple[Failed, ...]
    ) -> _Flight:
        """Submit a task, with the content of the files that it names, to no worker that failed."""
        given = task
        needs, files = "", {}
        key = f"{_title(function, task)} {uuid.uuid4().hex}"
        if isinstance(task, Portable):
            needs, files = task.needs, self._sent(task.shared())
            task = task.packed()
        tagged = any(needs in worker["resources"] for worker in self._workers.values())
        able = {w for w, own in self._workers.items() if not tagged or needs in own["resources"]}
        only = able - {failed.worker for failed in failures} if failures else set()
        future = self._client.submit(
            work, function, task, files, self._made_with, self._versions,
            key=key, pure=False, retries=RETRIES, resources={needs: 1} if tagged else None,
            workers=sorted(only) or None,
        )  # fmt: skip
        return _Flight(given, future, failures, frozenset(only))

    def _sent(self, paths: Collection[Path]) -> dict[Path, Any]:
        """Return the futures of the contents of files that tasks share, by their paths."""
        found = {}
        for path in paths:
            try:
                state = path, (stat := path.stat()).st_size, stat.st_mtime_ns
                if stat.st_size > SHARED_BYTES:
                    raise InputError(
                        f"{path}: has {stat.st_size / 2**30:.1f} GiB, and no more than "
                        f"{SHARED_BYTES / 2**30:.0f} GiB can be sent to workers; what is in an "
                        "object store they read themselves"
                    )
                if state not in self._shared:
                    key = f"shared {path.name} {uuid.uuid4().hex}"
                    self._shared[state] = self._client.submit(bytes, path.read_bytes(), key=key)
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror})") from error
            self._shared.move_to_end(state)
            found[path] = self._shared[state]
        while len(self._shared) > len(found) and (
            len(self._shared) > SHARED or sum(size for _, size, _ in self._shared) > SHARED_BYTES
        ):
            self._shared.popitem(last=False)  # Dask keeps it while a task waits for it
        return found

    def _fetch(self, fetched: SimpleQueue[tuple[str, Any]], future: Any) -> None:
        """Fetch a result meanwhile: a worker that was stopped must not hold up those of others."""

        def done(fetching: Any) -> None:
            self._fetching.discard(fetching)
            fetched.put((future.key, fetching))

        fetching = asyncio.run_coroutine_threadsafe(
            self._client.gather(future, asynchronous=True), self._client.loop.asyncio_loop
        )
        self._fetching.add(fetching)
        fetching.add_done_callback(done)

    def _result(self, found: Any, title: str) -> Any:
        """Return what a finished task gave, or the IVError that stands for it."""
        import distributed  # noqa: PLC0415 - weight

        try:
            result = found.result()
        except distributed.KilledWorker as error:
            return IVError(
                f"{title}: {error.allowed_failures + 1} workers were lost while they did it, the "
                f"last was {error.last_worker.address}; if memory is short there, start fewer of "
                "them on a machine"
            )
        except (CancelledError, asyncio.CancelledError):
            raise self._lost() from None
        except (OSError, MemoryError) as error:
            if self._client.status != "running":
                raise self._lost() from None
            return IVError(f"{title}: {error!r}, {RETRIES + 1} times")
        except Exception:
            self._check_versions()  # other code gives errors of any kind
            raise
        if isinstance(result, BackendUnavailable):
            raise result  # that worker would have all tasks, as it is done with each at once
        if isinstance(result, Refused):
            raise _other_versions({result.worker: result.versions}, self._versions)
        return result

    def _tell(self, title: str, failed: Failed) -> None:
        """Say once of a worker what it failed with, as others may hide it."""
        if failed.worker not in self._short:
            self._short.add(failed.worker)
            say(f"dask: {failed.name}: {title}: {failed.error}; tried again", self._quiet)

    def _lost(self) -> IVError:
        return IVError(
            f"the connection to the scheduler {self._scheduler or 'of this machine'} was lost; "
            "what is finished is kept"
        )

    def _window(self) -> int:
        """Return how many tasks may be submitted at a time; look who is there, now and then."""
        if time.monotonic() >= self._looked + LOOK_AFTER:
            self._look()
        return WINDOW * max(1, len(self._workers))

    def _look(self) -> None:
        """Count the workers, and say what has changed."""
        try:
            # not `scheduler_info`: a look of the client's own may put another answer in its place
            identity = self._client.scheduler.identity
            found = self._client.sync(identity, n_workers=-1)["workers"]
        except Exception:  # whatever Dask raises on a connection that is gone
            raise self._lost() from None
        before, self._workers = self._workers, dict(found)
        first, self._looked = self._looked < 0, time.monotonic()
        if first or found.keys() != before.keys():
            joined = [] if first else [f"{w} joined" for w in found if w not in before]
            rest = ", others do its tasks" if found else ""
            left = [f"{w} is gone{rest}" for w in before if w not in found]
            say(
                f"dask: {first_of([*joined, *left, _counted(found)], 20, '; ')}"
                + ("" if found else "; waiting for one"),
                self._quiet,
            )

    def _check_versions(self) -> None:
        """Raise InputError where the scheduler or a worker has other software."""
        found = self._client.run(versions_here, self._made_with, on_error="return")
        try:
            found["the scheduler"] = self._client.run_on_scheduler(versions_here, self._made_with)
        except Exception as error:  # whatever it raised there
            found["the scheduler"] = error
        for place, own in found.items():
            if isinstance(own, Exception) and not isinstance(own, OSError):  # it is gone meanwhile
                raise InputError(
                    f"{_named(place)} cannot say which versions it has ({own!r}); install the "
                    f"same there as here: {_shown(self._versions)}"
                )
        told = {place: own for place, own in found.items() if not isinstance(own, Exception)}
        other = {place: own for place, own in told.items() if differing(own, self._versions)}
        if other:
            raise _other_versions(other, self._versions)


def _given_up(title: str, failures: tuple[Failed, ...]) -> IVError:
    last = failures[-1]
    return IVError(f"{title}: {last.error}, {len(failures)} times, the last on {last.name}")


def _named(place: str) -> str:
    return f"the worker {place}" if "://" in place else place


def _shown(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _other_versions(
    found: Mapping[str, Mapping[str, str]], wanted: Mapping[str, str]
) -> InputError:
    """Return the error that names places of other versions, with both."""
    lines = (
        f"{_named(place)} "
        + ", ".join(
            f"{'has' if theirs else 'lacks'} {' '.join(filter(None, (name, theirs)))} (here {ours})"
            for name, (theirs, ours) in differing(own, wanted).items()
        )
        for place, own in found.items()
    )
    return InputError(
        f"{first_of(lines, 5, '; ')}. The results of other software may differ: install the "
        "same there and start them again, or end these workers; what is finished is kept"
    )


def _counted(workers: Mapping[str, Any]) -> str:
    """Say how many workers there are, and what of them is worth a remark."""
    tagged = sum(BLENDER in worker["resources"] for worker in workers.values())
    many = any(worker["nthreads"] > 1 for worker in workers.values())
    return (
        f"{len(workers)} worker{'s' * (len(workers) != 1)}"
        + (f", {tagged} of them with {BLENDER}" if tagged else "")
        + (", some with several threads, of which one works: --nthreads 1 suits" if many else "")
    )


def _title(function: Callable[[Any], Any], task: Any) -> str:
    return task.title if isinstance(task, Portable) else getattr(function, "__name__", "task")
