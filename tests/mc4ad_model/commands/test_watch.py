# SPDX-License-Identifier: Apache-2.0
"""`iv predict --watch` in a process of its own, while scans arrive."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydantic")

from intravariance.cloud_files import write_ply
from intravariance.files.checksums import read_checksums, sha256_of
from mc4ad_model import ScanPrediction, predict
from tests.support.predictions import run_iv, small_data, small_runs

_CODE = "from intravariance.cli import main; main(prog_name='iv')"
RATE = 0.025


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("watch")
    return small_runs(small_data(folder), folder / "run")


@pytest.fixture(scope="module")
def scored(runs: Path) -> list[ScanPrediction]:
    """Predict the test clouds as the Python call does."""
    data = runs.parent / "small.h5"
    return list(predict(runs, [data], category="brick", false_alarms=RATE))


@contextmanager
def watching(runs: Path, folder: Path, out: Path, *more: object) -> Iterator[subprocess.Popen[str]]:
    words = ("predict", "--run", runs, "--category", "brick", "--false-alarms", RATE, folder)
    command = [*words, "--watch", "--out", out, "--size", 64, *more]
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(done: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def table(out: Path) -> list[dict[str, str]]:
    path = out / "predictions.csv"
    return list(csv.DictReader(path.read_text().splitlines())) if path.is_file() else []


def arrive(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


def stop(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=60)
    return process.returncode, printed, said


def test_scans_are_scored_as_they_arrive(
    runs: Path, scored: list[ScanPrediction], tmp_path: Path
) -> None:
    folder, out = tmp_path / "line", tmp_path / "out"
    files = [write_ply(np.asarray(one.points)) for one in scored[:4]]
    arrive(folder, "first.ply", files[0])
    arrive(folder, "notes.pdf", b"")
    with watching(runs, folder, out, "--json") as process:
        until(lambda: len(table(out)) == 1)
        until((out / "predictions.html").is_file)
        before = sha256_of(out / "predictions.html")
        arrive(folder, "slow.ply", files[1][:900])  # the rest comes when it has been read so
        arrive(folder, "second.ply", files[2])
        until(lambda: len(table(out)) == 3)
        arrive(folder, "slow.ply", files[1])
        until(lambda: len(table(out)) == 4)
        until(lambda: sha256_of(out / "predictions.html") != before)
        code, printed, said = stop(process)
    rows = table(out)
    assert code == 0, said  # the last word on each file is no error
    assert [Path(row["file"]).stem for row in rows if row["error"]] == ["slow"]
    own = dict(zip(("first", "slow", "second"), scored, strict=False))
    for row in rows:
        if not row["error"]:
            assert float(row["object_score"]) == own[Path(row["file"]).stem].object_score
            assert (out / row["cloud"]).is_file()
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [line["file"] for line in lines] == [row["file"] for row in rows]
    content = json.loads((out / "predictions.json").read_text())
    assert content["scans"] == lines and content["watched"] == [str(folder)]
    assert content["left_out"] == [str(folder / "notes.pdf")]
    assert {*read_checksums(out)} == {
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }


def test_a_watch_that_was_killed_is_continued(
    runs: Path, scored: list[ScanPrediction], tmp_path: Path
) -> None:
    folder, out = tmp_path / "line", tmp_path / "out"
    files = [write_ply(np.asarray(one.points)) for one in scored[:3]]
    for name, data in zip("ab", files, strict=False):
        arrive(folder, f"{name}.ply", data)
    with watching(runs, folder, out) as process:
        until(lambda: len(table(out)) == 2)
        process.kill()
        process.wait()
    cells = (out / "predictions.csv").read_bytes()
    rows = cells.splitlines(keepends=True)
    (out / "predictions.csv").write_bytes(b"".join(rows[:2]) + rows[2][:20])  # as if in its midst
    arrive(folder, "c.ply", files[2])
    with watching(runs, folder, out) as process:
        until(lambda: len(table(out)) == 3)
        code, printed, _ = stop(process)
    assert code == 0 and "a.ply" not in printed
    found = table(out)
    assert [row["number"] for row in found] == ["1", "2", "3"]
    own = dict(zip("abc", scored, strict=False))
    for row in found:
        assert float(row["object_score"]) == own[Path(row["file"]).stem].object_score
    page = (out / "predictions.html").read_text()
    assert all(f"{row['number']}. line/" in page for row in found)
    assert page.count('data-shows="') == 3  # the first one's view comes from its PLY


def test_what_cannot_be_watched(runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "line"
    folder.mkdir()
    scan = arrive(folder, "a.ply", b"")

    def said(*words: object) -> str:
        result = run_iv("predict", "--run", runs, "--category", "brick", "--watch", *words)
        assert result.exit_code == 2, result.output
        return result.stderr

    assert "expected a folder" in said(scan, "--out", tmp_path / "out")
    assert "lies in" in said(folder, "--out", folder / "out")
    assert "--watch continues" in said(folder, "--out", tmp_path / "out", "--force")
    other = tmp_path / "other"
    arrive(other, "mine.txt", b"")
    assert "holds other files" in said(folder, "--out", other)
    once = tmp_path / "once"
    data = runs.parent / "small.h5"
    words = ("predict", "--run", runs, "--category", "brick", data, "--worst", 0, "--out", once)
    result = run_iv(*words)
    assert result.exit_code == 0, result.output
    assert "of no watch" in said(folder, "--out", once)
    kept = once / "predictions.json"
    content = json.loads(kept.read_text()) | {"watched": []}
    content["run"]["seed"] += 1
    kept.write_text(json.dumps(content))
    assert "another run" in said(folder, "--out", once)
    assert not os.path.exists(once.with_name("once.lock"))
