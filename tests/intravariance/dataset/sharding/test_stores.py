# SPDX-License-Identifier: Apache-2.0
"""Dataset files in object stores: memory:// of this process, and an S3 of this machine."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("fsspec", reason="fsspec is not installed: pip install '.[scale]'")

import fsspec

from intravariance.cli import main
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError, IntegrityError
from intravariance.files import uploading, urls
from intravariance.files.checksums import read_checksums
from intravariance.verification.verify import verify
from tests.conftest import run_iv
from tests.support.hub import TOKEN, stand_in
from tests.support.object_store import BUCKET, Server, s3_server
from tests.support.samples import assert_same, make_dataset, split_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with s.h5, its three shards and s.index.json."""
    folder = tmp_path_factory.mktemp("stores")
    split_dataset(make_dataset(folder / "s.h5"), 3)
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    with s3_server() as server:
        yield server


@pytest.fixture(params=["memory", "s3"])
def place(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a folder in a store with the same files."""
    if request.param == "memory":
        where = "memory://stores"
    else:
        server = request.getfixturevalue("server")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        where = f"s3://{BUCKET}/in"
    store, base = fsspec.core.url_to_fs(where)
    for path in folder.glob("s*"):
        if path.is_file():
            store.put_file(str(path), f"{base}/{path.name}")
    return where


NAMES = pytest.mark.parametrize("name", ["s.h5", "s-*-of-00003.h5", "s.index.json"])


def iv(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def done(*words: object) -> str:
    result = iv(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


@NAMES
def test_a_store_is_read_as_files_are(place: str, name: str, folder: Path) -> None:
    with open_dataset(folder / "s.h5") as one, open_dataset(f"{place}/{name}") as far:
        assert str(far.path) == f"{place}/{name}"
        assert far.digest == one.digest and [r.id for r in far] == [r.id for r in one]
        for number in (3, 0, -1):
            assert_same(far[number].load(), one[number].load())
    assert verify(f"{place}/{name}", probes=False).digest == one.digest
    described = json.loads(done("info", f"{place}/{name}", "--json"))
    assert described["content_digest"] == one.digest


def points(dataset: Any) -> list[float]:
    """Sum each sample's coordinates; in the module's scope so that spawned processes find it."""
    return [float(record.points.sum()) for record in dataset]


def test_workers_read_from_a_store(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    store, base = fsspec.core.url_to_fs(f"s3://{BUCKET}/w.h5")
    store.put_file(str(folder / "s.h5"), base)
    far = open_dataset(f"s3://{BUCKET}/w.h5").filter(split="test")
    here = points(far)
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(points, [far, far]) == [here, here]


def test_the_hub_is_read_and_written(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    with stand_in() as hub:
        hub.created.append({"organization": "o", "name": "n"})
        for path in folder.glob("s*"):
            if path.is_file():
                hub.files[path.name] = path.read_bytes()
        environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path)}
        digest = open_dataset(folder / "s.h5").digest
        for name in ("s.h5", "s.index.json", "s-*-of-00003.h5"):
            result = run_iv("info", f"hf://datasets/o/n/{name}", "--json", **environment)
            assert result.returncode == 0, result.stderr
            assert json.loads(result.stdout)["content_digest"] == digest
        out = "hf://datasets/o/n/joined.h5"
        words = ("merge", "hf://datasets/o/n/s.index.json", "--out", out)
        result = run_iv(*words, folder=tmp_path, **environment)
        assert result.returncode == 0, result.stderr
        (tmp_path / "joined.h5").write_bytes(hub.files["joined.h5"])
        assert open_dataset(tmp_path / "joined.h5").digest == digest
        assert len(hub.messages) == 1  # one commit, and none to try the place
        missing = run_iv("info", "hf://datasets/o/n/none.h5", **environment)
        assert missing.returncode == 2 and missing.stderr.count("\n") == 1


def test_a_process_ends_as_usual_while_a_file_of_a_store_is_open(folder: Path) -> None:
    code = (
        "import sys, fsspec; from intravariance import open_dataset; "
        "fsspec.filesystem('memory').put_file(sys.argv[1], '/x/s.h5'); "
        "dataset = open_dataset('memory://x/s.h5'); print(dataset[0].points.shape[1])"
    )
    command = [sys.executable, "-c", code, str(folder / "s.h5")]
    for _ in range(3):
        result = subprocess.run(command, capture_output=True, text=True)
        assert (result.returncode, result.stdout) == (0, "3\n"), result.stderr


def test_what_is_not_there_or_not_allowed_ends_with_one_message(server: Server) -> None:
    places = (f"s3://{BUCKET}/none.h5", "s3://nobucket/a.h5", "s3://nobucket/a.index.json")
    for text in (*places, f"s3://{BUCKET}/none-*.h5"):
        result = run_iv("info", text, **server.environment)
        assert result.returncode == 2 and result.stderr.count("\n") == 1, result.stderr
        assert text in result.stderr
    with server.closed_to_strangers():
        for words in (
            ["info", f"s3://{BUCKET}/in/s.h5"],
            ["build", "--group", 2, "--out", f"s3://{BUCKET}/new.h5"],
        ):
            result = run_iv(*words, **server.environment)
            assert result.returncode == 2 and "gives you no right to it" in result.stderr
            assert result.stderr.count("\n") == 1, result.stderr
    away = server.environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}
    result = run_iv("info", f"s3://{BUCKET}/s.h5", **away)
    assert result.returncode == 2 and "Could not connect" in result.stderr


def test_a_store_that_fails_in_mid_reading_is_no_damage(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.filesystem("memory").put_file(str(folder / "s.h5"), "/fails/s.h5")
    with open_dataset("memory://fails/s.h5") as dataset:
        expected = dataset[5].points

        def fails(file: Any, count: int) -> bytes:
            raise ConnectionError("reset by peer")

        dataset.close()
        kept = fsspec.implementations.memory.MemoryFile.read
        monkeypatch.setattr(fsspec.implementations.memory.MemoryFile, "read", fails)
        with pytest.raises(
            InputError, match=r"memory://fails/s\.h5: cannot be read: reset by peer"
        ):
            _ = dataset[5].points
        monkeypatch.setattr(fsspec.implementations.memory.MemoryFile, "read", kept)
        assert (dataset[5].points == expected).all()


def test_what_is_no_file_of_ours(folder: Path) -> None:
    store, whole = fsspec.filesystem("memory"), (folder / "s.h5").read_bytes()
    store.pipe_file("/bad/text.h5", b"hello")
    store.pipe_file("/bad/cut.h5", whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"memory://bad/text\.h5: not an HDF5 file"):
        open_dataset("memory://bad/text.h5")
    with pytest.raises(IntegrityError, match=r"memory://bad/cut\.h5: damaged"):
        open_dataset("memory://bad/cut.h5")
    index = json.loads((folder / "s.index.json").read_text())
    index["shards"][1]["file"] = "../stores/s.h5"
    store.pipe_file("/bad/s.index.json", json.dumps(index).encode())
    with pytest.raises(InputError, match="does not lie beside the index; refused"):
        open_dataset("memory://bad/s.index.json")


# --- writing


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_merged_files_and_indices_are_written_to_a_store(
    place: str, folder: Path, work: Path
) -> None:
    digest = open_dataset(folder / "s.h5").digest
    shards = f"{place}/s-*-of-00003.h5"
    assert digest in done("merge", shards, "--out", f"{place}/joined.h5")
    assert open_dataset(f"{place}/joined.h5").digest == digest
    done("merge", shards, "--out", f"{place}/t.index.json")
    assert open_dataset(f"{place}/t.index.json").digest == digest
    for name in ("joined.h5", "t.index.json"):
        refused = iv("merge", shards, "--out", f"{place}/{name}")
        assert refused.exit_code == 2 and f"{name} exists" in refused.output
        done("merge", shards, "--out", f"{place}/{name}", "--force")
    elsewhere = iv("merge", shards, "--out", work / "s.index.json")
    assert elsewhere.exit_code == 2 and "an index lies beside its shards" in elsewhere.output
    store, base = fsspec.core.url_to_fs(place)
    assert not [name for name in store.find(base) if name.endswith(".partial")]
    assert not [*work.iterdir()]
    for name in ("joined.h5", "t.index.json"):
        store.rm_file(f"{base}/{name}")


def test_a_file_that_could_not_be_sent_is_kept_and_sent_by_the_same_command(
    place: str, folder: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(file: Path, target: urls.Url, quiet: bool = False) -> None:
        with urls.asking(target, "written"):
            raise ConnectionError("reset by peer")

    command = ("merge", folder / "s.index.json", "--out", f"{place}/again.h5")
    with monkeypatch.context() as patch:
        patch.setattr(uploading, "send", fails)
        result = iv(*command)
    assert result.exit_code == 2 and "reset by peer" in result.output
    assert (work / "again.h5.upload" / "again.h5").is_file()
    assert not urls.parse_place(f"{place}/again.h5").exists()
    done(*command)
    assert open_dataset(f"{place}/again.h5").digest == open_dataset(folder / "s.h5").digest
    assert not [*work.iterdir()]
    store, base = fsspec.core.url_to_fs(place)
    store.rm_file(f"{base}/again.h5")


def test_an_export_is_written_to_a_store(place: str, folder: Path, work: Path) -> None:
    pytest.importorskip("pyarrow")
    words = ("--layout", "hf-parquet", "--quiet")
    done("export", f"{place}/s.index.json", *words, "--out", f"{place}/tree")
    done("export", f"{place}/s.index.json", *words, "--out", work / "here")
    store, base = fsspec.core.url_to_fs(place)
    store.get(f"{base}/tree", str(work / "back"), recursive=True)
    sums = read_checksums(work / "back")
    assert sums == read_checksums(work / "here") and len(sums) > 5
    assert run_iv("verify", work / "back").returncode == 0
    refused = iv("export", folder / "s.h5", *words, "--out", f"{place}/tree", "--force")
    assert refused.exit_code == 2 and "there is something" in refused.output
    store.rm(f"{base}/tree", recursive=True)


def test_a_build_is_written_to_a_store(
    server: Server, small_specification: Path, small_file: Path, cache: Path, work: Path
) -> None:
    command = ["build", "--spec", small_specification, "--cache", cache, "--jobs", 1]
    out = f"s3://{BUCKET}/built/small.h5"
    result = run_iv(*command, "--out", out, "--shards", 2, "--json", **server.environment)
    assert result.returncode == 0, result.stderr
    content = json.loads(result.stdout)
    assert content["path"] == f"s3://{BUCKET}/built/small.index.json"
    assert content["content_digest"] == open_dataset(small_file).digest
    told = run_iv("info", content["path"], "--json", **server.environment)
    assert json.loads(told.stdout)["content_digest"] == content["content_digest"]
    assert not [*work.iterdir()]
    again = run_iv(*command, "--out", out, "--shards", 2, **server.environment)
    assert again.returncode == 2 and "small.index.json exists" in again.stderr
    assert "half-written there" in run_iv(*command, "--out", "ftp://h/small.h5").stderr
    assert os.listdir(work) == []
