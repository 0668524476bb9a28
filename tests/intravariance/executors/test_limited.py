# SPDX-License-Identifier: Apache-2.0
"""Limits of memory in this process: what foreign files are read within."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

import numpy as np
import pytest

from intravariance.cloud_files import parse_cloud, reading
from intravariance.errors import InputError
from intravariance.exchange.importing import sample
from intravariance.exchange.importing.run import ImportSettings, import_dataset
from intravariance.executors.limited import limited_memory
from intravariance.executors.processes import local_executor
from intravariance.executors.serial import SerialExecutor

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="the system does not tell a process's memory"
)
MIB = 2**20


def test_more_memory_than_allowed_is_an_input_error_and_the_limit_ends_with_the_block() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    message = r"^a\.txt needs more than 0\.25 GiB of memory"
    with pytest.raises(InputError, match=message), limited_memory("a.txt", 256 * MIB):
        np.ones(512 * MIB, np.uint8)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    with limited_memory("a.txt", 256 * MIB), limited_memory("b.txt", 4096 * MIB):
        assert np.ones(64 * MIB, np.uint8).all()
        with pytest.raises(MemoryError):  # the outer limit holds
            np.ones(512 * MIB, np.uint8)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_threads_leave_no_limit_behind() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    seen = []

    def work() -> None:
        with limited_memory("a.txt", 512 * MIB):
            seen.append(resource.getrlimit(resource.RLIMIT_AS)[0])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8 and resource.RLIM_INFINITY not in seen
    assert resource.getrlimit(resource.RLIMIT_AS) == before


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a tree with a cloud of 60 points and one of 8 million."""
    rng = np.random.default_rng(0)
    (tmp_path / "train").mkdir()
    np.savetxt(tmp_path / "train" / "small.txt", rng.normal(size=(60, 3)))
    np.save(tmp_path / "train" / "large.npy", rng.normal(size=(8_000_000, 3)).astype("f4"))
    return tmp_path


def test_a_cloud_that_needs_too_much_memory_is_named(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "limited_memory", lambda: limited_memory("it", 64 * MIB))
    large = (tree / "train" / "large.npy").read_bytes()
    with pytest.raises(InputError, match=r"^large\.npy: it needs more than 0\.0625 GiB"):
        parse_cloud(large, "large.npy")


def test_workers_of_an_import_have_a_limit(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "limited_memory", lambda what: limited_memory(what, 256 * MIB))
    settings = ImportSettings("folder", tree, quiet=True, skip_bad=True)
    with SerialExecutor() as executor:
        result = import_dataset(settings, tree.parent / "out.h5", executor)
    assert result.specification.total == 1
    ((reason),) = result.skipped.values()
    assert "large.npy" in reason and "needs more than" in reason


def limit_seen(_: int) -> int:
    with limited_memory():
        return resource.getrlimit(resource.RLIMIT_AS)[0]


def test_worker_processes_can_be_limited() -> None:
    with local_executor(2) as executor:
        for _, limit in executor.run(limit_seen, range(3)):
            assert isinstance(limit, int) and 0 < limit < 2**40
