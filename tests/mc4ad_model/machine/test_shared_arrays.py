# SPDX-License-Identifier: Apache-2.0
"""Samples that several processes share."""

from __future__ import annotations

import gc
import multiprocessing
import os
import weakref
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from mc4ad_model.machine.shared_arrays import SharedSamples, share_arrays


class Rows:
    """Rows of a large array, beside small and empty ones."""

    batch, per_epoch = list, 3

    def __init__(self) -> None:
        self.values = np.arange(3_000_000.0).reshape(3, -1)
        self.names = np.array(["a", "b", "c"])
        self.nothing = np.zeros((0, 4))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, number: int) -> tuple[float, str, tuple[int, ...]]:
        return float(self.values[number].sum()), str(self.names[number]), self.nothing.shape


def other_process(samples: SharedSamples, pipe) -> None:
    status = Path("/proc/self/smaps").read_text()
    mapped = [line for line in status.splitlines() if "memfd" in line]
    pipe.send(([samples[number] for number in range(len(samples))], mapped, samples.per_epoch))


def test_another_process_has_the_same_samples_without_a_copy():
    rows = Rows()
    shared = share_arrays(rows)
    assert [shared[n] for n in range(3)] == [rows[n] for n in range(3)]
    assert len(shared) == 3 and shared.per_epoch == 3 and shared.batch is list
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe()
    process = context.Process(target=other_process, args=(shared, there))
    process.start()
    assert here.poll(60)
    found, mapped, per_epoch = here.recv()
    process.join()
    assert found == [rows[n] for n in range(3)] and per_epoch == 3
    assert mapped or not hasattr(os, "memfd_create")


def test_what_is_shared_keeps_no_copy_and_cannot_be_changed():
    rows = Rows()
    gone = weakref.ref(rows.values)
    shared = share_arrays(rows)
    del rows
    gc.collect()
    assert gone() is None
    with pytest.raises(ValueError, match="read-only"):
        shared.samples.values[0, 0] = 1  # type: ignore[attr-defined]


def test_the_file_is_closed_with_the_samples():
    before = len(os.listdir("/proc/self/fd"))
    shared = share_arrays(Rows())
    assert len(os.listdir("/proc/self/fd")) > before
    del shared
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
