# SPDX-License-Identifier: Apache-2.0
"""`iv serve`: a real server in a process of its own, and real clients, good and bad."""

from __future__ import annotations

import signal
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydantic")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")
pytest.importorskip("k3d")

from intravariance.cloud_files import write_ply, write_text
from intravariance.errors import InputError
from mc4ad_model import ScanPrediction, predict
from mc4ad_model.commands.serve import serve_command
from mc4ad_model.prediction.results import ply
from tests.support.browser import chromium
from tests.support.predictions import small_data, small_runs
from tests.support.samples import sphere_points
from tests.support.serving import Server, form, serving

RATE = 0.025
FEW = write_ply(sphere_points(300, np.random.default_rng(0)))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_data(tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_runs(data, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[Server]:
    words = ("--max-mb", 1, "--max-points", 5000, "--timeout", 2, "--queue", 20, "--quiet")
    with serving("--run", runs, "--category", "brick", "--false-alarms", RATE, *words) as found:
        yield found


@pytest.fixture(scope="module")
def scans(runs: Path, data: Path) -> dict[bytes, ScanPrediction]:
    """Test clouds as PLY files, and what `iv predict` says of them."""
    found = predict(runs, [data], category="brick", false_alarms=RATE)
    return {write_ply(np.asarray(one.points)): one for one in found}


def test_a_cloud_gets_what_iv_predict_gives(
    server: Server, scans: dict[bytes, ScanPrediction]
) -> None:
    assert {one.anomalous for one in scans.values()} == {True, False}
    for body, own in scans.items():
        assert own.scores is not None and own.points is not None
        plain = server.ask("/score?points=true", body)
        assert plain.status == 200 and plain.headers["content-type"] == "application/json"
        upload, header = form("../../etc/scan.PLY", body)
        given = server.ask("/score", upload, header)
        for found in (plain.content, given.content):
            for name in ("object_score", "p_value", "anomalous"):
                assert found[name] == getattr(own, name)
            assert found["points"] == len(own.scores) and found["category"] == "brick"
        assert plain.content["scores"] == own.scores.tolist() and "scores" not in given.content
        scored = server.ask("/score?format=ply", body)
        assert scored.body == ply(own) and scored.headers["x-object-score"] == str(own.object_score)
    accepted = server.ask("/score", body, {"Accept": "application/ply"})
    assert accepted.body == scored.body
    text = server.ask("/score?kind=txt", write_text(own.points)).content
    assert text["object_score"] == own.object_score


def test_parallel_clients_all_get_their_own(
    server: Server, scans: dict[bytes, ScanPrediction]
) -> None:
    jobs = [*scans.items()] * 4
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda job: server.ask("/score", job[0]), jobs))
        assert server.ask("/health").content["status"] == "ok"
    for answer, (_, own) in zip(answers, jobs, strict=True):
        assert answer.content["object_score"] == own.object_score


def head(length: int, path: str = "/score") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def bomb() -> bytes:
    """Return a PCD that says its few compressed bytes are 400 MB."""
    lines = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        "WIDTH 35000000\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 35000000\n"
        "DATA binary_compressed\n"
    )
    return lines.encode() + struct.pack("<II", 60, 420_000_000) + b"\xff" * 60


CLAIM = FEW.replace(b"vertex 300", b"vertex 2000000000")
NAN = FEW[:-12] + np.full(3, np.nan, "<f4").tobytes()
HOSTILE = [
    ("empty", "/score", b"", 400),
    ("cut off", "/score", FEW[:-7], 422),
    ("one byte", "/score", b"p", 422),
    ("claims", "/score", CLAIM, 422),
    ("negative", "/score", FEW.replace(b"vertex 300", b"vertex -300"), 422),
    ("nan", "/score", NAN, 422),
    ("noise", "/score", np.random.default_rng(0).bytes(5000), 422),
    ("text", "/score?kind=txt", b"1 2 3\n4 5\n", 422),
    ("pickle", "/score?kind=npy", b"\x93NUMPY\x01\x00v\x00{'descr':'|O'}", 422),
    ("bomb", "/score?kind=pcd", bomb(), 422),
    ("few points", "/score", write_ply(sphere_points(5, np.random.default_rng(0))), 422),
    ("one place", "/score", write_ply(np.ones((400, 3))), 422),
    ("many points", "/score", write_ply(sphere_points(6000, np.random.default_rng(0))), 413),
    ("too large", "/score", bytes(1_000_001), 413),
    ("wrong kind", "/score?kind=stl", FEW, 415),
    ("a path as kind", "/score?kind=../../../etc/passwd", FEW, 415),
    ("another kind", "/score?kind=pcd", FEW, 422),
    ("no such format", "/score?format=exe", FEW, 400),
    ("no such page", "/etc/passwd", FEW, 404),
]


