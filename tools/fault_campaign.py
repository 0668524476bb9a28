# SPDX-License-Identifier: Apache-2.0
"""Kills, fills disks and starts twice, and checks that nothing is lost and nothing is half-written.

    python -m tools.fault_campaign --kills 20

Each job is a command with a result that is known from a run that nobody disturbs. Then:

    kill        it is killed (SIGKILL) at random moments, and started again; every fourth time it
                may end
    kill child  a worker process or Blender is killed instead, at a random moment
    full disk   no file may grow beyond random sizes (RLIMIT_FSIZE); then it may end without limit
    twice       it is started twice at once into one target

A failure is: another result; something under the final name that is not whole; a process left
behind for more than ten seconds; or, where the command itself was not killed, an end that is
neither success nor a message with exit code 1 or 2. Moments follow from --seed and the time that
the undisturbed run took. Needs the extras blender, model and dev.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from numpy.random import Generator

from intravariance.errors import IVError
from intravariance.seeds import generator
from intravariance.verification.verify import verify

SPECIFICATION = """name = "small"
points = [2100, 2600]
[[category]]
name = "cone"
subcategories = ["traffic_cone", "funnel"]
templates = 2
positives = 3
defects = { bulge = 2, crack = 2, twist = 2 }
"""
PATIENCE = 300.0  # seconds that a command may take that was not disturbed
GONE_WITHIN = 10.0  # seconds that processes may outlive the one that was killed


@dataclass(frozen=True)
class Job:
    """arguments : of `iv`, in a folder that has the files of `prepared`. target : of the result."""

    name: str
    arguments: tuple[str, ...]
    target: str
    result: Callable[[Path], str]

    def start(self, folder: Path, limit: int | None = None) -> subprocess.Popen[str]:
        """Start the command; limit : bytes that a file may have."""
        code = "from intravariance.cli import main; main()"
        if limit is not None:
            # Ignored, the signal of a file that is too large becomes an error, as on a full disk.
            code = (
                "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
                f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); {code}"
            )
        return subprocess.Popen(
            [sys.executable, "-c", code, *self.arguments],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def finish(self, folder: Path) -> tuple[int, str]:
        """Run the command to its end: exit code, and the end of what it said."""
        process = self.start(folder)
        _, said = process.communicate(timeout=PATIENCE)
        return process.returncode, said[-300:].strip()


@dataclass(frozen=True)
class Known:
    """A job in its folder, and of a run that nobody disturbed its result and how long it took."""

    job: Job
    folder: Path
    expected: str
    lasts: float


@dataclass
class Outcome:
    """faults : how often something was done to a job. failures : what went wrong."""

    faults: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0


def file_digest(path: Path) -> str:
    """Return the content digest of a dataset file that is whole; raise IVError else."""
    report = verify(path, probes=False)
    if not report.passed:
        raise IVError("; ".join(report.failures()))
    return report.digest


def tree_digest(path: Path) -> str:
    """Return a digest of the names and bytes of all files of a folder."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_file():
            digest.update(f"{name}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def network_digest(path: Path) -> str:
    """Return a digest of the trained networks in a folder of runs."""
    networks = sorted(path.rglob("network.safetensors"))
    if not networks:
        raise IVError("no network")
    return hashlib.sha256(b"".join(one.read_bytes() for one in networks)).hexdigest()


def scores_digest(path: Path) -> str:
    """Return a digest of all scores of a leaderboard, and of which rows it has."""
    rows = sorted(path.glob("runs/*/*/*/evaluation/points.safetensors"))
    if not (path / "leaderboard.json").is_file() or not rows:
        raise IVError("no leaderboard")
    names = "\n".join(row.relative_to(path).as_posix() for row in rows)
    content = b"".join(row.read_bytes() for row in rows)
    return hashlib.sha256(names.encode() + content).hexdigest()


TRAINING = (
    "network.width=0.25", "network.layers=4", "network.voxel_size=0.2", "training.epochs=4",
    "training.repeats=4", "training.batch=4", "training.checkpoint_epochs=1",
)  # fmt: skip
JOBS = (
    Job("build", ("build", "--spec", "small.toml", "--jobs", "2", "--cache", "cache",
                  "--out", "out.h5"), "out.h5", file_digest),
    Job("import", ("import", "anomaly-shapenet", "tree", "--jobs", "2", "--out", "out.h5"),
        "out.h5", file_digest),
    Job("export", ("export", "small.h5", "--layout", "anomaly-shapenet", "--jobs", "2",
                   "--out", "exported"), "exported", tree_digest),
    Job("train", ("train", "--data", "small.h5", "--preset", "quick", "--device", "cpu",
                  *(word for one in TRAINING for word in ("--set", one)), "--out", "runs"),
        "runs", network_digest),
    Job("leaderboard", ("leaderboard", "--data", "small.h5", "--methods", "signed_distance[field="
                        "exact,frame=registered]", "--seeds", "0", "--jobs", "2", "--out", "board"),
        "board", scores_digest),
)  # fmt: skip
# A training and a leaderboard are folders that grow; the others appear whole or not at all.
GROWING = ("train", "leaderboard")


@contextmanager
def prepared() -> Iterator[Path]:
    """Give a folder with what the jobs need: a specification, a dataset file, an exported tree."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small.toml").write_text(SPECIFICATION)
        for job in (JOBS[0], JOBS[2]):
            code, said = job.finish(folder)
            if code:
                raise SystemExit(f"iv {' '.join(job.arguments)}: {said}")
            if job.name == "build":
                (folder / "out.h5").rename(folder / "small.h5")
        (folder / "exported").rename(folder / "tree")
        yield folder


def clear(job: Job, folder: Path) -> None:
    """Remove what a job wrote."""
    for path in folder.glob(f"{job.target}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def check(known: Known, when: str, outcome: Outcome) -> None:
    """Note as failures a last run that does not end well, and another result than expected."""
    code, said = known.job.finish(known.folder)
    if code == 2 and "exists" in said:
        code = 0  # it was finished before it was killed
    try:
        found = known.job.result(known.folder / known.job.target)
    except (IVError, OSError) as error:
        found = f"no result: {error}"
    if code or found != known.expected:
        outcome.failures.append(f"{when}: exit code {code}, {found}; {said}")
    clear(known.job, known.folder)


def half_written(known: Known, when: str, outcome: Outcome) -> None:
    """Note as a failure what is under the final name and not whole."""
    target = known.folder / known.job.target
    if known.job.name in GROWING or not target.exists():
        return
    try:
        whole = known.job.result(target) == known.expected
    except (IVError, OSError) as error:
        whole = False
        when = f"{when}: {error}"
    if not whole:
        outcome.failures.append(f"{when}: half-written under its final name")


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
                if not any("resource_tracker" in word for word in child.cmdline())
            ]
            if children:
                outcome.faults += 1
                children[rng.integers(len(children))].kill()
        _ended(process, f"kill child {number}", outcome)
        check(known, f"kill child {number}", outcome)
    return outcome


def full_disk(known: Known, rng: Generator, times: int) -> Outcome:
    """Let no file grow beyond a random size, from a hundred bytes to a million."""
    outcome = Outcome()
    for number in range(times):
        when = f"full disk {number}"
        process = known.job.start(known.folder, limit=int(10 ** rng.uniform(2, 6)))
        outcome.faults += 1
        _ended(process, when, outcome)
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
        _ended(first, when, outcome)
        _ended(second, when, outcome)
        check(known, when, outcome)
    return outcome


def _ended(process: subprocess.Popen[str], when: str, outcome: Outcome) -> None:
    _, said = process.communicate(timeout=PATIENCE)
    if process.returncode not in (0, 1, 2) or "Traceback" in said:
        outcome.failures.append(f"{when}: exit code {process.returncode}: {said[-300:].strip()}")


FAULTS = {"kill": kill, "kill child": kill_child, "full disk": full_disk, "twice": twice}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign, print the table, and return 1 where something failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="of each job; of the rest a quarter")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", help=f"separated by commas; of {', '.join(j.name for j in JOBS)}")
    given = parser.parse_args(arguments)
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
            for name, fault in FAULTS.items():
                start = time.perf_counter()
                times = given.kills if name == "kill" else max(1, given.kills // 4)
                rng = generator(given.seed, "faults", job.name, name)
                one = fault(Known(job, folder, expected, lasts), rng, times)
                seconds = time.perf_counter() - start
                print(f"| {job.name} | {lasts:.1f} | {name} | {one.faults} | {len(one.failures)} "
                      f"| {seconds:.0f} |", flush=True)  # fmt: skip
                for failure in one.failures:
                    print(f"{job.name}: {failure}", file=sys.stderr)
                failed += len(one.failures)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
