# SPDX-License-Identifier: Apache-2.0
"""`mc4ad_model.machine.memory`, on the CPU."""

from __future__ import annotations

import resource
import sys

from mc4ad_model.machine.memory import peak_memory, reset_peak_memory


def test_peak_memory_is_that_of_this_process():
    reset_peak_memory()
    found, kind = peak_memory()
    unit = 1 if sys.platform == "darwin" else 1024
    assert kind == "process"
    assert 10**7 < found <= unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
