# SPDX-License-Identifier: Apache-2.0
"""The largest amount of memory that was in use, freed memory given back, and too little of it."""

from __future__ import annotations

import ctypes
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from intravariance.errors import InputError

# of torch's error, as it words them
_SIZES = {
    "asked for": "Tried to allocate",
    "free": "of which",
    "in total": "has a total capacity of",
}


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

    On "cuda" it is what torch allocated at most, else the largest resident size of the process, as
    where a GPU was looked at and not used.
    """
    if (cuda := _cuda()) and (allocated := int(cuda.max_memory_allocated())):
        return allocated, "cuda"
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


def is_full(error: Exception) -> bool:
    """Tell whether an error is of a full device: torch's own, or of CUDA and its libraries, which
    cannot even begin where others have filled it."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, RuntimeError):
        return False
    said = ("CUDA error: out of memory", "[CUDA]: out of memory", "ALLOC_FAILED")
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(s in str(error) for s in said)


@contextmanager
def enough_device_memory(what: str) -> Iterator[None]:
    """Turn torch's error of a device that has no memory left into an InputError.

    what : what needs it, the beginning of the message

    Raises
    ------
    InputError
        The device has not enough memory; said with what was asked for, free and there in total.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_full(error):
            raise
        sizes = [re.search(rf"{words} ([\d.]+ \w+)", str(error)) for words in _SIZES.values()]
        found = [f"{found[1]} {name}" for name, found in zip(_SIZES, sizes, strict=True) if found]
        raise InputError(
            f"{what}: the GPU has not enough memory ({', '.join(found) or error}). Take a smaller "
            "batch (--set, in training) or clouds of fewer points, end what else uses the GPU, or "
            "take --device cpu"
        ) from error
