# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from multiprocessing import current_process, get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from intravariance.errors import IVError
from intravariance.executors import Executor
from intravariance.executors.isolated import IsolatedExecutor
from tests import ROOT
from tests.intravariance.executors.test_processes import _is_zombie, _wait_until, report_and_sleep
from tests.intravariance.executors.test_serial import square


def process_number(number: int) -> int:
    if number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 3:  # in the middle of a result
        for each in gc.get_objects():
            if isinstance(each, Connection) and each.writable:
                os.write(each.fileno(), (1000).to_bytes(4, "big") + b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def test_results_and_failures_of_every_task() -> None:
    executor: Executor = IsolatedExecutor(2)
    with executor:
        results = dict(executor.run(square, [1, 3, 5]))
    failure = results.pop(3)
    assert isinstance(failure, IVError) and str(failure) == "no threes" and failure.exit_code == 2
    assert results == {1: 1, 5: 25}


def test_a_killed_task_fails_alone_and_each_has_a_process_of_its_own() -> None:
    with IsolatedExecutor(1) as executor:
        results = dict(executor.run(process_number, [1, 0, 3, 2]))
    for failure in (results.pop(0), results.pop(3)):
        assert isinstance(failure, IVError) and "killed by signal 9" in str(failure)
    assert len({*results.values(), os.getpid()}) == 3


def test_a_bug_is_raised_and_tasks_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []
    with IsolatedExecutor(1) as executor, pytest.raises(ValueError, match="a bug"):
        list(executor.run(square, (taken.append(n) or n for n in (13, 1, 5))))
    assert taken == [13]


def test_what_nobody_waits_for_is_given_up(tmp_path: Path) -> None:
    report = tmp_path / "pid"
    with (
        IsolatedExecutor(1, lambda: not report.exists()) as executor,
        pytest.raises(IVError, match="nobody waits"),
    ):
        list(executor.run(report_and_sleep, [str(report)]))
    worker = int(report.read_text())
    assert not Path(f"/proc/{worker}").exists() or _is_zombie(worker)


def _isolated_square(number: int, sending: Connection) -> None:
    with IsolatedExecutor(1) as executor:
        sending.send((list(executor.run(square, [number])), current_process().daemon))


def test_a_daemonic_process_may_run_tasks() -> None:
    here, there = get_context("spawn").Pipe(duplex=False)
    process = get_context("spawn").Process(target=_isolated_square, args=(5, there), daemon=True)
    process.start()
    assert here.recv() == ([(5, 25)], True)
    process.join()


SLEEPER = """
import signal, sys
from tests.intravariance.executors.test_processes import report_and_sleep
from intravariance.executors.isolated import IsolatedExecutor
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    with IsolatedExecutor(1) as executor:
        list(executor.run(report_and_sleep, [sys.argv[1]]))
"""


@pytest.mark.parametrize("signal_sent", [signal.SIGKILL, signal.SIGINT])
def test_tasks_end_when_the_parent_is_stopped(tmp_path: Path, signal_sent: int) -> None:
    script, report = tmp_path / "sleeper.py", tmp_path / "pid"
    script.write_text(SLEEPER)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, str(script), str(report)], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until(report.exists)
        parent.send_signal(signal_sent)
        parent.wait(60)
    finally:
        parent.kill()
        parent.wait()
    worker = int(report.read_text())
    _wait_until(lambda: not Path(f"/proc/{worker}").exists() or _is_zombie(worker))
