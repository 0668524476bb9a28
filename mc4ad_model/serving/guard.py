# SPDX-License-Identifier: Apache-2.0
"""Keeps other web sites out of a service that a browser on this machine can reach.

A page from elsewhere may send requests to this machine. Its browser says where the page is from
(Origin); and where a name from elsewhere is made to mean this machine, the name shows (Host).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Guard:
    """Refuse requests (403) under other names than `hosts` (None: any), or from other sites."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers["Cache-Control"] = "no-store"
            await send(message)

        if reason := self._reason(Headers(scope=scope)):
            await JSONResponse({"error": reason}, 403)(scope, receive, marked)
            return
        await self.app(scope, receive, marked)

    def _reason(self, headers: Headers) -> str:
        host = headers.get("host", "")
        if self.hosts is not None and _name(f"//{host}") not in self.hosts:
            return f"Host: this service is not called {host[:100]!r}"
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return "Origin: requests of other sites are refused"
        return ""


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
