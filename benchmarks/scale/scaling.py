# SPDX-License-Identifier: Apache-2.0
"""Records time and memory of one large build of light samples.

    python benchmarks/scale/scaling.py --samples 100000 --out curves.csv --figure docs/scaling.png

Every few seconds: samples made, memory of `iv`, of its workers and of Blender, and their processor
time. The figure shows samples and memory over time: constant memory is a flat line, linear time a
straight one. When all samples are made, `iv` writes the file, and its workers verify it. Needs the
extras blender, inspect and dev.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import psutil
from load import IV, SPECIFICATION
from matplotlib.figure import Figure

EVERY = 5.0  # seconds between two looks


class Look(NamedTuple):
    """The progress and the memory of the build at one moment."""

    seconds: float  # since its start
    samples: int  # that are made
    own_mib: float  # of the process of `iv`
    workers_mib: float  # of its worker processes together
    blender_mib: float  # of Blender's processes together
    processor_seconds: float  # of all these processes


def main() -> None:
    """Build, write the curves and draw them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("curves.csv"))
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--keep", type=Path, help="folder that the built file stays in")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = given.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        defects = max(1, given.samples // 25)
        positives = given.samples - 2 - defects
        text = SPECIFICATION.format(low=200, high=260, positives=positives, defects=defects)
        (folder / "load.toml").write_text(text)
        file = folder / "load.h5"
        build = [*IV, "build", "--spec", str(folder / "load.toml"), "--jobs", str(given.jobs),
                 "--quiet", "--cache", str(folder / "cache"), "--out", str(file)]  # fmt: skip
        looks = []
        with given.out.open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(Look._fields)
            for look in watch(build, lambda: made(file, given.samples)):
                looks.append(look)
                writer.writerow([f"{value:.6g}" for value in look])
                out.flush()
        size = file.stat().st_size / 2**20
    summarise(looks, given.samples)
    print(f"the file: {size:.0f} MiB")
    if given.figure:
        draw(looks, given.figure)


def watch(command: Sequence[str], count: Callable[[], int]) -> Iterator[Look]:
    """Run a command and look at it until it ends."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            memory, processor = usage(process.pid)
            if processor:
                yield Look(time.perf_counter() - start, count(), *memory, processor)
            time.sleep(EVERY)
    if process.returncode:
        raise SystemExit(f"iv build: exit code {process.returncode}")


def made(file: Path, samples: int) -> int:
    """Count the samples of the build that are finished; all are once the file is there."""
    if file.exists():
        return samples
    try:
        return len(os.listdir(file.with_name(f"{file.name}.partial") / "samples"))
    except OSError:  # not yet
        return 0


def usage(pid: int) -> tuple[tuple[float, float, float], float]:
    """Return memory in MiB (own, workers, Blender), and processor seconds of a command's tree."""
    found, seconds = [0.0, 0.0, 0.0], 0.0
    try:
        command = psutil.Process(pid)
        for process in (command, *command.children(recursive=True)):
            words = " ".join(process.cmdline())
            kind = 2 if "worker.py" in words else 1 if "spawn_main" in words else 0
            found[kind] += process.memory_info().rss / 2**20
            times = process.cpu_times()
            seconds += times.user + times.system
    except psutil.Error:
        pass
    return (found[0], found[1], found[2]), seconds


def summarise(looks: Sequence[Look], samples: int) -> None:
    """Print rate, processor time and memory by tenths of the samples, and what all of it took."""
    print("| made | seconds | samples/s | processor, ms a sample | iv, MiB | workers, MiB "
          "| Blender, MiB |\n|--:|--:|--:|--:|--:|--:|--:|")  # fmt: skip
    last, *rest = [look for look, then in pairwise(looks) if look.samples < then.samples]
    for tenth in range(1, 11):
        part = [look for look in rest if last.samples < look.samples <= tenth * samples / 10]
        if not part:
            continue
        end = part[-1]
        new, spent = end.samples - last.samples, end.processor_seconds - last.processor_seconds
        own, workers, blender = (max(look[place] for look in part) for place in (2, 3, 4))
        rate = new / (end.seconds - last.seconds)
        print(f"| {end.samples:,} | {end.seconds:.0f} | {rate:.1f} | {1000 * spent / new:.2f} "
              f"| {own:.0f} | {workers:.0f} | {blender:.0f} |")  # fmt: skip
        last = end
    most = max(look.own_mib for look in looks)
    print(f"in all {looks[-1].seconds:.0f} s, {looks[-1].processor_seconds:.0f} s of processor "
          f"time, `iv` at most {most:.0f} MiB")  # fmt: skip


def draw(looks: Sequence[Look], figure: Path) -> None:
    """Draw samples and memory over the time of the build."""
    picture = Figure(figsize=(8, 3.4), layout="constrained")
    built, memory = picture.subplots(1, 2)
    minutes = [look.seconds / 60 for look in looks]
    built.plot(minutes, [look.samples for look in looks])
    built.set_ylabel("samples made")
    memory.plot(minutes, [look.own_mib for look in looks], label="iv")
    memory.plot(minutes, [look.workers_mib for look in looks], label="its workers")
    memory.plot(minutes, [look.blender_mib for look in looks], label="Blender")
    memory.set_ylim(bottom=0)
    memory.set_ylabel("memory, MiB")
    memory.legend()
    for axes in (built, memory):
        axes.set_xlabel("minutes")
    picture.savefig(figure, dpi=110)


if __name__ == "__main__":
    main()
