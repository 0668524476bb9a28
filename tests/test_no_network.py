# SPDX-License-Identifier: Apache-2.0
"""That the tests, and with them every command that they run, cannot use a network."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

CODE = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"


def test_this_process_reaches_this_machine_alone() -> None:
    with pytest.raises(RuntimeError, match=r"192\.0\.2\.1.*need no network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with pytest.raises(RuntimeError, match=r"example\.org.*need no network"):
        socket.getaddrinfo("example.org", 80)
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=1).close()


def test_processes_that_tests_start_reach_this_machine_alone() -> None:
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert "need no network" in result.stderr
