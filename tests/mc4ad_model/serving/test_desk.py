# SPDX-License-Identifier: Apache-2.0
"""Who is served, and who is not any more."""

from __future__ import annotations

import asyncio
import threading
from typing import cast

from mc4ad_model.serving.answers import Answer, Job
from mc4ad_model.serving.desk import Desk
from mc4ad_model.serving.worker import Worker


class Recorder:
    """Takes a worker's place: answers when it is let."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.let = threading.Event()

    def ask(self, job: Job, data: bytes, seconds: float) -> Answer:
        self.asked.append(data)
        self.let.wait(seconds)
        return Answer(200, data)

    def close(self) -> None:
        pass


def test_the_cloud_of_a_client_that_went_away_while_it_waited_is_not_scored() -> None:
    worker = Recorder()
    desk = Desk([cast(Worker, worker)], 8, 10.0)

    async def here() -> bool:
        return False

    async def away() -> bool:
        return True

    async def broken() -> bool:
        raise RuntimeError

    async def served() -> list[Answer | BaseException]:
        first = asyncio.create_task(desk.ask(Job("ply"), b"first", here))
        while not worker.asked:
            await asyncio.sleep(0.01)
        later = [desk.ask(Job("ply"), name, gone) for name, gone in waiting]
        tasks = [asyncio.create_task(one) for one in later]
        await asyncio.sleep(0)
        worker.let.set()
        return await asyncio.gather(first, *tasks, return_exceptions=True)

    waiting = [(b"gone", away), (b"gone too", away), (b"broken", broken), (b"last", here)]
    found = asyncio.run(served())
    desk.close()
    assert worker.asked == [b"first", b"last"]
    assert isinstance(found[3], RuntimeError)
    answers = [one for one in found if isinstance(one, Answer)]
    assert [one.status for one in answers] == [200, 499, 499, 200]
