# SPDX-License-Identifier: Apache-2.0
"""Requests that still wait when the time to stop is over."""

from __future__ import annotations

import http.client
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import cast

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")

import uvicorn

from mc4ad_model.serving.app import Limits, make_app
from mc4ad_model.serving.desk import Desk
from mc4ad_model.serving.server import TimedProtocol, listen
from mc4ad_model.serving.worker import Worker
from tests.mc4ad_model.serving.test_desk import Recorder


def test_they_get_an_answer_and_the_log_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    worker = Recorder()
    desk = Desk([cast(Worker, worker)], 4, 30.0)
    app = make_app(desk, Limits(1000, 1000, 30.0), b"", {}, None)

    def ask(port: int) -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with closing(client):
            client.request("POST", "/score", b"cloud")
            answer = client.getresponse()
            return answer.status, answer.read()

    with listen("127.0.0.1", 0) as listening, ThreadPoolExecutor(3) as clients:
        config = uvicorn.Config(
            app, http=TimedProtocol, ws="none", log_config=None, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        asked = [clients.submit(ask, listening.getsockname()[1]) for _ in range(3)]
        while desk.taken < 3 or not worker.asked:
            time.sleep(0.02)
        with caplog.at_level(logging.ERROR):
            server.should_exit = True
            found = [one.result() for one in asked]
            worker.let.set()
            thread.join()
    assert [status for status, _ in found] == [503] * 3
    assert all(b"the service stops" in body for _, body in found)
    assert worker.asked == [b"cloud"]
    assert not [record for record in caplog.records if record.exc_info]
