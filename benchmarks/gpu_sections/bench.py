# SPDX-License-Identifier: Apache-2.0
"""The device, the time left and the data that the sections of `benchmarks/gpu.py` share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from intravariance.dataset.store import Dataset, open_dataset
from intravariance.tables import Cell, markdown_table
from tests.support.samples import make_dataset, small_specification


@dataclass(frozen=True)
class Finding:
    """One result: a title, a Markdown table ("" for none) and a sentence ("" for none)."""

    title: str
    table: str = ""
    note: str = ""


def tabulated(
    title: str, heading: Sequence[str], rows: Sequence[Sequence[Cell]], note: str = ""
) -> Finding:
    """Make the finding of a table."""
    return Finding(title, markdown_table(heading, rows), note)


@dataclass
class Bench:
    """The conditions of a run.

    device : where everything is measured. minutes : for all sections together. out : folder for
    results and scratch files. data : a dataset file, or None for a small one made here.
    """

    device: torch.device
    minutes: float
    out: Path
    data: Path | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def small(self) -> bool:
        """Tell whether sizes are small: the CPU only shows that every section works."""
        return self.device.type == "cpu"

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return 60 * self.minutes - (time.monotonic() - self.started)

    def synchronise(self) -> None:
        """Wait until the device has done its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, call: Callable[[], object], blocks: int = 5, block: float = 0.1) -> float:
        """Return the median seconds of a call over blocks of at least `block` seconds each."""
        call()
        self.synchronise()
        count = max(1, round(block / max(self._timed(call, 1), 1e-6)))
        if self.small:
            blocks, count = 1, 1
        return sorted(self._timed(call, count) for _ in range(blocks))[blocks // 2]

    def _timed(self, call: Callable[[], object], count: int) -> float:
        self.synchronise()
        start = time.perf_counter()
        for _ in range(count):
            call()
        self.synchronise()
        return (time.perf_counter() - start) / count

    def dataset(self) -> Dataset:
        """Open the dataset, after making it if none was given."""
        if self.data is None:
            points = (800, 1000) if self.small else (7000, 12000)
            self.data = self.out / "small.h5"
            if not self.data.exists():
                make_dataset(self.data, small_specification(points, positives=10, defects=5))
        return open_dataset(self.data)
