# SPDX-License-Identifier: Apache-2.0
"""Who is served: so many at a time, so many waiting, and nobody beyond that.

A place is taken before a body is read, so that what bodies take of the memory is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from mc4ad_model.serving.answers import Answer, Body, Job, refusal
from mc4ad_model.serving.worker import Worker


class Desk:
    """Hand jobs to workers in the order of their coming.

    Parameters
    ----------
    workers
        That score.
    waiting
        How many more may have a place.
    seconds
        For which a worker may score one cloud.
    """

    def __init__(self, workers: list[Worker], waiting: int, seconds: float) -> None:
        self.workers, self.seconds = workers, seconds
        self.places = len(workers) + waiting
        self.taken = 0
        self._threads = ThreadPoolExecutor(len(workers), thread_name_prefix="worker")
        self._free: asyncio.Queue[Worker] = asyncio.Queue()
        for worker in workers:
            self._free.put_nowait(worker)

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Take a place while a request is served; False where there is none."""
        if self.taken >= self.places:
            yield False
            return
        self.taken += 1
        try:
            yield True
        finally:
            self.taken -= 1

    async def ask(self, job: Job, data: Body, gone: Callable[[], Awaitable[bool]]) -> Answer:
        """Return the answer of the next worker that is free.

        gone : tells whether the client went away; its cloud is not scored then. One that goes away
        while a worker scores its cloud does not free that worker earlier.
        """
        worker = await self._free.get()
        try:
            left = await gone()
        except BaseException:
            self._free.put_nowait(worker)
            raise
        if left:
            self._free.put_nowait(worker)
            return refusal(499, "the client went away while its cloud waited")
        loop = asyncio.get_running_loop()
        asked = loop.run_in_executor(self._threads, worker.ask, job, data, self.seconds)
        asked.add_done_callback(lambda _: self._free.put_nowait(worker))
        return await asyncio.shield(asked)

    def close(self) -> None:
        """End the workers."""
        self._threads.shutdown(wait=True)
        for worker in self.workers:
            worker.close()
