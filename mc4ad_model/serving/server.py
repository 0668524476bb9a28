# SPDX-License-Identifier: Apache-2.0
"""Runs the service until Ctrl-C or SIGTERM: then it takes no more, ends what it has, and stops."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from intravariance.errors import InputError
from mc4ad_model.machine.interruption import STOPPING

_HEAD = 10.0  # seconds in which the head of a request has to be complete
_IDLE = 5  # seconds after which a connection without a request is closed
_CONNECTIONS = 200


class TimedProtocol(H11Protocol):
    """HTTP of uvicorn, but a head that never ends does not keep its connection for ever."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what came; wait for the rest of a head that is not complete."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self._served():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
        elif self._timer is None:
            self._timer = self.loop.call_later(_HEAD, self._late)

    def _late(self) -> None:
        self._timer = None
        if not self._served() and not self.transport.is_closing():
            self.transport.close()

    def _served(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete


def listen(host: str, port: int) -> socket.socket:
    """Take an address; port 0 takes a free one.

    Raises
    ------
    InputError
        It cannot be taken.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, ValueError) as error:  # ValueError: of a name that can be none
        said = getattr(error, "strerror", None) or error
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            said = f"{said} by another program; choose another port, or 0 for a free one"
        raise InputError(
            f"--host {host}, --port {port}: nothing can listen there: {said}"
        ) from error


def address_of(server: socket.socket) -> str:
    """Return the address of the page."""
    host, port = server.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def local_names(server: socket.socket, host: str) -> frozenset[str] | None:
    """Return the names that a service which this machine alone reaches may be asked under.

    None for one that others reach: nobody knows their names for it.
    """
    taken = server.getsockname()[0]
    if not ipaddress.ip_address(taken).is_loopback:
        return None
    return frozenset({"localhost", "127.0.0.1", "::1", taken, host.lower()})


def serve(app: FastAPI, server: socket.socket, patience: float) -> None:
    """Serve until a signal. patience : seconds for requests that are being served then."""
    config = uvicorn.Config(
        app,
        http=TimedProtocol,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=max(1, round(patience)),
    )
    with _signals_end_nothing():
        uvicorn.Server(config).run(sockets=[server])


@contextmanager
def _signals_end_nothing() -> Iterator[None]:
    """Ignore what uvicorn sends itself again after it has stopped in good order."""

    def ignore(number: int, frame: FrameType | None) -> None:
        return

    before = {number: signal.signal(number, ignore) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
