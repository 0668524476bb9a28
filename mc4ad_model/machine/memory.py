# SPDX-License-Identifier: Apache-2.0
"""The largest amount of memory that was in use, and freed memory given back."""

from __future__ import annotations

import ctypes
import resource
import sys
from typing import Any


def _cuda() -> Any:
    """Return torch.cuda when it is in use, else None; a method without torch need not load it."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def reset_peak_memory() -> None:
    """Count from now on, on a GPU; a process's largest resident size cannot be reset."""
    if cuda := _cuda():
        cuda.reset_peak_memory_stats()


def peak_memory() -> tuple[int, str]:
    """Return bytes, and of what: "cuda" or "process".

    On "cuda" it is what torch allocated at most, else the largest resident size of the process.
    """
    if cuda := _cuda():
        return int(cuda.max_memory_allocated()), "cuda"
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size * (1 if sys.platform == "darwin" else 1024), "process"


def give_back_memory() -> None:
    """Give memory that was freed back to the system, where the C library can do it (glibc).

    A network allocates large blocks between small ones that stay, and the C library keeps them when
    they are freed: with glibc 2.36 a process that encoded clouds by Point-MAE grew by some 2 MB
    with each.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
