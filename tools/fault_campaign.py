# SPDX-License-Identifier: Apache-2.0
"""Kills, fills disks and starts twice, and checks that nothing is lost and nothing is half-written.

    python -m tools.fault_campaign --kills 20
    python -m tools.fault_campaign --kills 20 --jobs build,import --faults kill,clock

Each job is a command with a result that is known from a run that nobody disturbs. Then:

    kill        it is killed (SIGKILL) at random moments, and started again; every fourth time it
                may end
    kill child  a worker process or Blender is killed instead, at a random moment
    full disk   no file may grow beyond random sizes (RLIMIT_FSIZE); then it may end without limit
    twice       it is started twice at once into one target
    signal to Blender    SIGSEGV, SIGABRT or a pause (build alone)
    vanished    all that it has written is removed at a random moment
    small disk  it writes to a disk of a random size, which then gets space (root alone)
    read-only   it is to write to a read-only disk (root alone)
    clock       the clock jumps by years, back and forth, and files are of 1970 or of 2100
                (a C compiler makes the library that moves it)

A failure is: another result; something under the final name that is not whole; a process left
behind for more than ten seconds; or, where the command itself was not killed, an end that is
neither success nor a message with exit code 1 or 2. Moments follow from --seed and the time that
the undisturbed run took. Rows are printed as they are known, so that a campaign that is stopped
leaves those; go on with --jobs and --faults. Needs the extras blender, model and dev.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
from numpy.random import Generator

from intravariance.seeds import generator
from tools.fault_jobs import (
    GROWING,
    JOBS,
    Job,
    Known,
    Outcome,
    check,
    clear,
    ended,
    half_written,
    prepared,
)

CLOCK = Path(__file__).with_name("clock.c")
YEAR = 365 * 86400  # seconds
GONE_WITHIN = 10.0  # seconds that processes may outlive the one that was killed


def kill(known: Known, rng: Generator, times: int) -> Outcome:
    """Kill the command itself, again and again."""
    outcome = Outcome()
    for number in range(times):
        when = f"kill {number}"
        process = known.job.start(known.folder)
        time.sleep(rng.uniform(0, known.lasts))
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.communicate()
        outcome.faults += 1
        _, alive = psutil.wait_procs(children, timeout=GONE_WITHIN)
        for child in alive:
            outcome.failures.append(f"{when}: process {child.pid} was left behind")
            child.kill()
        half_written(known, when, outcome)
        if number % 4 == 3 or number == times - 1:
            check(known, when, outcome)
    return outcome


def kill_child(known: Known, rng: Generator, times: int) -> Outcome:
    """Kill a process that the command started, if there is one at a random moment."""
    outcome = Outcome()
    for number in range(times):
        process = known.job.start(known.folder)
        time.sleep(rng.uniform(0, known.lasts))
        if process.poll() is None:
            # without the bookkeeper of the standard library's multiprocessing
            children = [
                child
                for child in psutil.Process(process.pid).children(recursive=True)
                if "resource_tracker" not in words(child)
            ]
            if children:
                outcome.faults += 1
                children[rng.integers(len(children))].kill()
        ended(process, f"kill child {number}", outcome)
        check(known, f"kill child {number}", outcome)
    return outcome


def words(process: psutil.Process) -> str:
    """Return the command line of a process; "" of one that is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def full_disk(known: Known, rng: Generator, times: int) -> Outcome:
    """Let no file grow beyond a random size, from a hundred bytes to a million."""
    outcome = Outcome()
    for number in range(times):
        when = f"full disk {number}"
        process = known.job.start(known.folder, limit=int(10 ** rng.uniform(2, 6)))
        outcome.faults += 1
        ended(process, when, outcome)
        half_written(known, when, outcome)
        check(known, when, outcome)
    return outcome


def twice(known: Known, rng: Generator, times: int) -> Outcome:
    """Start the command a second time, a random moment after the first."""
    outcome = Outcome()
    for number in range(times):
        when = f"twice {number}"
        first = known.job.start(known.folder)
        time.sleep(rng.uniform(0, known.lasts))
        second = known.job.start(known.folder)
        outcome.faults += 1
        ended(first, when, outcome)
        ended(second, when, outcome)
        check(known, when, outcome)
    return outcome


def blender_signal(known: Known, rng: Generator, times: int) -> Outcome:
    """Send Blender the signal of a segmentation fault, of an abort, or of a pause of a second."""
    outcome = Outcome()
    for number in range(times):
        process = known.job.start(known.folder)
        found: list[psutil.Process] = []
        while process.poll() is None and not found:
            time.sleep(0.05)
            children = _children(process)
            found = [child for child in children if "worker.py" in words(child)]
        time.sleep(rng.uniform(0, known.lasts / 2))
        sent = (signal.SIGSEGV, signal.SIGABRT, signal.SIGSTOP)[number % 3]
        for child in found[:1]:
            with suppress(psutil.Error):
                child.send_signal(sent)
                outcome.faults += 1
                if sent == signal.SIGSTOP:
                    time.sleep(1)
                    child.resume()
        ended(process, f"{sent.name} {number}", outcome)
        check(known, f"{sent.name} {number}", outcome)
    return outcome


def vanished(known: Known, rng: Generator, times: int) -> Outcome:
    """Remove, at a random moment, all that the command has written."""
    outcome = Outcome()
    for number in range(times):
        when = f"vanished {number}"
        process = known.job.start(known.folder)
        time.sleep(rng.uniform(0, known.lasts))
        outcome.faults += process.poll() is None
        for path in known.folder.glob(f"{known.job.target}*"):
            with suppress(OSError):  # it is written in meanwhile
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        ended(process, when, outcome)
        if known.job.name not in GROWING:  # of which a part is left then
            half_written(known, when, outcome)
        clear(known.job, known.folder)
        check(known, when, outcome)
    return outcome


