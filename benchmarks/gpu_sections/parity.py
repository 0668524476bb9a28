# SPDX-License-Identifier: Apache-2.0
"""Parity with the CPU's float64: the tests marked `cuda`, run on the device."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from gpu_sections.bench import Bench, Finding, tabulated

ROOT = Path(__file__).resolve().parent.parent.parent
TESTS = "tests/mc4ad_model/test_cuda.py"


def parity(bench: Bench) -> Iterator[Finding]:
    """Run `pytest -m cuda` and tabulate each test's largest error.

    Raises
    ------
    RuntimeError
        pytest reported nothing, or a test did not pass.
    """
    report = (bench.out / "parity.xml").resolve()
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "-q", "-p", "no:cacheprovider"]
    command += [f"--junitxml={report}", "-o", "junit_family=xunit1", TESTS]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"IV_TEST_DEVICE": bench.device.type},
        capture_output=True,
        text=True,
        check=False,
        timeout=max(30.0, bench.left),
    )
    if not report.exists():
        raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout[-2000:]}")
    rows = []
    for case in ET.parse(report).iter("testcase"):
        values = {p.get("name"): p.get("value") for p in case.iter("property")}
        bad = [child for child in case if child.tag in ("failure", "error", "skipped")]
        outcome = bad[0].tag if bad else "passed"
        rows.append([case.get("name", ""), outcome, values.get("error"), values.get("same_bits")])
    note = "Error: the largest difference from float64 on the CPU, as a share of the largest value."
    yield tabulated(
        f"Parity with the CPU ({done.stdout.strip().splitlines()[-1]})",
        ["test", "outcome", "error", "the same bits twice"],
        rows,
        note,
    )
    if missed := [row[0] for row in rows if row[1] != "passed"]:
        raise RuntimeError(f"did not pass: {', '.join(map(str, missed))}")
