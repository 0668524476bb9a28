# SPDX-License-Identifier: Apache-2.0
"""The service's addresses.

    POST /score      a cloud: the body of a file (?kind=ply) or a multipart form with one file
    GET  /health     200 while workers are there
    GET  /metrics    for Prometheus
    GET  /           a page to drop scans on

The service uses only the suffix of a file's name that a client sends, and compares it with its own
list. There is no authentication.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import python_multipart  # noqa: F401 - Starlette reads forms with it
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from mc4ad_model.serving.answers import KINDS, Answer, Body, Job, refusal
from mc4ad_model.serving.desk import Desk
from mc4ad_model.serving.guard import Guard
from mc4ad_model.serving.metrics import TEXT, Metrics

_PLY_TYPES = ("application/ply", "application/x-ply", "model/ply", "model/x-ply")
_FIELDS = 8  # of a form, beside its file
_FRAMING = 2**16  # bytes of a form that are not its file's
_RETRY = {"Retry-After": "2"}  # seconds

Wanted = Annotated[Literal["json", "ply", "view"] | None, Query(alias="format")]


@dataclass(frozen=True)
class Limits:
    """bytes : of a cloud's file. points : of a cloud. seconds : of an upload."""

    bytes: int
    points: int
    seconds: float


class Refused(Exception):
    """A request gets an answer before it is scored."""

    def __init__(self, status: int, reason: str, **headers: str) -> None:
        super().__init__(reason)
        self.answer = refusal(status, reason, headers)


def make_app(
    desk: Desk, limits: Limits, page: bytes, about: dict[str, Any], hosts: frozenset[str] | None
) -> FastAPI:
    """Make the service.

    page : at /. about : what /health tells, beside that all is well. hosts : names under which the
    service may be asked, None for any.
    """
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(desk.close)

    # its own pages of documentation load scripts from elsewhere
    app = FastAPI(title="iv serve", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(Guard, hosts=hosts)

    @app.exception_handler(RequestValidationError)
    async def _misused(_: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return JSONResponse({"error": said}, 400)

    @app.get("/")
    async def _page() -> Response:
        return Response(page, media_type="text/html; charset=utf-8")

    @app.get("/health")
    async def _health() -> dict[str, Any]:
        return {"status": "ok", "requests": desk.taken, "places": desk.places, **about}

    @app.get("/metrics")
    async def _metrics() -> Response:
        replaced = sum(worker.replaced for worker in desk.workers)
        return Response(metrics.text(desk.taken, desk.places, replaced), media_type=TEXT)

    @app.post("/score")
    async def _score(
        request: Request,
        kind: str | None = None,
        answer_format: Wanted = None,
        points: bool = False,
    ) -> Response:
        start = time.perf_counter()
        try:
            found = await _answered(request, kind, answer_format, points)
        except Refused as refused:
            found = refused.answer
        except asyncio.CancelledError:  # the server stops, and waits no more for those that wait
            found = refusal(503, "the service stops; the cloud was not scored")
        metrics.answers[found.status] += 1
        metrics.points += found.points
        metrics.anomalous += found.anomalous
        metrics.seconds.add(time.perf_counter() - start)
        return Response(found.body, found.status, dict(found.headers), found.media_type)

    async def _answered(
        request: Request, kind: str | None, answer_format: Any, points: bool
    ) -> Answer:
        with desk.place() as mine:
            if not mine:
                raise Refused(503, "busy: all places are taken; try again", **_RETRY)
            data, kind = await _received(request, kind, limits)
            wanted = answer_format or _accepted(request.headers.get("accept", ""))
            job = Job(kind, wanted, points, limits.points)
            return await desk.ask(job, data, request.is_disconnected)

    return app


def _accepted(header: str) -> Literal["json", "ply"]:
    types = {part.partition(";")[0].strip().lower() for part in header.split(",")}
    return "ply" if types & set(_PLY_TYPES) and "application/json" not in types else "json"


async def _received(request: Request, kind: str | None, limits: Limits) -> tuple[Body, str]:
    """Return the bytes of a cloud's file and its kind, or raise Refused."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "Content-Encoding: nothing is unpacked here; send the file as it is")
    form = request.headers.get("content-type", "").lower().startswith("multipart/")
    if kind is not None or not form:
        kind = _known(kind or "ply", "kind")
    most = limits.bytes + (_FRAMING if form else 0)
    try:
        async with asyncio.timeout(limits.seconds):
            body = await _body(request, most)
    except TimeoutError:
        reason = f"the upload took longer than {limits.seconds:g} s"
        raise Refused(408, reason, Connection="close") from None
    except ClientDisconnect:
        raise Refused(400, "the upload ended early") from None
    data: Body = body
    if form:
        data, name = await _file_of_form(request, body)
        _, dot, suffix = name.rpartition(".")
        kind = kind or _known(suffix.lower() if dot else "", "the suffix of the file's name")
    if not data:
        raise Refused(400, "the body is empty; expected the content of a cloud's file")
    return data, str(kind)


def _known(kind: str, what: str) -> str:
    if kind not in KINDS:
        raise Refused(415, f"{what} is {kind[:20]!r}; expected one of {' '.join(KINDS)}")
    return kind


async def _body(request: Request, most: int) -> bytearray:
    said = request.headers.get("content-length", "")
    too_large = Refused(413, f"more than {most:,} bytes; thin the cloud out, or send it as binary")
    if said.isdigit() and int(said[:20]) > most:
        raise too_large
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > most:
            raise too_large
    return data


async def _file_of_form(request: Request, body: bytearray) -> tuple[bytes, str]:
    """Return the bytes of the only file of a form, and the name that the client gives it."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, receive).form(max_files=1, max_fields=_FIELDS) as form:
            files = [value for value in form.values() if isinstance(value, UploadFile)]
            if len(files) != 1:
                raise Refused(400, "expected a form with one file, as `curl -F cloud=@scan.ply`")
            return await files[0].read(), files[0].filename or ""
    except (HTTPException, ValueError, KeyError) as error:
        said = getattr(error, "detail", error)
        raise Refused(400, f"the form cannot be read ({said})") from error
