# SPDX-License-Identifier: Apache-2.0
"""`mc4ad_model.machine.memory`, on the CPU."""

from __future__ import annotations

import platform
import resource
import sys
from pathlib import Path

import pytest

from intravariance.errors import InputError
from mc4ad_model.machine.memory import (
    enough_device_memory,
    give_back_memory,
    peak_memory,
    reset_peak_memory,
)


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


# as torch 2.13 says it
FULL = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.25 GiB of "
    "which 10.50 GiB is free. Of the allocated memory 60.00 GiB is allocated by PyTorch, and "
    "1.00 GiB is reserved by PyTorch but unallocated."
)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        (FULL, "20.00 GiB asked for, 10.50 GiB free, 79.25 GiB in total"),
        ("Allocation on device", "Allocation on device"),  # of another allocator
    ],
)
def test_a_full_gpu_is_said_with_what_to_do(text, sizes):
    torch = pytest.importorskip("torch")
    with pytest.raises(InputError) as raised, enough_device_memory("vase: training mc4ad"):
        raise torch.cuda.OutOfMemoryError(text)
    message = str(raised.value)
    assert message.startswith(f"vase: training mc4ad: the GPU has not enough memory ({sizes})")
    assert "smaller batch" in message
    assert "--device cpu" in message


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "Triton Error [CUDA]: out of memory",
    ],
)
def test_a_gpu_that_others_have_filled_is_said_too(text):
    pytest.importorskip("torch")
    with pytest.raises(InputError, match="end what else uses the GPU"), enough_device_memory("x"):
        raise RuntimeError(text)


def test_other_errors_of_torch_are_passed_on():
    with pytest.raises(RuntimeError, match="shapes"), enough_device_memory("x"):
        raise RuntimeError("shapes")
