# SPDX-License-Identifier: Apache-2.0
"""A Dask cluster of real processes, started as a user starts one by hand."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import ROOT


class Cluster:
    """A scheduler, whose file is `file`, and the workers that are started. folder : for both."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "scheduler.json"
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.scheduler = self._started("scheduler", "--port", "0")

    def start_worker(self, name: str, *options: str, path: Path | None = None) -> None:
        """Start a worker of one thread. path : comes first on its import path."""
        more = ("--nthreads", "1", "--no-nanny", "--name", name, *options)
        self.workers[name] = self._started("worker", *more, path=path)

    def kill(self, name: str) -> None:
        """Kill a worker as a machine that goes down does."""
        self.workers[name].kill()
        self.workers[name].wait()

    def _started(
        self, kind: str, *options: str, path: Path | None = None
    ) -> subprocess.Popen[bytes]:
        paths = [str(path)] * (path is not None) + [str(ROOT), os.environ.get("PYTHONPATH", "")]
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        with open(self.folder / f"{kind}.log", "ab") as log:
            return subprocess.Popen(
                [
                    sys.executable, "-m", f"distributed.cli.dask_{kind}", "--host", "127.0.0.1",
                    "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(self.file),
                    *options,
                ],
                cwd=scratch,  # none of the client's relative paths mean anything there
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
                stdout=log,
                stderr=log,
            )  # fmt: skip


@contextmanager
def cluster(folder: Path, *workers: str) -> Iterator[Cluster]:
    """Start a cluster with workers of these names, and end it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Cluster(folder)
    try:
        # it appears before it is whole
        wait_until(lambda: made.file.exists() and made.file.read_bytes().strip().endswith(b"}"))
        for name in workers:
            made.start_worker(name)
        yield made
    finally:
        for process in (*made.workers.values(), made.scheduler):
            process.kill()
            process.wait()


def wait_until(condition, seconds: float = 120) -> None:
    """Wait for what other processes do."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def other_numpy(folder: Path) -> Path:
    """Make a folder that, first on the import path, makes NumPy say that it is version 0.1."""
    metadata = folder / "other" / "numpy-0.1.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True, exist_ok=True)
    metadata.write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.1\n")
    return folder / "other"
