# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the Hugging Face Hub on this machine, as far as pushing and reading files need it.

It keeps what its client (huggingface_hub) sends, by the Hub's API: repos/create, validate-yaml,
tree, paths-info, preupload, the LFS batch with uploads and verification, and commits (NDJSON), and
gives the bytes of files that are asked for. It answers all else with status 404.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "hf_secretsecretsecret"


@dataclass
class StandIn:
    """A server and what it holds.

    files : path -> content of the one repository. failures : answers (status) that the next
    requests of a kind get, taken away one by one. calls : kinds of requests, in order.
    """

    url: str = ""
    created: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    verified: set[str] = field(default_factory=set)
    messages: list[str] = field(default_factory=list)
    failures: dict[str, list[int]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)


def _kind(method: str, path: str) -> str:
    if method == "PUT":
        return "upload"
    for part in ("repos/create", "validate-yaml", "preupload", "objects/batch", "commit", "verify"):
        if f"/{part}" in path:
            return part
    for part in ("tree", "paths-info", "resolve"):
        if f"/{part}/" in path:
            return part
    return "info" if path.startswith("/api/datasets/") else "other"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: StandIn

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        kind = _kind(self.command, path)
        self.hub.calls.append(kind)
        if self.hub.failures.get(kind):
            self._answer({"error": f"made to fail at {kind}"}, self.hub.failures[kind].pop(0))
        elif kind != "upload" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer({"error": "Invalid username or password."}, 401)
        else:
            found = getattr(self, "_" + kind.replace("/", "_").replace("-", "_"))(path, body)
            if isinstance(found, bytes):
                self._answer_bytes(found)
            else:
                self._answer(*found) if isinstance(found, tuple) else self._answer(found)

    do_GET = do_POST = do_PUT = do_HEAD = _take

    def _answer_bytes(self, content: bytes) -> None:
        """Send a file, or the part of it that is asked for."""
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = map(int, asked.groups()) if asked else (0, len(content) - 1)
        part = content[first : last + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(part)

    def _repos_create(self, path: str, body: bytes) -> Any:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        url = f"{self.hub.url}/datasets/{name}"
        if any(f"{c['organization']}/{c['name']}" == name for c in self.hub.created):
            return {"error": "You already created this dataset repo", "url": url}, 409
        self.hub.created.append(asked)
        return {"url": url, "name": name, "id": "1"}

    def _validate_yaml(self, path: str, body: bytes) -> Any:
        assert json.loads(body)["content"].startswith("---\n")
        return {"errors": [], "warnings": []}

    def _info(self, path: str, body: bytes) -> Any:
        if not self.hub.created:
            return {"error": "Repository not found"}, 404
        return {"id": path.removeprefix("/api/datasets/"), "sha": "0" * 40, "private": False}

    def _other(self, path: str, body: bytes) -> Any:
        return {"error": "Not found"}, 404

    def _resolve(self, path: str, body: bytes) -> Any:
        return self.hub.files.get(path.partition("/resolve/")[2].partition("/")[2]) or self._other(
            path, body
        )

    def _paths_info(self, path: str, body: bytes) -> Any:
        form = parse_qs(body.decode()).get("paths")
        asked = form if form else json.loads(body)["paths"]
        return [entry for entry in self._tree(path, body) if entry["path"] in asked]

    def _tree(self, path: str, body: bytes) -> Any:
        return [
            {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for name, data in self.hub.files.items()
        ]

    def _preupload(self, path: str, body: bytes) -> Any:
        return {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".parquet") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
        }

    def _objects_batch(self, path: str, body: bytes) -> Any:
        asked = json.loads(body)
        assert asked["operation"] == "upload" and asked["hash_algo"] == "sha256"
        objects = []
        for one in asked["objects"]:
            actions = {
                "upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"},
                "verify": {"href": f"{self.hub.url}/verify/{one['oid']}"},
            }
            known = one["oid"] in self.hub.objects
            objects.append(one | ({} if known else {"actions": actions}))
        return {"transfer": "basic", "objects": objects}

    def _upload(self, path: str, body: bytes) -> Any:
        oid = path.rpartition("/")[2]
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.objects[oid] = body
        return {}

    def _verify(self, path: str, body: bytes) -> Any:
        asked = json.loads(body)
        assert len(self.hub.objects[asked["oid"]]) == asked["size"]
        self.hub.verified.add(asked["oid"])
        return {}

    def _commit(self, path: str, body: bytes) -> Any:
        lines = [json.loads(line) for line in body.decode().splitlines()]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.hub.messages.append(value["summary"])
            elif line["key"] == "file":
                self.hub.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.hub.files[value["path"]] = self.hub.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del self.hub.files[value["path"]]
            else:
                return {"error": f"unknown operation {line['key']}"}, 400
        oid = hashlib.sha1(body).hexdigest()
        name = path.removeprefix("/api/").partition("/commit/")[0]
        return {
            "success": True,
            "commitOid": oid,
            "commitUrl": f"{self.hub.url}/{name}/commit/{oid}",
        }


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """Serve a new one while the block runs."""
    hub = StandIn()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
