# SPDX-License-Identifier: Apache-2.0
"""The programs in examples/ run, for a few steps, on a small file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from tests import ROOT
from tests.support.extensions import lines_of_code
from tests.support.samples import make_dataset, small_specification

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_is_short(path: Path, tmp_path: Path) -> None:
    assert lines_of_code(path.read_text()) <= 40
    data = make_dataset(tmp_path / "d.h5", small_specification((1030, 1060), 1, 1))
    result = subprocess.run(
        [sys.executable, path, data, "--steps", "8"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    losses = [float(value) for value in re.findall(r"cross-entropy ([\d.]+)", result.stdout)]
    assert len(losses) == 2 and losses[1] < losses[0]
    assert re.search(r"\d+ of 6 test clouds", result.stdout)
