# SPDX-License-Identifier: Apache-2.0
"""A process that holds the detector and answers one job after the other.

A cloud can harm only its own job: one that takes too long, or too much memory, or ends the
process, costs its sender an answer, and the next job gets a new process. The service itself only
moves bytes, so that it answers at once whether it is well.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from intravariance.errors import InputError, IVError
from intravariance.executors.processes import cores, start_worker
from mc4ad_model.machine.device import Machine
from mc4ad_model.prediction.detector import open_detector
from mc4ad_model.serving.answers import Answer, Body, Job, answer, refusal

_START = 300.0  # seconds in which a process has to have its network
_PATIENCE = 10.0  # seconds in which it has to end
_MEMORY = 4 * 2**30  # bytes that scoring may take, beside what is there before


@dataclass(frozen=True)
class Opening:
    """The detector that a worker opens: see `open_detector`."""

    run: Path
    category: str | None = None
    rate: float | None = None
    length: float | None = None
    machine: Machine | None = None


class Worker:
    """One process, started when it is first needed and again after it was ended.

    Parameters
    ----------
    opening
        The detector that it opens.
    jobs
        Number of workers that share the cores.

    Attributes
    ----------
    replaced
        How often a process had to be given up.
    """

    def __init__(self, opening: Opening, jobs: int) -> None:
        self.opening, self.jobs = opening, jobs
        self.replaced = 0
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def start(self) -> str:
        """Start the process and wait until it is ready; return the category that it scores.

        Raises
        ------
        InputError
            The run cannot be used.
        IVError
            The process ended, or took too long.
        ModuleNotFoundError
            An extra is not installed.
        """
        threads = str(max(1, cores() // self.jobs))
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # inherited
            os.environ.setdefault(name, threads)
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, self.opening))
        process.start()
        there.close()  # so that the end of the process is the end of what it sends
        self._process, self._connection = process, here
        try:
            if not here.poll(_START):
                raise IVError(f"the worker process was not ready within {_START:.0f} s")
            found = json.loads(here.recv_bytes())
        except (EOFError, OSError):
            self._give_up()
            raise IVError("the worker process ended before it was ready") from None
        if "missing" in found:
            self._give_up()
            raise ModuleNotFoundError(name=found["missing"])
        if "error" in found:
            self._give_up()
            raise InputError(found["error"]) if found["mistake"] else IVError(found["error"])
        return str(found["category"])

    def ask(self, job: Job, data: Body, seconds: float) -> Answer:
        """Return the answer; 504 when it takes longer, 500 when the process ends meanwhile."""
        if self._process is None:
            try:
                self.start()
            except IVError as error:
                return refusal(500, f"no worker can be started: {error}")
        assert self._connection is not None
        try:
            self._connection.send_bytes(job.packed())
            self._connection.send_bytes(data)
            if not self._connection.poll(seconds):
                self._replace()
                return refusal(504, f"scoring took longer than {seconds:g} s; thin the cloud out")
            return Answer.unpacked(self._connection.recv_bytes(), self._connection.recv_bytes())
        except (EOFError, OSError):
            self._replace()
            return refusal(500, "the worker process ended while it scored this cloud")

    def close(self) -> None:
        """End the process: at once where it has nothing to do, else when it is done or killed."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.join(_PATIENCE)
        self._give_up()

    def _replace(self) -> None:
        self.replaced += 1
        self._give_up()

    def _give_up(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


def _work(connection: Connection, opening: Opening) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the service ends it, when its work is done
    start_worker()
    try:
        detector = open_detector(
            opening.run, opening.category, opening.rate, opening.length, opening.machine
        )
    except ModuleNotFoundError as error:
        connection.send_bytes(json.dumps({"missing": error.name}).encode())
        return
    except IVError as error:
        mistake = isinstance(error, InputError)
        connection.send_bytes(json.dumps({"error": str(error), "mistake": mistake}).encode())
        return
    _bound_memory()
    try:
        connection.send_bytes(json.dumps({"category": detector.run.category}).encode())
        while True:
            job, data = Job.unpacked(connection.recv_bytes()), connection.recv_bytes()
            try:
                found = answer(detector, job, data)
            except Exception:
                traceback.print_exc(file=sys.stderr)
                found = refusal(500, "a fault of the service; its log has more")
            for part in found.packed():
                connection.send_bytes(part)
    except (EOFError, OSError):  # the service is gone, or does not want more
        return


def _bound_memory() -> None:
    """Refuse this process more than `_MEMORY` beyond what it has, where the system tells that."""
    if not sys.platform.startswith("linux"):
        return
    import resource  # noqa: PLC0415 - not everywhere

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _MEMORY
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
