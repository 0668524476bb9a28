# SPDX-License-Identifier: Apache-2.0
"""A small campaign, of an import without Blender; `python -m tools.fault_campaign` is the large."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("psutil", reason="pip install '.[dev]'")

from intravariance.seeds import generator
from tools.fault_campaign import FAULTS, not_possible
from tools.fault_jobs import Job, Known, Outcome, check, clear, file_digest

ARGUMENTS = ("import", "folder", "tree", "--jobs", "1", "--out", "out.h5")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "tree" / "train").mkdir(parents=True)
    for number in range(3):
        cloud = np.random.default_rng(number).normal(size=(60, 3))
        np.savetxt(folder / "tree" / "train" / f"{number}.txt", cloud)
    job, start = Job("import", ARGUMENTS, "out.h5", file_digest), time.perf_counter()
    assert job.finish(folder)[0] == 0
    expected = job.result(folder / "out.h5")
    clear(job, folder)
    return Known(job, folder, expected, time.perf_counter() - start)


@pytest.mark.parametrize("name", ["kill", "vanished", "read-only", "clock"])
def test_a_fault_leaves_nothing_behind_and_changes_nothing(known: Known, name: str) -> None:
    if why := not_possible(known.job, name):
        pytest.skip(why)
    outcome = FAULTS[name](known, generator(0, "faults", name), 1)
    assert not outcome.failures
    assert not list(known.folder.glob("out.h5*"))


def test_another_result_and_a_bad_end_are_failures(known: Known) -> None:
    outcome = Outcome()
    check(replace(known, expected="0123"), "other", outcome)
    check(replace(known, job=replace(known.job, arguments=("import", "folder"))), "bad", outcome)
    assert [failure.partition(":")[0] for failure in outcome.failures] == ["other", "bad"]


def test_faults_that_need_more_than_is_there_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path("/no/such/folder")))
    job = Job("import", ARGUMENTS, "out.h5", file_digest)
    assert "needs root" in not_possible(job, "small disk")
    assert "C compiler" in not_possible(job, "clock")
    assert "Blender" in not_possible(job, "signal to Blender")
    assert not_possible(job, "kill") == ""
