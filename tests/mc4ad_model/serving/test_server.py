# SPDX-License-Identifier: Apache-2.0
"""Connections of the server, and the places where it listens."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

import uvicorn

from intravariance.errors import InputError
from mc4ad_model.serving import server as module
from mc4ad_model.serving.metrics import Metrics
from mc4ad_model.serving.server import TimedProtocol, address_of, listen, local_names


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(module, "_HEAD", 0.3)
    with listen("127.0.0.1", 0) as listening:
        config = uvicorn.Config(hello, http=TimedProtocol, lifespan="off", log_level="critical")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def all_of(connection: socket.socket) -> bytes:
    found = b""
    while part := connection.recv(4096):
        found += part
    return found


@pytest.mark.parametrize("head", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: x\r\nA: "])
def test_a_head_that_never_ends_loses_its_connection(port: int, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall(head)
        assert all_of(slow) == b""


def test_drops_of_a_head_gain_no_time(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(OSError):
            for _ in range(100):
                slow.sendall(b"A: b\r\n")
                time.sleep(0.05)


def test_whole_requests_are_answered_on_one_connection(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        for _ in range(3):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            found = b""
            while not found.endswith(b"0\r\n\r\n"):
                found += client.recv(4096)
            assert b"hello" in found
            time.sleep(0.15)
        client.sendall(b"GET")  # and the next head has to end, too
        assert all_of(client) == b""


def test_where_it_listens_and_what_it_may_be_called() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert address_of(taken) == f"http://127.0.0.1:{port}"
        assert local_names(taken, "127.0.0.1") == {"localhost", "127.0.0.1", "::1"}
        with pytest.raises(InputError, match=f"--port {port}.*another program; choose another"):
            listen("127.0.0.1", port)
    for host in ("a..b", "x" * 70):
        with pytest.raises(InputError, match=f"^--host {host}, --port 0: nothing can listen"):
            listen(host, 0)
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        assert local_names(everywhere, "0.0.0.0") is None


def test_a_histogram_counts_all_up_to_each_bound() -> None:
    metrics = Metrics()
    for seconds in (0.01, 0.05, 0.3, 100.0):
        metrics.seconds.add(seconds)
    lines = metrics.text(2, 9, 1).splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    buckets = [int(n) for name, n in found.items() if name.startswith("iv_answer_seconds_bucket")]
    assert buckets == [2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 4]
    assert float(found["iv_answer_seconds_sum"]) == pytest.approx(100.36)
    assert (found["iv_requests"], found["iv_places"]) == ("2", "9")
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert all(name.partition("{")[0].startswith(tuple(names)) for name in found)
