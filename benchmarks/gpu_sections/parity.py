# SPDX-License-Identifier: Apache-2.0
"""Parity with the CPU's float64: the tests marked `cuda`, run on the device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from gpu_sections.bench import Bench, Finding, python_path, tabulated
from gpu_sections.line_reports import LINES
from intravariance.tables import Cell

ROOT = Path(__file__).resolve().parents[2]
TESTS = "tests/mc4ad_model/test_cuda.py"
NOTE = (
    "Error: the largest difference from float64 on the CPU, as a share of the largest value. "
    "Where the time is up, the tests that are done by then are here."
)


def parity(bench: Bench) -> Iterator[Finding]:
    """Run `pytest -m cuda` and tabulate each test's largest error.

    Triton's tests have a process of their own: a kernel that fails may take the others with it. On
    a CPU two of all tests show that this works; `IV_TEST_DEVICE=cpu pytest -m cuda` runs the rest.

    Raises
    ------
    RuntimeError
        pytest reported nothing although it had the time, or a test did not pass.
    """
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()  # other processes compute
    missed = list[Cell]()
    chosen = ("combined_loss", "triton_network") if bench.small else ("not triton", "triton")
    for title, tests, share in zip(("Plain torch", "Triton"), chosen, (0.6, 1.0), strict=True):
        lines = bench.scratch / f"parity-{title.split()[-1]}.jsonl"
        lines.unlink(missing_ok=True)
        seconds = max(10.0, share * bench.left)
        said = _pytest(bench, tests, lines, seconds)
        if said is None:
            said = f"ended after {seconds:.0f} s"
            if not lines.exists():
                bench.left_out += 1
                yield Finding(title, note=f"Left out: {said}, before the first test was done.")
                continue
        if not lines.exists():
            missed.append(f"{title}, of which pytest reported no test: {said[-500:]}")
            continue
        done = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
        rows = [[t["test"], t["outcome"], t.get("error"), t.get("same_bits")] for t in done]
        last = said.strip().splitlines()[-1:]
        heading = ["test", "outcome", "error", "the same bits twice"]
        yield tabulated(f"{title} ({''.join(last)})", heading, rows, NOTE)
        passing = ("passed", "skipped") if bench.small else ("passed",)
        missed += [row[0] for row in rows if row[1] not in passing]
    if missed:
        raise RuntimeError(f"did not pass: {', '.join(map(str, missed))}")


def _pytest(bench: Bench, chosen: str, lines: Path, seconds: float) -> str | None:
    """Run the tests; return what pytest said, None where its time was up and it was ended."""
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "-k", chosen, "-q", TESTS]
    # A deprecation in other versions than ours is no difference from the CPU.
    command += ["-p", "no:cacheprovider", "-p", "gpu_sections.line_reports"]
    command += ["-o", "filterwarnings=default"]
    own = {"IV_TEST_DEVICE": bench.device.type, LINES: str(lines), "PYTHONPATH": python_path()}
    if bench.small:
        own["TRITON_INTERPRET"] = "1"
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | own, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return None
    return done.stdout
