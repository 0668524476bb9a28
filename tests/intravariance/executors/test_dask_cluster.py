# SPDX-License-Identifier: Apache-2.0
"""Tasks on real Dask clusters of this machine."""

from __future__ import annotations

import errno
import gc
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from intravariance.dataset.provenance import made_with
from intravariance.errors import BackendUnavailable, InputError, IVError
from intravariance.executors import BLENDER, Executor, Portable, dask_cluster
from intravariance.executors.dask_cluster import DaskExecutor
from intravariance.executors.processes import WINDOW
from tests import ROOT
from tests.intravariance.executors.test_processes import crash_always, crash_at_ten
from tests.intravariance.executors.test_serial import square
from tests.support.dask_clusters import Cluster, cluster, other_numpy, wait_until

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a cluster whose only worker lives on."""
    with cluster(tmp_path_factory.mktemp("cluster"), "first") as found:
        yield found


def executor_of(found: Cluster) -> DaskExecutor:
    return DaskExecutor(made_with, str(found.file))


def worker_name(_: object) -> str:
    from distributed import get_worker  # noqa: PLC0415 - not everywhere

    time.sleep(0.2)
    return str(get_worker().name)


def worker_address(_: object) -> str:
    from distributed import get_worker  # noqa: PLC0415 - not everywhere

    return str(get_worker().address)


@dataclass(frozen=True)
class Reading(Portable):
    """A task that reads a file of its own and one that others read too."""

    own: Path
    common: Path
    contents: dict[Path, bytes] = field(default_factory=dict)
    needs: str = ""

    def packed(self) -> Reading:
        return replace(self, contents={self.own: self.own.read_bytes()})

    def shared(self) -> tuple[Path, ...]:
        return (self.common,)

    def with_shared(self, files: dict[Path, bytes]) -> Reading:
        return replace(self, contents=self.contents | files)


def contents_of(task: Reading) -> tuple[bytes, bytes]:
    return task.contents[task.own], task.contents[task.common]


def name_for(task: Reading) -> tuple[str, str]:
    return task.needs, worker_name(task)


def fail_twice(marker: Path) -> str:
    tries = len(marker.read_text()) if marker.exists() else 0
    marker.write_text("x" * (tries + 1))
    if tries < 2:
        raise OSError("no space left")
    return "worked"


def without_blender(_: object) -> None:
    raise BackendUnavailable("no Blender")


def at_a_time(_: object) -> int:
    """Count the tasks of this process that are under way."""
    _under_way.append(0)
    time.sleep(0.05)
    count = len(_under_way)
    _under_way.pop()
    return count


_under_way: list[int] = []


def fail_always(_: object) -> None:
    raise MemoryError("too large")


def test_results_and_failures_of_every_task(one_worker: Cluster) -> None:
    executor: Executor = executor_of(one_worker)
    with executor:
        results = dict(executor.run(square, range(6)))
        again = dict(executor.run(square, [10]))
    failure = results.pop(3)
    assert isinstance(failure, InputError) and str(failure) == "no threes"
    assert results == {0: 0, 1: 1, 2: 4, 4: 16, 5: 25} and again == {10: 100}


def test_a_bug_is_raised(one_worker: Cluster) -> None:
    with executor_of(one_worker) as executor, pytest.raises(ValueError, match="a bug"):
        list(executor.run(square, [13]))


def test_a_worker_without_blender_ends_the_run(one_worker: Cluster) -> None:
    said = (
        r"the worker tcp://127\.0\.0\.1:\d+: no Blender\n.*start these with --resources BLENDER=1"
    )
    with executor_of(one_worker) as executor, pytest.raises(BackendUnavailable, match=said):
        list(executor.run(without_blender, range(50)))


def test_tasks_are_taken_as_they_are_needed(one_worker: Cluster) -> None:
    taken: list[int] = []
    tasks = iter(range(14, 54))
    with executor_of(one_worker) as executor:
        for done, _ in enumerate(executor.run(square, (taken.append(n) or n for n in tasks))):
            assert len(taken) <= done + 1 + WINDOW
    assert len(taken) == 40


def test_workers_get_the_contents_of_files(one_worker: Cluster, tmp_path: Path) -> None:
    common = tmp_path / "common"
    common.write_bytes(b"for all")
    tasks = [Reading(tmp_path / str(number), common) for number in range(5)]
    for task in tasks:
        task.own.write_bytes(task.own.name.encode())
    with executor_of(one_worker) as executor:
        found = [(task, result) for task, result in executor.run(contents_of, tasks)]
    assert {result for _, result in found} == {(b"%d" % n, b"for all") for n in range(5)}
    assert all(any(task is given for given in tasks) for task, _ in found)


def test_a_file_that_tasks_share_is_sent_again_when_it_is_another(
    one_worker: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[Path] = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path) or read(path))
    tasks = [Reading(tmp_path / "own", tmp_path / name) for name in ("a", "a", "b", "a", "c")]
    for path in {tmp_path / "own", *(task.common for task in tasks)}:
        path.write_bytes(path.name.encode())
    with executor_of(one_worker) as executor:
        assert {r for _, r in executor.run(contents_of, tasks)} == {
            (b"own", name) for name in (b"a", b"b", b"c")
        }
        shared = [path.name for path in reads if path.name in "abc"]
        assert shared == ["a", "b", "c"]  # once for all
        (tmp_path / "a").write_bytes(b"another")
        assert [r for _, r in executor.run(contents_of, tasks[:1])] == [(b"own", b"another")]
        monkeypatch.setattr(dask_cluster, "SHARED", 1)
        assert len([*executor.run(contents_of, tasks)]) == 5
        assert len(executor._shared) == 1
        monkeypatch.setattr(dask_cluster, "SHARED_BYTES", 0)
        with pytest.raises(InputError, match=r"a: has .* GiB, and no more than"):
            list(executor.run(contents_of, tasks))
        (tmp_path / "b").unlink()
        monkeypatch.undo()
        with pytest.raises(InputError, match=r"b: cannot be read \(No such file"):
            list(executor.run(contents_of, tasks[2:3]))


def test_what_may_pass_is_tried_again(one_worker: Cluster, tmp_path: Path) -> None:
    with executor_of(one_worker) as executor:
        assert dict(executor.run(fail_twice, [tmp_path / "x"])) == {tmp_path / "x": "worked"}
        ((_, failure),) = executor.run(fail_always, [0])
        ((_, worker),) = executor.run(worker_address, [0])
    assert isinstance(failure, IVError)
    said = "fail_always: MemoryError('too large'), 3 times, the last on the worker"
    assert str(failure) == f"{said} {worker} of {platform.node()}"


def full_on_first(_: object) -> str:
    if worker_name(0) == "first":
        raise OSError(errno.ENOSPC, "No space left on device")
    time.sleep(0.3)
    return worker_name(0)


def test_a_worker_whose_disk_is_full_does_not_fail_what_others_can_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with cluster(tmp_path / "cluster", "first", "second") as found, executor_of(found) as executor:
        wait_until(lambda: executor.workers() == 2)
        tasks = executor.run(full_on_first, range(12))
        results = [next(tasks) for _ in range(6)]
        found.start_worker("third")
        wait_until(lambda: executor.workers() == 3)
        found.kill("second")  # which alone may do what is under way
        results += tasks
    assert sorted(number for number, _ in results) == list(range(12))
    assert {str(result) for _, result in results} == {"second", "third"}
    assert capsys.readouterr().err.count("No space left on device'); tried again") == 1


def test_no_task_is_lost_with_a_worker(tmp_path: Path) -> None:
    tasks = [(number, tmp_path / "marker") for number in range(30)]
    with cluster(tmp_path / "cluster", "first", "second") as found, executor_of(found) as executor:
        wait_until(lambda: executor.workers() == 2)
        results = [result for _, result in executor.run(crash_at_ten, iter(tasks))]
        assert executor.workers() == 1
    assert sorted(results) == list(range(30))


def test_a_worker_that_joins_late_gets_tasks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = []
    with cluster(tmp_path, "first") as found, executor_of(found) as executor:
        for _, name in executor.run(worker_name, range(2000)):
            if not names:
                found.start_worker("late")
            names.append(name)
            if name == "late":
                break
        assert executor.workers() == 2
    assert {*names} == {"first", "late"}
    assert " joined; 2 workers\n" in capsys.readouterr().err


def test_a_worker_that_was_stopped_does_not_hold_up_others(tmp_path: Path) -> None:
    names: list[str] = []
    with cluster(tmp_path, "first") as found, executor_of(found) as executor:
        for _, name in executor.run(worker_name, range(12)):
            names.append(name)
            if len(names) == 1:
                found.workers["first"].send_signal(signal.SIGSTOP)
                found.start_worker("late")
            if name == "late":
                found.kill("first")
    assert len(names) == 12 and "late" in names


def test_workers_with_blender_alone_get_what_needs_it(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    tasks = [Reading(file, file, needs=("", BLENDER)[number % 2]) for number in range(20)]
    with cluster(tmp_path / "cluster", "bare") as found, executor_of(found) as executor:
        wait_until(lambda: executor.workers() == 1)
        assert {result for _, result in executor.run(name_for, tasks)} == {
            ("", "bare"), (BLENDER, "bare"),
        }  # fmt: skip
        found.start_worker("blender", "--resources", f"{BLENDER}=1")
        wait_until(lambda: executor.workers() == 2)
        names = {result for _, result in executor.run(name_for, tasks)}
    assert (BLENDER, "blender") in names and ("", "bare") in names
    assert (BLENDER, "bare") not in names


def test_a_worker_of_several_threads_does_one_task_at_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with cluster(tmp_path) as found, executor_of(found) as executor:
        found.start_worker("wide", "--nthreads", "4")
        wait_until(lambda: executor.workers() == 1)
        assert dict(executor.run(at_a_time, range(20))) == dict.fromkeys(range(20), 1)
    said = capsys.readouterr().err
    assert "0 workers; waiting for one\n" in said and "--nthreads 1 suits\n" in said


def test_a_task_that_ends_every_worker_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with DaskExecutor(made_with, jobs=1, quiet=True) as executor:
        ((_, failure),) = executor.run(crash_always, [7])
        assert dict(executor.run(square, [2])) == {2: 4}
    assert isinstance(failure, IVError)
    assert str(failure).startswith("crash_always: 4 workers were lost while they did it")
    assert not capsys.readouterr().err


def test_other_versions_are_refused(tmp_path: Path) -> None:
    said = r"the worker tcp://127\.0\.0\.1:\d+ has numpy 0\.1 \(here \d.*what is finished is kept"
    with cluster(tmp_path, "first") as found:
        with executor_of(found) as executor:
            wait_until(lambda: executor.workers() == 1)
            results = executor.run(worker_name, range(1000))
            next(results)
            found.start_worker("other", path=other_numpy(tmp_path))
            with pytest.raises(InputError, match=said):
                list(results)
        with pytest.raises(InputError, match=said), executor_of(found):
            pass


def test_without_a_scheduler(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"tcp://127\.0\.0\.1:1: no scheduler answers .*Timed out"),
        DaskExecutor(made_with, "tcp://127.0.0.1:1"),
    ):
        pass
    wrong = {
        "tcp://127.0.0.1": "missing port",
        "other://127.0.0.1:8786": "unknown address scheme 'other'",
        str(tmp_path / "missing.json"): "No such file or directory",
        "": "--scheduler: is empty; expected an address, as tcp://HOST:PORT, or the file of",
        " ": "--scheduler: is empty",
    }
    for number, content in enumerate((b"", b"{}", b"[1]", b"\xff", b'{"address": 1}', b"[" * 9999)):
        file = tmp_path / f"{number}.json"
        file.write_bytes(content)
        wrong[str(file)] = "JSON with an address; found something else"
    for scheduler, said in wrong.items():
        with pytest.raises(InputError, match=said), DaskExecutor(made_with, scheduler):
            pass


def test_what_is_no_scheduler_is_told_soon(
    one_worker: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    with executor_of(one_worker) as executor:
        ((_, worker),) = executor.run(worker_address, [0])
    with socket.create_server(("127.0.0.1", 0)) as silent:  # as the dashboard's port is
        nobody = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        wrong = {nobody: "has said nothing for 7 s", worker: "address of a Worker"}
        wrong[worker.replace("tcp", "tls")] = "check your TLS configuration"
        for scheduler, said in wrong.items():
            start = time.monotonic()
            with (
                pytest.raises(InputError, match=f"{scheduler}: no scheduler answers .*{said}"),
                DaskExecutor(made_with, scheduler),
            ):
                pass
            assert time.monotonic() - start < 10
    gc.collect()  # a client that is given up must not say so
    assert "Traceback" not in capsys.readouterr().err


def test_a_scheduler_that_is_lost(tmp_path: Path) -> None:
    with cluster(tmp_path, "first") as found, executor_of(found) as executor:
        results = executor.run(worker_name, range(1000))
        next(results)
        found.scheduler.kill()
        with pytest.raises(IVError, match=r"scheduler \S+scheduler.json was lost"):
            list(results)


SLEEPER = """
import sys
from intravariance.cli import _sigterm_unwinds
from intravariance.dataset.provenance import made_with
from intravariance.executors.dask_cluster import DaskExecutor
from tests.intravariance.executors.test_processes import report_and_sleep
if __name__ == "__main__":
    with _sigterm_unwinds(), DaskExecutor(made_with, jobs=1) as executor:
        list(executor.run(report_and_sleep, [sys.argv[1]]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_cluster_of_our_own_ends_with_us(tmp_path: Path, number: int) -> None:
    script, report = tmp_path / "sleeper.py", tmp_path / "pid"
    script.write_text(SLEEPER)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    parent = subprocess.Popen(
        [sys.executable, str(script), str(report)],
        env=os.environ | {"PYTHONPATH": path},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_until(report.exists)
        os.killpg(parent.pid, number) if number == signal.SIGINT else parent.send_signal(number)
        parent.wait(60)
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not _processes_of(parent.pid))


def _processes_of(session: int) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "sid=,stat=,pid="], capture_output=True, text=True)
    rows = [line.split() for line in listed.stdout.splitlines()]
    return [pid for sid, state, pid in rows if int(sid) == session and state[0] != "Z"]
