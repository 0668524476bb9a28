# SPDX-License-Identifier: Apache-2.0
"""An S3 of this machine, as a process of its own: moto's server."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

BUCKET = "data"


@dataclass(frozen=True)
class Server:
    """A server. url : where it listens."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables by which a process with AWS's clients reaches it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def request(self, path: str, method: str, data: bytes = b"") -> None:
        """Send a request, past all that looks at credentials."""
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "text/plain"}, method=method
        )
        urllib.request.urlopen(request).close()

    @contextmanager
    def closed_to_strangers(self) -> Iterator[None]:
        """Refuse keys that nobody has given out, as those of `environment`."""
        self.request("/moto-api/reset-auth", "POST", b"0")
        try:
            yield
        finally:
            self.request("/moto-api/reset-auth", "POST", b"inf")


@contextmanager
def s3_server() -> Iterator[Server]:
    """Start a server with one bucket, BUCKET; it is gone with all in it when the block ends."""
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            lines = iter(process.stderr.readline, "")
            found = next(m for m in (re.search(r"http://127\.0\.0\.1:\d+", x) for x in lines) if m)
            server = Server(found[0])
            server.request(f"/{BUCKET}", "PUT")
            # its log is read, lest it wait for somebody to do so
            drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
            yield server
        finally:
            process.terminate()
            process.wait()
            drain.wait()
