# SPDX-License-Identifier: Apache-2.0
"""The device, the time left and the data that the sections of `benchmarks/gpu.py` share."""

from __future__ import annotations

import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from intravariance.dataset.store import Dataset, open_dataset
from intravariance.tables import Cell, markdown_table
from tests.support.samples import make_dataset, small_specification

LAST_SHARE, SMALL_LAST_SHARE = 0.2, 0.05  # of the time, which is kept for the last section
LONGEST_ERROR = 200  # characters in a cell


@dataclass(frozen=True)
class Finding:
    """One result: a title, a Markdown table ("" for none) and a sentence ("" for none). A later one
    of a section with the same title takes its place."""

    title: str
    table: str = ""
    note: str = ""


@dataclass(frozen=True)
class Case:
    """A row to measure: what it says of itself, and the call that returns its other cells."""

    labels: Sequence[Cell]
    measure: Callable[[], Sequence[Cell]]


@dataclass(frozen=True)
class Timing:
    """Seconds of the first call, which may compile kernels and build maps, and of a later one."""

    first: float
    seconds: float


def tabulated(
    title: str, heading: Sequence[str], rows: Sequence[Sequence[Cell]], note: str = ""
) -> Finding:
    """Make the finding of a table."""
    return Finding(title, markdown_table(heading, rows), note)


def python_path() -> str:
    """Return the PYTHONPATH of a process that imports the sections and the project's sources."""
    benchmarks = Path(__file__).resolve().parent.parent
    own = [str(benchmarks), str(benchmarks.parent)]
    return os.pathsep.join([*own, *filter(None, [os.environ.get("PYTHONPATH")])])


@dataclass
class Bench:
    """The conditions of a run.

    device : where everything is measured. until : when the time is up, as of `time.monotonic`.
    total : seconds of the whole run. scratch : folder for files that are no results. data : a
    dataset file, or None for a small one made here. failures, left_out : rows of the current
    section. renew : whether the next section is to have another process.
    """

    device: torch.device
    until: float
    total: float
    scratch: Path
    data: Path | None = None
    failures: int = 0
    left_out: int = 0
    renew: bool = False
    _section_until: float = field(default=0.0, init=False)

    def begin(self, share: float, last: bool) -> None:
        """Begin a section that may take a share of the time, less what the last section has."""
        self.failures = self.left_out = 0
        self._section_until = self.until
        if not last:
            end = self.until - (SMALL_LAST_SHARE if self.small else LAST_SHARE) * self.total
            self._section_until = min(end, time.monotonic() + share * self.total)

    @property
    def small(self) -> bool:
        """Tell whether sizes are small: the CPU only shows that every section works."""
        return self.device.type == "cpu"

    @property
    def left(self) -> float:
        """Return the seconds that are left to the section."""
        return self._section_until - time.monotonic()

    def synchronise(self) -> None:
        """Wait until the device has done its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def table(
        self, title: str, heading: Sequence[str], cases: Sequence[Case], note: str = ""
    ) -> Iterator[Finding]:
        """Yield the table after each of its rows, while time is left; errors go into their row."""
        rows: list[Sequence[Cell]] = []
        for case in self.while_time(cases):
            rows.append([*case.labels, *self.attempt(case, len(heading) - len(case.labels))])
            yield tabulated(title, heading, rows, note)

    def while_time(self, cases: Sequence[Case]) -> Iterator[Case]:
        """Yield the cases for which time is left, and count the others."""
        for number, case in enumerate(cases):
            if self.left <= 0:
                self.left_out += len(cases) - number
                return
            yield case

    def attempt(self, case: Case, cells: int) -> Sequence[Cell]:
        """Return the cells of a case; where it fails, its error and "" in the others."""
        try:
            return case.measure()
        except Exception as error:
            print(f"{case.labels}:", file=sys.stderr)
            traceback.print_exc()
            self.failures += 1
            said = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_ERROR]
        if self.device.type == "cuda" and self.answers():
            torch.cuda.empty_cache()  # after what the error held is gone
        return [said, *[""] * (cells - 1)]

    def answers(self) -> bool:
        """Tell whether the device computes: after a fault inside a kernel it never does again."""
        try:
            return float(torch.ones(2, device=self.device).sum()) == 2
        except Exception as error:
            print(f"the device does not answer: {error}", file=sys.stderr)
            return False

    def timed(self, call: Callable[[], object], blocks: int = 5, block: float = 0.1) -> Timing:
        """Measure a call: once, and then the median over blocks of at least `block` seconds."""
        first = self._timed(call, 1)
        count = 1 if self.small else max(1, round(block / max(self._timed(call, 1), 1e-6)))
        times = []
        for _ in range(1 if self.small else blocks):
            times.append(self._timed(call, count))
            if self.left <= 0:
                break
        return Timing(first, sorted(times)[len(times) // 2])

    def seconds(self, call: Callable[[], object], blocks: int = 3) -> float:
        """Return the median seconds of a call after the first one."""
        return self.timed(call, blocks).seconds

    def _timed(self, call: Callable[[], object], count: int) -> float:
        self.synchronise()
        start = time.perf_counter()
        for _ in range(count):
            call()
        self.synchronise()
        return (time.perf_counter() - start) / count

    def peak_mebibytes(self, call: Callable[[], object]) -> str:
        """Return the peak MiB of tensors on the device during a call, "-" on the CPU."""
        if self.device.type != "cuda":
            return "-"
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
        return f"{torch.cuda.max_memory_allocated() / 2**20:.0f}"

    def dataset(self) -> Dataset:
        """Open the dataset, after making it if none was given."""
        if self.data is None:
            specification = small_specification((7000, 12000), positives=10, defects=5)
            if self.small:
                specification = small_specification((800, 1000), positives=2, defects=1)
            self.data = self.scratch / "small.h5"
            if not self.data.exists():
                shutil.rmtree(self.data.with_suffix(".files"), ignore_errors=True)
                make_dataset(self.data, specification)
        return open_dataset(self.data)
