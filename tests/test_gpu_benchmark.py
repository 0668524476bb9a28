# SPDX-License-Identifier: Apache-2.0
"""`benchmarks/gpu.py` on a processor: a device is at hand for minutes, and it must not fail."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
SCRIPT = BENCHMARKS / "gpu.py"
# Where Triton is not installed, parity has no row for it and fails: it has tests of its own.
SECTIONS = [
    "environment", "kernels", "goals", "evaluation", "speed", "training", "layers", "profile",
    "choices", "registration", "released",
]  # fmt: skip


def command(folder, *arguments):
    return [sys.executable, str(SCRIPT), "--device", "cpu", "--out", str(folder), *arguments]


def run(folder, *arguments, **environment):
    return subprocess.run(
        command(folder, *arguments),
        env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def recorded(folder):
    return json.loads((folder / "gpu.json").read_text())


@pytest.fixture
def bench(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from gpu_sections.bench import Bench  # noqa: PLC0415 - its folder is no package of ours

    made = Bench(torch.device("cpu"), time.monotonic() + 60, 60.0, tmp_path)
    made.begin(1.0, last=True)
    return made


def test_every_section_runs_to_a_finding(tmp_path):
    done = run(tmp_path, "--minutes", "10", "--only", *SECTIONS)
    assert done.returncode == 0, done.stderr
    record = recorded(tmp_path)
    assert list(record) == ["command", *SECTIONS]
    for name in SECTIONS:
        assert record[name]["findings"], name
        assert not {"error", "failed rows", "left out"} & set(record[name]), name
    assert (tmp_path / "gpu.md").read_text() in done.stdout


def test_parity_reports_each_test(bench):
    from gpu_sections.parity import parity  # noqa: PLC0415 - see the fixture

    plain = next(parity(bench))
    assert plain.table.count("test_combined_loss") == plain.table.count("passed") == 2


def test_no_section_begins_without_time(tmp_path):
    late = run(tmp_path, "--minutes", "0", "--only", "environment")
    assert late.returncode == 0
    assert "Left out: no time was left." in late.stdout


def test_a_process_that_cannot_begin_is_no_success(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.13')")
    done = run(tmp_path / "out", "--minutes", "5", "--only", "goals", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1 and "libcudart.so.13" in done.stderr
    assert "ended with status 1 before it began" in recorded(tmp_path / "out")["goals"]["error"]


def test_results_of_an_earlier_call_are_kept(tmp_path):
    assert run(tmp_path, "--minutes", "0", "--only", "environment").returncode == 0
    before = recorded(tmp_path)
    again = run(tmp_path, "--minutes", "0", "--only", "goals")
    assert again.returncode == 2 and "earlier call" in again.stderr
    assert recorded(tmp_path) == before


def test_a_section_that_fails_is_reported_and_the_next_one_runs(tmp_path):
    broken = tmp_path / "broken.h5"
    broken.write_bytes(b"no HDF5 file")
    sections = ("evaluation", "registration")
    done = run(tmp_path, "--minutes", "2", "--data", str(broken), "--only", *sections)
    assert done.returncode == 1
    record = recorded(tmp_path)
    assert all(str(broken) in record[name]["error"] for name in sections)


def test_where_the_process_ends_another_one_goes_on_with_the_next_section(tmp_path):
    psutil = pytest.importorskip("psutil")
    process = subprocess.Popen(
        command(tmp_path, "--minutes", "5", "--only", "environment", "goals", "layers"),
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while "goals" not in (recorded(tmp_path) if (tmp_path / "gpu.json").exists() else {}):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for child in psutil.Process(process.pid).children():
        child.kill()
    assert process.wait() == 1
    record = recorded(tmp_path)
    assert record["environment"]["findings"]
    assert record["goals"]["error"] == "the process ended within it"
    assert record["layers"]["findings"]
    assert "error" not in record["layers"]


def test_a_row_that_fails_holds_its_error_and_leaves_the_others(bench):
    from gpu_sections.bench import Case  # noqa: PLC0415 - see the fixture

    def fails():
        raise torch.cuda.OutOfMemoryError("tried to allocate\nmuch")

    cases = [Case(["a"], lambda: [1, 2]), Case(["b"], fails), Case(["c"], lambda: [3, 4])]
    *_, last = bench.table("T", ["row", "x", "y"], cases)
    found = [line.strip("|").split("|") for line in last.table.splitlines()[2:]]
    assert [[cell.strip() for cell in row] for row in found] == [
        ["a", "1", "2"], ["b", "OutOfMemoryError: tried to allocate much", ""], ["c", "3", "4"]
    ]  # fmt: skip
    assert bench.failures == 1


def test_a_section_whose_time_is_up_keeps_its_rows(bench):
    from gpu_sections.bench import Case  # noqa: PLC0415 - see the fixture

    bench.begin(0.3 / bench.total, last=False)
    cases = [Case([n], lambda: [time.sleep(0.2)]) for n in range(5)]
    found = list(bench.table("T", ["row", "x"], cases))
    assert 1 <= len(found) <= 2
    assert bench.left_out == 5 - len(found)
    assert found[-1].table.count("\n") == 1 + len(found)


def test_a_kernel_belongs_to_the_first_kind_that_its_name_says(bench):
    from gpu_sections.profiling import KINDS, kind  # noqa: PLC0415 - see the fixture

    parts = KINDS | {"our Triton kernels": ("convolve_tiles",)}
    assert kind("convolve_tiles", parts) == "our Triton kernels"
    assert kind("nvjet_sm90_tst_128x64", parts) == "matrix products"
    assert kind("void at::native::index_elementwise_kernel", parts) == "gathering and sums"
    assert kind("Memcpy DtoH", parts) == "copies"
    assert kind("something", parts) == "the rest"