def small_disk(known: Known, rng: Generator, times: int) -> Outcome:
    """Work on a disk (tmpfs) of a random size, 4 kB to 4 MB; then on one that has space."""
    outcome = Outcome()
    for number in range(times):
        when = f"small disk {number}"
        with disk(known, int(10 ** rng.uniform(3.6, 6.6))) as (on_disk, mount):
            ended(known.job.start(on_disk.folder), when, outcome)
            outcome.faults += 1
            half_written(on_disk, when, outcome)
            mount("remount,size=1g")
            check(on_disk, when, outcome)
    return outcome


def read_only(known: Known, rng: Generator, times: int) -> Outcome:
    """Work on a disk that is read-only when the command starts, and not afterwards."""
    outcome = Outcome()
    for number in range(times):
        when = f"read-only {number}"
        with disk(known, 2**30) as (on_disk, mount):
            mount("remount,ro")
            before = sorted(on_disk.folder.iterdir())
            process = on_disk.job.start(on_disk.folder)
            ended(process, when, outcome)
            outcome.faults += 1
            if process.returncode != 2 or sorted(on_disk.folder.iterdir()) != before:
                outcome.failures.append(f"{when}: exit code {process.returncode}, expected 2")
            mount("remount,rw")
            check(on_disk, when, outcome)
    return outcome


@contextmanager
def disk(known: Known, size: int) -> Iterator[tuple[Known, Callable[[str], None]]]:
    """Give a job in a small disk of its own, and a function that changes how that is mounted."""
    with tempfile.TemporaryDirectory() as place:

        def mount(options: str) -> None:
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)

        mount(f"size={size}")
        try:
            for path in known.folder.iterdir():
                (Path(place) / path.name).symlink_to(path)
            yield replace(known, folder=Path(place)), mount
        finally:
            subprocess.run(["umount", "-l", place], check=True)


def clock(known: Known, rng: Generator, times: int) -> Outcome:
    """Let the clock jump by years while the command runs, with files of 1970 and of 2100."""
    outcome = Outcome()
    inputs = [path for path in known.folder.rglob("*") if path.is_file()]
    library = known.folder / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, CLOCK, "-ldl"], check=True)
    for number in range(times):
        for path in inputs:
            os.utime(path, (0, 0) if number % 2 else (4102444800, 4102444800))
        offset = known.folder / "clock"
        offset.write_text(str(-3 * YEAR))
        environment = {"LD_PRELOAD": str(known.folder / "clock.so"), "CLOCK_OFFSET": str(offset)}
        process = known.job.start(known.folder, environment=environment)
        for years in (5, -40, 0):
            time.sleep(rng.uniform(0, known.lasts / 3))
            offset.write_text(str(years * YEAR))
            outcome.faults += process.poll() is None
        ended(process, f"clock {number}", outcome)
        offset.unlink()
        check(known, f"clock {number}", outcome)
    return outcome


def _children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        return []


FAULTS = {
    "kill": kill, "kill child": kill_child, "full disk": full_disk, "twice": twice,
    "signal to Blender": blender_signal, "vanished": vanished, "small disk": small_disk,
    "read-only": read_only, "clock": clock,
}  # fmt: skip


def not_possible(job: Job, name: str) -> str:
    """Say why a fault cannot be tried here; "" where it can."""
    if name == "signal to Blender" and job.name != "build":
        return "without Blender"
    if name in ("small disk", "read-only") and (os.geteuid() or not shutil.which("mount")):
        return "needs root, who may mount"
    if name == "clock" and not (shutil.which("cc") and sys.platform == "linux"):
        return "needs a C compiler, and Linux"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign, print the table, and return 1 where something failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="of each job; of the rest a quarter")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", help=f"separated by commas; of {', '.join(j.name for j in JOBS)}")
    parser.add_argument("--faults", help=f"separated by commas; of {', '.join(FAULTS)}")
    given = parser.parse_args(arguments)
    faults = given.faults.split(",") if given.faults else list(FAULTS)
    names = given.jobs.split(",") if given.jobs else [job.name for job in JOBS]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("| job | undisturbed, s | fault | times | failed | seconds |\n|---|--:|---|--:|--:|--:|")
    failed = 0
    with prepared() as folder:
        for job in (job for job in JOBS if job.name in names):
            start = time.perf_counter()
            code, said = job.finish(folder)
            if code:
                raise SystemExit(f"iv {' '.join(job.arguments)}: {said}")
            lasts = time.perf_counter() - start
            expected = job.result(folder / job.target)
            clear(job, folder)
            for name in faults:
                if why := not_possible(job, name):
                    print(f"{job.name}: {name} is not tried: {why}", file=sys.stderr)
                    continue
                start = time.perf_counter()
                times = given.kills if name == "kill" else max(1, given.kills // 4)
                rng = generator(given.seed, "faults", job.name, name)
                one = FAULTS[name](Known(job, folder, expected, lasts), rng, times)
                seconds = time.perf_counter() - start
                print(f"| {job.name} | {lasts:.1f} | {name} | {one.faults} | {len(one.failures)} "
                      f"| {seconds:.0f} |", flush=True)  # fmt: skip
                for failure in one.failures:
                    print(f"{job.name}: {failure}", file=sys.stderr)
                failed += len(one.failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
