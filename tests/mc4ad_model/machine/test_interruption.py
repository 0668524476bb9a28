# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from mc4ad_model.machine.interruption import Interruption, children_unaware
from tests import ROOT

both = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture(autouse=True)
def handlers():
    """Install handlers of our own, and put those from before back after each test."""
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda n, frame: received.append(n))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    yield received
    for number, handler in before.items():
        signal.signal(number, handler)


@both
def test_the_first_signal_is_a_request_the_second_acts(handlers, number):
    with Interruption() as interruption:
        assert not interruption.requested
        os.kill(os.getpid(), number)
        assert interruption.requested
        assert handlers == []
        os.kill(os.getpid(), number)
        assert handlers == [number]


@both
def test_after_it_signals_act_as_before(handlers, number):
    with Interruption() as interruption:
        pass
    os.kill(os.getpid(), number)
    assert handlers == [number]
    assert not interruption.requested


def test_handlers_are_put_back_when_it_is_left_by_an_error(handlers):
    with pytest.raises(ZeroDivisionError), Interruption():
        raise ZeroDivisionError
    os.kill(os.getpid(), signal.SIGTERM)
    assert handlers == [signal.SIGTERM]


def test_in_another_thread_nothing_is_caught(handlers):
    found = []

    def work() -> None:
        with Interruption() as interruption, children_unaware():
            found.append(interruption.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


@both
def test_children_are_unaware_and_we_are_not(handlers, number):
    with children_unaware():
        child = subprocess.Popen([sys.executable, "-c", "print('up', flush=True); input()"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    assert child.stdout.readline() == b"up\n"
    child.send_signal(number)
    os.kill(os.getpid(), number)
    assert handlers == [number]
    child.communicate(b"\n", timeout=20)
    assert child.returncode == 0


SIGNALS_TO_ALL = """
import os, signal, time
import torch
from mc4ad_model.methods.mc4ad.training_samples import TrainingSamples, load_batches
from mc4ad_model.machine.interruption import Interruption
from tests.support.runs import tiny, toys

if __name__ == "__main__":
    samples = TrainingSamples(toys(), tiny("training.epochs=20"), 0)
    batches = load_batches(samples, range(40), 2, 4, workers=1)
    for number in (signal.SIGINT, signal.SIGTERM):
        with Interruption() as interruption:
            for _ in range(5):  # more than are made in advance
                next(batches)
            os.killpg(0, number)
            time.sleep(0.3)
            for _ in range(5):
                next(batches)
            assert interruption.requested
    print("rest", len(list(batches)))
"""


def test_sample_makers_outlive_a_signal_to_all_processes(tmp_path):
    """Otherwise a run that waits for its next batch could not finish its step and save."""
    pytest.importorskip("torch")
    script = tmp_path / "script.py"
    script.write_text(SIGNALS_TO_ALL)
    root = str(ROOT)
    done = subprocess.run(
        [sys.executable, script], env=os.environ | {"PYTHONPATH": root},
        start_new_session=True, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "rest 20\n", "")
