# SPDX-License-Identifier: Apache-2.0
"""A small campaign; `python -m tools.hostile_campaign` is the large one."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

for package in ("laspy", "lazrs", "pyarrow", "pye57", "safetensors", "torch", "trimesh"):
    pytest.importorskip(package, reason="pip install '.[model,layouts,scans,dev]'")

from tools.hostile_campaign import campaign, mutate, tried  # noqa: E402
from tools.hostile_formats import FORMATS  # noqa: E402


@pytest.mark.parametrize("name", FORMATS)
def test_valid_files_are_read_and_mutants_read_or_refused(name: str, tmp_path: Path) -> None:
    files = FORMATS[name].files()
    for number, data in enumerate(files):
        (tmp_path / str(number)).mkdir()
        FORMATS[name].read(data, tmp_path / str(number))
    seen = set()
    slow = name in ("h5", "parquet", "las", "laz", "e57")
    for number in range(5 if slow else 25):
        data = mutate(files, np.random.default_rng(number))
        assert data == mutate(files, np.random.default_rng(number))
        # Arrow may end the process
        what = "refused" if name == "parquet" else tried(name, data)
        assert what in ("read", "refused"), f"mutant {number}: {what}"
        seen.add(data)
    assert len(seen) > 3


def die_at_three(
    connection: Connection, name: str, files: list[bytes], numbers: range, seed: int
) -> None:
    for number in numbers:
        connection.send(("begin", number, "", 0))
        if number == 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        connection.send(("done", number, "TypeError: no" if number == 1 else "refused", 7))
    connection.send(("end", 0, "", 0))


def test_a_reader_that_dies_is_counted_and_the_rest_goes_on() -> None:
    found = campaign("toml", 6, 0, die_at_three)
    assert found.tried == 6 and found.memory == 7
    assert found.failures == {1: "TypeError: no", 3: "the process ended with code -11"}
    assert found.counts == {"refused": 4, "failed": 2}


@pytest.mark.parametrize("name", ["pcd", "e57"])
def test_a_campaign_of_its_own(name: str) -> None:
    found = campaign(name, 20, 0)
    assert found.counts.total() == 20 and not found.failures
