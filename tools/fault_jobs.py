# SPDX-License-Identifier: Apache-2.0
"""The commands of `fault_campaign`, in a folder of their own, and what counts as a failure."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from intravariance.errors import IVError
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


@dataclass(frozen=True)
class Job:
    """arguments : of `iv`, in a folder that has the files of `prepared`. target : of the result."""

    name: str
    arguments: tuple[str, ...]
    target: str
    result: Callable[[Path], str]

    def start(
        self, folder: Path, limit: int | None = None, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start the command; limit : bytes that a file may have. environment : besides ours."""
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
            env=os.environ | (environment or {}),
        )  # fmt: skip

    def finish(self, folder: Path) -> tuple[int, str]:
        """Run the command to its end: exit code, and the end of what it said."""
        process = self.start(folder)
        try:
            _, said = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            _, said = process.communicate()
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


def ended(process: subprocess.Popen[str], when: str, outcome: Outcome) -> None:
    """Wait for a command, and note as a failure an end that is no success and no message."""
    try:
        _, said = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        outcome.failures.append(f"{when}: no end within {PATIENCE:.0f} s")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return
    if process.returncode not in (0, 1, 2) or "Traceback" in said:
        outcome.failures.append(f"{when}: exit code {process.returncode}: {said[-300:].strip()}")
