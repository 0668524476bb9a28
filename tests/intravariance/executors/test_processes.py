# SPDX-License-Identifier: Apache-2.0
import gc
import os
import signal
import subprocess
import sys
import time
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import pytest

from intravariance.errors import InputError, IVError
from intravariance.executors import processes
from intravariance.executors.processes import WINDOW, ProcessExecutor, is_stopped
from tests import ROOT


def square(number: int) -> int:
    if number == 3:
        raise InputError("no threes")
    return number * number


def crash_once(marker: Path) -> str:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def stop_once(marker: Path) -> str:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGSTOP)
    return "went on"


def crash_while_sending(marker: Path) -> str:
    """End as one that is killed in the middle of a result: with the lock, half of it sent."""
    if not marker.exists():
        marker.touch()
        (results,) = (each for each in gc.get_objects() if isinstance(each, SimpleQueue))
        results._wlock.acquire()
        os.write(results._writer.fileno(), (1000).to_bytes(4, "big") + b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return "sent"


def crash_always(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_and_failures_of_every_task():
    with ProcessExecutor(2) as executor:
        results = dict(executor.run(square, range(6)))
        again = dict(executor.run(square, [10]))
    failure = results.pop(3)
    assert isinstance(failure, InputError)
    assert str(failure) == "no threes"
    assert results == {0: 0, 1: 1, 2: 4, 4: 16, 5: 25}
    assert again == {10: 100}


def test_tasks_of_a_killed_worker_are_done_again(tmp_path):
    with ProcessExecutor(1) as executor:
        assert dict(executor.run(crash_once, [tmp_path / "marker"])) == {
            tmp_path / "marker": "survived"
        }


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_worker_killed_while_it_sends_a_result_holds_nothing_up(tmp_path, monkeypatch, jobs):
    monkeypatch.setattr(processes, "LOOK_AFTER", 0.5)
    tasks = [tmp_path / "marker", tmp_path / "marker"]
    with ProcessExecutor(jobs) as executor:
        assert [result for _, result in executor.run(crash_while_sending, tasks)] == ["sent"] * 2


def test_a_stopped_worker_is_named_and_replaced(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(processes, "LOOK_AFTER", 0.2)
    with ProcessExecutor(1) as executor:
        found = dict(executor.run(stop_once, [tmp_path / "marker"]))
    assert found == {tmp_path / "marker": "went on"}
    (line,) = capsys.readouterr().err.splitlines()
    assert "was stopped from outside" in line and "kill -CONT" in line


def test_whether_a_process_is_stopped():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not is_stopped(process.pid)
        os.kill(process.pid, signal.SIGSTOP)
        _wait_until(lambda: is_stopped(process.pid))
        os.kill(process.pid, signal.SIGCONT)
        _wait_until(lambda: not is_stopped(process.pid))
        process.kill()
    assert not is_stopped(process.pid)


def test_tasks_are_taken_as_they_are_needed():
    taken = []

    def numbers():
        for number in range(4, 44):
            taken.append(number)
            yield number

    finished = 0
    with ProcessExecutor(2) as executor:
        for number, result in executor.run(square, numbers()):
            finished += 1
            assert result == number * number
            assert len(taken) <= finished + WINDOW * 2
    assert finished == len(taken) == 40


def test_what_is_not_asked_for_is_not_taken():
    tasks = iter(range(4, 1000))
    with ProcessExecutor(1) as executor:
        for _ in executor.run(square, tasks):
            break
    assert next(tasks) <= 4 + 2 * WINDOW


def crash_at_ten(task: tuple[int, Path]) -> int:
    number, marker = task
    if number == 10:
        crash_once(marker)
    return number


def test_no_task_is_lost_when_a_worker_is_killed_in_the_middle(tmp_path):
    tasks = [(number, tmp_path / "marker") for number in range(30)]
    with ProcessExecutor(2) as executor:
        results = [result for _, result in executor.run(crash_at_ten, iter(tasks))]
    assert sorted(results) == list(range(30))


def test_workers_that_are_always_killed_end_the_run():
    with (
        ProcessExecutor(1) as executor,
        pytest.raises(IVError, match="killed 3 times, at least 1 tasks"),
    ):
        list(executor.run(crash_always, [0]))


SLEEPER = """
import sys
from tests.intravariance.executors.test_processes import report_and_sleep
from intravariance.executors.processes import ProcessExecutor
if __name__ == "__main__":
    with ProcessExecutor(1) as executor:
        list(executor.run(report_and_sleep, [sys.argv[1]]))
"""


def report_and_sleep(path: str) -> None:
    Path(path + ".tmp").write_text(str(os.getpid()))
    Path(path + ".tmp").rename(path)
    time.sleep(600)


def test_workers_end_when_the_parent_is_killed(tmp_path):
    script, report = tmp_path / "sleeper.py", tmp_path / "pid"
    script.write_text(SLEEPER)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, str(script), str(report)], env=environment)
    try:
        _wait_until(report.exists)
    finally:
        parent.kill()
        parent.wait()
    worker = int(report.read_text())
    _wait_until(lambda: not Path(f"/proc/{worker}").exists() or _is_zombie(worker))


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def _wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