@pytest.mark.parametrize(
    ("path", "body", "status"), [c[1:] for c in HOSTILE], ids=[c[0] for c in HOSTILE]
)
def test_a_bad_body_gets_a_reason(server: Server, path: str, body: bytes, status: int) -> None:
    answer = server.ask(path, body)
    assert answer.status == status, answer.body
    if status != 404:
        assert answer.content["error"]
    assert server.process.poll() is None


def test_bad_forms(server: Server, tmp_path: Path) -> None:
    secret = tmp_path / "secret.ply"
    secret.write_bytes(FEW)
    # the name is not a place: nothing is read from there
    assert server.ask("/score", *form(str(secret), b"")).status == 400
    assert server.ask("/score", *form("../../secret.ply", FEW)).status == 200
    for name in ("x.exe", "noname", "", "ply", "a.ply/../b"):
        assert server.ask("/score", *form(name, FEW)).status == 415, name
    body, header = form("a.ply", FEW)
    twice = body.removesuffix(b"--xx--\r\n") + body
    for wrong, about in (
        (twice, header),
        (body[:40], header),
        (body, {"Content-Type": "multipart/form-data"}),
        (b"cloud=%2Fetc%2Fpasswd", {"Content-Type": "multipart/form-data; boundary=xx"}),
        (form("a.ply", b"x" * 1_200_000)[0], header),
    ):
        assert server.ask("/score", wrong, about).status in (400, 413)
    packed = server.ask("/score", FEW, {"Content-Encoding": "gzip"})
    assert packed.status == 415 and "unpacked" in packed.content["error"]


def test_lengths_that_are_not_true(server: Server, scans: dict[bytes, ScanPrediction]) -> None:
    assert b" 413 " in server.send(head(10**12), end=False).split(b"\r\n")[0]
    assert b" 400 " in server.send(head(10**30), end=False).split(b"\r\n")[0]
    server.send(head(5000) + FEW[:100])  # ends early: whatever comes back, it lives
    start = time.monotonic()
    slow = server.send(head(5000) + FEW[:100], end=False)
    assert b" 408 " in slow.split(b"\r\n")[0] and time.monotonic() - start < 20
    short = server.send(head(10) + FEW, end=False)  # the rest is no request
    assert b" 422 " in short.split(b"\r\n")[0] and b" 400 " in short
    assert b" 400 " in server.send(b"\x00\x01nonsense\r\n\r\n").split(b"\r\n")[0]
    assert server.ask("/health").status == 200


def test_other_sites_are_kept_out(server: Server) -> None:
    assert server.ask("/score", FEW, {"Origin": "https://elsewhere.example"}).status == 403
    for origin in ("http://[::1", "null", ""):
        assert server.ask("/score", FEW, {"Origin": origin}).status == 403
    assert server.ask("/", None, {"Host": "elsewhere.example"}).status == 403
    own = {"Origin": server.address}
    assert server.ask("/score", FEW, own).status == 200
    assert "access-control-allow-origin" not in server.ask("/health").headers


