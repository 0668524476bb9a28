# SPDX-License-Identifier: Apache-2.0
"""Fair times of rivals on a machine that others use too, and tables of them.

Calls take turns, in blocks of at least 0.1 s; a figure is the median of several blocks. A block
during which other processes took more than 10 % of the machine is repeated, up to three times; a
row that still has such blocks is marked with *.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

import psutil

from intravariance.tables import markdown_table

Call = Callable[[], object]

BLOCK = 0.1  # seconds
OTHERS = 0.1  # share of the machine that other processes may take
REPEATS = 3


def medians(calls: dict[str, Call], samples: int) -> tuple[dict[str, float], str]:
    """Return median seconds of each call, taking turns; and "*" if others were at work.

    samples : blocks of each call.
    """
    counts = {}
    for name, call in calls.items():
        call()  # maps, buffers, threads
        counts[name] = max(1, math.ceil(BLOCK / block(call, 1)[0]))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    disturbed = 0.0
    for _ in range(samples):
        for name, call in calls.items():
            attempts: list[tuple[float, float]] = []
            while len(attempts) <= REPEATS and (not attempts or attempts[-1][1] > OTHERS):
                if attempts:
                    time.sleep(0.5)  # they may be done then
                attempts.append(block(call, counts[name]))
            best = min(attempts, key=lambda attempt: attempt[1])
            disturbed = max(disturbed, best[1])
            seconds[name].append(best[0])
    if disturbed > OTHERS:
        print(f"warning: other processes took {disturbed:.0%} of the machine", file=sys.stderr)
    middle = {name: sorted(values)[len(values) // 2] for name, values in seconds.items()}
    return middle, "*" if disturbed > OTHERS else ""


def block(call: Call, count: int) -> tuple[float, float]:
    """Return (seconds of a call, share of the machine that other processes took meanwhile)."""
    busy, own, start = busy_seconds(), time.process_time(), time.perf_counter()
    for _ in range(count):
        call()
    elapsed = time.perf_counter() - start
    others = (busy_seconds() - busy) - (time.process_time() - own)
    return elapsed / count, others / elapsed / psutil.cpu_count()


def milliseconds(seconds: float) -> str:
    """Write seconds as milliseconds with three digits."""
    value = seconds * 1e3
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def busy_seconds() -> float:
    """Return processor seconds of the whole machine that were not idle."""
    times = psutil.cpu_times()
    # `user` and `nice` contain what guests had, which is also listed on its own.
    return sum(
        getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal")
    )


class Table:
    """Rows of a Markdown table."""

    def __init__(self, header: list[str]) -> None:
        self.header, self.rows = header, list[list[str]]()

    def add(self, row: list[str]) -> None:
        """Add a row, and print it to stderr."""
        self.rows.append(row)
        print(" | ".join(row), file=sys.stderr)

    def __str__(self) -> str:
        table = markdown_table(self.header, self.rows)
        if "*" not in table:
            return table
        return f"{table}\n\n\\* other processes took more than {OTHERS:.0%} of the machine"
