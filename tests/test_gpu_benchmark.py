# SPDX-License-Identifier: Apache-2.0
"""`benchmarks/gpu.py` on a processor: a device is at hand for minutes, and it must not fail."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "gpu.py"


def run(folder, *arguments):
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--out", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_sections_write_tables_and_time_is_kept(tmp_path):
    done = run(tmp_path, "--minutes", "2", "--only", "environment", "layers", "profile")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert list(record) == ["command", "environment", "layers", "profile"]
    assert all("error" not in record[name] for name in ("environment", "layers", "profile"))
    assert (tmp_path / "gpu.md").read_text() in done.stdout
    late = run(tmp_path, "--minutes", "0", "--only", "environment")
    assert late.returncode == 0
    assert "Left out: no time was left." in late.stdout


def test_a_section_that_fails_is_reported_and_the_next_one_runs(tmp_path):
    broken = tmp_path / "broken.h5"
    broken.write_bytes(b"no HDF5 file")
    sections = ("evaluation", "registration")
    done = run(tmp_path, "--minutes", "2", "--data", str(broken), "--only", *sections)
    assert done.returncode == 1
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert all(str(broken) in record[name]["error"] for name in sections)