def test_it_counts(server: Server) -> None:
    def value(name: str) -> float:
        lines = server.ask("/metrics").body.decode().splitlines()
        return float(next((li.split()[-1] for li in lines if li.startswith(name)), 0))

    names = ('iv_answers_total{status="200"}', 'iv_answers_total{status="422"}', "iv_points_total")
    before = [value(name) for name in names]
    for body in (FEW, FEW, FEW[:-1]):
        server.ask("/score", body)
    after = [value(name) for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [2, 1, 600]
    assert value('iv_answer_seconds_bucket{le="+Inf"}') == value("iv_answer_seconds_count")
    assert value("iv_requests ") == 0 and value("iv_places") == 21


def test_no_more_are_taken_in_than_there_are_places(runs: Path) -> None:
    words = ("--queue", 0, "--timeout", 20, "--quiet")
    with serving("--run", runs, "--category", "brick", *words) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as slow:
            slow.sendall(head(len(FEW)) + FEW[:10])
            deadline = time.monotonic() + 10
            while server.ask("/health").content["requests"] == 0:
                assert time.monotonic() < deadline
            busy = server.ask("/score", FEW)
            assert busy.status == 503 and int(busy.headers["retry-after"]) > 0
            slow.sendall(FEW[10:])
            assert b" 200 " in slow.recv(65536).split(b"\r\n")[0]
        assert server.ask("/score", FEW).status == 200
        # one that is being served when it is told to stop gets its answer
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as late:
            late.sendall(head(len(FEW)) + FEW[:10])
            while server.ask("/health").content["requests"] == 0:
                pass
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            late.sendall(FEW[10:])
            assert b" 200 " in late.recv(65536).split(b"\r\n")[0]
        assert server.process.wait(60) == 0
        with pytest.raises(OSError):
            server.ask("/health")


def test_a_page_to_drop_scans_on(
    server: Server, scans: dict[bytes, ScanPrediction], tmp_path: Path
) -> None:
    paths = []
    for number, body in enumerate([*scans][:2]):
        paths.append(tmp_path / f"<b>{number}.ply")
        paths[-1].write_bytes(body)
    (tmp_path / "bad.ply").write_bytes(FEW[:-1])
    with chromium() as browser:
        page = browser.new_page()
        page.goto(server.address)
        page.evaluate("iv.ready")
        assert page.evaluate("iv.state().panes") == [None]
        page.set_input_files("#drop-input", [*map(str, paths), str(tmp_path / "bad.ply")])
        page.locator("#listing tbody tr").nth(2).wait_for()
        rows = page.locator("#listing tbody tr").all_inner_texts()
        assert rows[0].startswith("3. bad.ply") and "cut off" in rows[0]
        for row, own, number in zip(rows[:0:-1], scans.values(), (1, 2), strict=False):
            assert row.startswith(f"{number}. <b>{number - 1}.ply\t{own.object_score:.3f}\t")
        shown = page.evaluate("iv.state().panes[0]")
        assert shown["name"] == "2. <b>1.ply"
        page.locator("#listing .shows", has_text="1. <b>0.ply").click()
        page.locator("#listing tr[aria-current]", has_text="1. <b>0.ply").wait_for()
        own = next(iter(scans.values()))
        assert page.evaluate("iv.state().panes[0].points") == len(np.asarray(own.points))
        page.close()


def test_what_cannot_be_served_is_said_before_it_begins(server: Server, runs: Path) -> None:
    def error(*words: object) -> str:
        with pytest.raises(InputError) as found:
            serve_command.main([*map(str, words)], standalone_mode=False)
        return str(found.value)

    assert "no calibration" in error(
        "--run", runs, "--category", "ball", "--false-alarms", 0.1, "--port", 0
    )
    assert "--port" in error("--run", runs, "--category", "brick", "--port", server.port)


def test_a_worker_that_hangs_is_replaced(server: Server) -> None:
    psutil = pytest.importorskip("psutil")
    (worker,) = [
        child
        for child in psutil.Process(server.process.pid).children()
        if "spawn_main" in " ".join(child.cmdline())
    ]
    worker.suspend()
    with ThreadPoolExecutor(1) as client:
        asked = client.submit(server.ask, "/score", FEW)
        while server.ask("/health").content["requests"] == 0:
            time.sleep(0.02)
        assert server.ask("/health").status == 200  # meanwhile
        assert asked.result().status == 504
    assert not worker.is_running()
    assert server.ask("/score", FEW).status == 200
    assert b"iv_worker_restarts_total 1\n" in server.ask("/metrics").body


def test_it_stops_in_good_order(server: Server) -> None:
    assert server.ask("/score", FEW).status == 200
    assert server.stop() == 0
    assert server.process.stderr is not None
    assert "Traceback" not in server.process.stderr.read()
