# SPDX-License-Identifier: Apache-2.0
"""A real server in a process of its own, and clients that say what they like."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_CODE = "from mc4ad_model.commands.serve import serve_command as run; run(prog_name='iv serve')"


@dataclass(frozen=True)
class Response:
    """The answer to a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    process: subprocess.Popen[str]
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
    ) -> Response:
        """Send a request as a library does it."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            client.request(method or ("GET" if body is None else "POST"), path, body, headers or {})
            answer = client.getresponse()
            return Response(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            client.close()

    def send(self, data: bytes, end: bool = True, patience: float = 30.0) -> bytes:
        """Send bytes as they are, and nothing more if `end`; return all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=patience) as plain:
            plain.sendall(data)
            if end:
                plain.shutdown(socket.SHUT_WR)
            found = b""
            while part := plain.recv(65536):
                found += part
            return found

    def stop(self) -> int:
        """End it as Ctrl-C does; return its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def serving(*words: object) -> Iterator[Server]:
    """Start `iv serve` with these words on a free port; end it if the test did not."""
    command = [sys.executable, "-c", _CODE, *map(str, words), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate(timeout=30)[1])
        yield Server(process, int(line.rpartition(":")[2]))
    finally:
        process.kill()
        process.communicate()


def form(name: str, data: bytes, field: str = "cloud") -> tuple[bytes, dict[str, str]]:
    """Return a multipart form with one file, and its header."""
    head = f'--xx\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    body = head.encode() + data + b"\r\n--xx--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=xx"}
