# SPDX-License-Identifier: Apache-2.0
"""`iv build --shards N`: N files and an index, killed and started again, and what they are."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import h5py

from intravariance import open_dataset
from tests.conftest import run_iv
from tests.intravariance.building.test_run import start, wait_for_samples


def test_shards_that_were_killed_are_the_same_build(
    small_specification: Path, small_file: Path, cache: Path, tmp_path: Path
) -> None:
    command = ["build", "--spec", small_specification, "--cache", cache, "--jobs", 1]
    command += ["--out", tmp_path / "small.h5", "--shards", 3]
    index = tmp_path / "small.index.json"
    killed = start(command)
    wait_for_samples(killed, tmp_path / "small-00001-of-00003.h5", 1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    first = tmp_path / "small-00000-of-00003.h5"
    kept = first.stat()
    assert not index.exists()
    missing = run_iv("info", tmp_path / "small-*.h5")
    assert missing.returncode == 2 and "2 of 3 shards are missing: 1, 2." in missing.stderr

    result = run_iv(*command, "--json")
    content = json.loads(result.stdout)
    with open_dataset(small_file) as one, open_dataset(index) as whole:
        assert content["content_digest"] == whole.digest == one.digest
        assert content["path"] == str(index) and content["samples"] == len(one)
        assert [record.id for record in whole] == [record.id for record in one]
        assert whole.metadata == one.metadata
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == (kept.st_ino, kept.st_mtime_ns)
    assert "carrying on: " in result.stderr
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".h5"] * 3 + [".json"]

    again = run_iv(*command)
    assert again.returncode == 2 and "small.index.json exists" in again.stderr
    index.unlink()
    with h5py.File(tmp_path / "small-00002-of-00003.h5", "r+") as file:
        del file[f"vase/test/{next(iter(file['vase/test']))}/labels"]
    damaged = run_iv(*command)
    assert damaged.returncode == 2 and "small-00002-of-00003.h5 exists" in damaged.stderr
    other = run_iv(*command, "--seed", 1)
    assert other.returncode == 2 and "small-00000-of-00003.h5 exists" in other.stderr
    whole = run_iv(*command, "--force", "--json")
    assert json.loads(whole.stdout)["content_digest"] == content["content_digest"]
    assert first.stat().st_ino == kept.st_ino
    assert run_iv("verify", index).returncode == 0


def test_what_cannot_be_shards(small_specification: Path, tmp_path: Path) -> None:
    command = ["build", "--spec", small_specification, "--out", tmp_path / "s.h5"]
    both = run_iv(*command, "--shards", 2, "--shard", "0/2")
    assert both.returncode == 2 and "not both" in both.stderr
    many = run_iv(*command, "--shards", 1000)
    assert many.returncode == 2 and "expected 17 shards at most" in many.stderr
    assert run_iv(*command, "--shards", 0).returncode == 2
    collated = run_iv("build", "--group", 1, "--source", "anomaly_shapenet:x", "--shards", 2)
    assert "--shards is of no use with --source anomaly_shapenet:x" in collated.stderr
    assert not [*tmp_path.iterdir()]
