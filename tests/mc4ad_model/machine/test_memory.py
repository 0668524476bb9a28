# SPDX-License-Identifier: Apache-2.0
"""`mc4ad_model.machine.memory`, on the CPU."""

from __future__ import annotations

import platform
import resource
import sys
from pathlib import Path

import pytest

from mc4ad_model.machine.memory import give_back_memory, peak_memory, reset_peak_memory


def test_peak_memory_is_that_of_this_process():
    reset_peak_memory()
    found, kind = peak_memory()
    unit = 1 if sys.platform == "darwin" else 1024
    assert kind == "process"
    assert 10**7 < found <= unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries cannot be asked")
def test_freed_blocks_between_small_ones_are_given_back():
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    blocks = [(bytearray(60_000), bytearray(600)) for _ in range(3000)]  # 180 MB
    small = [few for _, few in blocks]
    del blocks
    give_back_memory()
    before = resident()
    blocks = [(bytearray(60_000), bytearray(600)) for _ in range(3000)]
    small += [few for _, few in blocks]
    full = resident()
    del blocks
    give_back_memory()
    assert full - before > 1e8
    assert resident() - before < 2e7
    assert len(small) == 6000
