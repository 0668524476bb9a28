# SPDX-License-Identifier: Apache-2.0
"""Measures whether time and memory grow with the number of samples, and what one huge sample costs.

    python benchmarks/scale/load.py                   5,000 light samples, and one of 500,000 points
    python benchmarks/scale/load.py --samples 400 --points 50000

Three builds, of a quarter, a half and all of the samples, one worker each: samples a second and
memory while it runs, by quarters of its samples. Then `iv verify`, opening and random access of
each file. Linear is: the same figure a sample for all sizes. Needs the extras blender and dev.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

SPECIFICATION = """name = "load"
points = [{low}, {high}]
[[category]]
name = "cone"
subcategories = ["traffic_cone", "funnel"]
templates = 2
positives = {positives}
defects = {{ bulge = {defects} }}
"""
ACCESS = """
import random, sys, time
from intravariance import open_dataset
start = time.perf_counter()
dataset = open_dataset(sys.argv[1])
opening = time.perf_counter() - start
records = [random.Random(0).choice(dataset) for _ in range(200)]
start = time.perf_counter()
for record in records:
    record.points, record.labels
print(opening, (time.perf_counter() - start) / len(records))
"""
IV = [sys.executable, "-c", "from intravariance.cli import main; main()"]


def main() -> None:
    """Run the builds and print a table of each kind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--points", type=int, default=500_000, help="of the one huge sample")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = []
        print("| samples | made | samples/s | iv, MiB | worker, MiB | Blender, MiB |")
        print("|--:|--:|--:|--:|--:|--:|", flush=True)
        for count in (given.samples // 4, given.samples // 2, given.samples):
            file, seconds = build(folder, count, (200, 260))
            files.append((file, count, seconds))
        huge, seconds = build(folder, 4, (given.points, given.points))
        files.append((huge, 4, seconds))
        print("\n| file | MiB | build, s | verify, s | verify, MiB | opening, ms | access, ms "
              "| access, MiB |")  # fmt: skip
        print("|---|--:|--:|--:|--:|--:|--:|--:|", flush=True)
        for file, count, seconds in files:
            what = f"{given.points:,} points each" if file == huge else "light"
            verify, verify_memory, _ = measured([*IV, "verify", str(file)])
            _, memory, said = measured([sys.executable, "-c", ACCESS, str(file)])
            opening, access = (1000 * float(word) for word in said.split())
            size = file.stat().st_size / 2**20
            print(f"| {count:,} samples, {what} | {size:.0f} | {seconds:.0f} | {verify:.1f} "
                  f"| {verify_memory:.0f} | {opening:.0f} | {access:.2f} | {memory:.0f} |",
                  flush=True)  # fmt: skip


def build(folder: Path, count: int, points: tuple[int, int]) -> tuple[Path, float]:
    """Build a file of `count` samples; print how fast, and with how much memory, by quarters."""
    out = folder / f"{count}_{points[0]}.h5"
    defects = max(1, count // 25)
    text = SPECIFICATION.format(
        low=points[0], high=points[1], positives=count - 2 - defects, defects=defects
    )
    (folder / "load.toml").write_text(text)
    command = [*IV, "build", "--spec", str(folder / "load.toml"), "--jobs", "1", "--quiet",
               "--cache", str(folder / "cache"), "--out", str(out)]  # fmt: skip
    samples = out.with_name(f"{out.name}.partial") / "samples"
    start = last = time.perf_counter()
    made = quarter = 0
    peaks = [0.0, 0.0, 0.0]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(0.2)
            peaks = [max(pair) for pair in zip(peaks, memory_of(process.pid), strict=True)]
            found = finished(samples)
            last = time.perf_counter() if found == made == 0 else last  # without the start
            if found >= (quarter + 1) * count / 4:
                now = time.perf_counter()
                print(f"| {count:,} | {found:,} | {(found - made) / (now - last):.1f} | "
                      + " | ".join(f"{peak:.0f}" for peak in peaks) + " |", flush=True)  # fmt: skip
                made, last, quarter, peaks = found, now, quarter + 1, [0.0, 0.0, 0.0]
    if process.returncode:
        raise SystemExit(f"iv build: exit code {process.returncode}")
    return out, time.perf_counter() - start


def finished(samples: Path) -> int:
    """Count the samples of a build that are finished."""
    try:
        return sum(name.endswith(".h5") for name in os.listdir(samples))
    except OSError:  # not yet, or no longer there
        return 0


def memory_of(pid: int) -> list[float]:
    """Return the memory of a command, of its worker and of Blender, MiB; 0 of what is not there."""
    found = [0.0, 0.0, 0.0]
    try:
        command = psutil.Process(pid)
        for process in (command, *command.children(recursive=True)):
            words = " ".join(process.cmdline())
            kind = 2 if "worker.py" in words else 1 if "spawn_main" in words else 0
            found[kind] = max(found[kind], process.memory_info().rss / 2**20)
    except psutil.Error:
        pass
    return found


def measured(command: Sequence[str]) -> tuple[float, float, str]:
    """Run a command: seconds, peak memory in MiB and what it printed."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - start, usage.ru_maxrss / 1024, said


if __name__ == "__main__":
    main()
