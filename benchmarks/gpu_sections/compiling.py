# SPDX-License-Identifier: Apache-2.0
"""Compiling the Triton kernels of `released` before it is measured, in several processes at once.

Triton keeps what it compiled on disk, so the processes that measure find it there. A kernel that
breaks the device ends one of these processes alone.

    python -m gpu_sections.compiling cuda 'training step' TF32      what each of them runs
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
from sparse_rivals import computing_in, training_step

from gpu_sections.bench import Bench, Case, Finding, python_path, tabulated
from gpu_sections.speed import clouds_of, new_network, precisions
from intravariance.tables import Cell

POINTS, FEW_POINTS, CLOUDS = 2000, 40, 2
INTERPRETED = {"TRITON_INTERPRET": "1"}  # on a processor, where nothing is compiled
NOTE = "Seconds of a process, the test of the backend included, its start not; all ran at once."


def compiling(bench: Bench) -> Iterator[Finding]:
    """Run an inference and a training step of `released` in each precision, each in a process.

    On a processor Triton's interpreter runs the inference alone, to show that the section works.
    """
    if bench.small and not find_spec("triton"):
        yield Finding("Triton kernels of `released`", note="Left out: Triton is not installed.")
        return
    processes = {
        (what, precision): _start(bench, what, precision)
        for what in (["inference"] if bench.small else CALLS)
        for precision in precisions(bench)
    }
    cases = [Case(key, functools.partial(_outcome, one)) for key, one in processes.items()]
    heading = ["what", "precision", "s", "outcome"]
    try:
        # all have the same time, so that one that hangs takes none of what others found
        while bench.left > 0 and any(one.poll() is None for one in processes.values()):
            time.sleep(0.1)
        rows = [[*case.labels, *bench.attempt(case, 2)] for case in cases]
        yield tabulated("Triton kernels of `released`", heading, rows, NOTE)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def _outcome(process: subprocess.Popen[str]) -> list[Cell]:
    if process.poll() is None:
        return ["", "ended, since its time was up"]
    said = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(said.strip()[-150:] or f"status {process.returncode}")
    return [said.split()[-1], "works"]


def _start(bench: Bench, what: str, precision: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gpu_sections.compiling", bench.device.type, what, precision],
        env=os.environ | {"PYTHONPATH": python_path(), **(INTERPRETED if bench.small else {})},
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _inference(bench: Bench, clouds: list[torch.Tensor]) -> Callable[[], object]:
    network = new_network(bench, "released", "triton").eval()
    return lambda: network.predict(clouds)


def _training(bench: Bench, clouds: list[torch.Tensor]) -> Callable[[], object]:
    return training_step(new_network(bench, "released", "triton"), clouds)


CALLS = {"inference": _inference, "training step": _training}


def main(device: str, what: str, precision: str) -> None:
    """Make a network and call it once; print the seconds."""
    start = time.monotonic()
    bench = Bench(torch.device(device), start + 600, 600, Path(tempfile.gettempdir()))
    with computing_in(precision, bench.device):
        CALLS[what](bench, clouds_of(bench, FEW_POINTS if bench.small else POINTS, CLOUDS))()
        bench.synchronise()
    print(f"{time.monotonic() - start:.0f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
