# SPDX-License-Identifier: Apache-2.0
"""The precisions that a machine can compute in at a useful speed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CPU_FLAGS = Path("/proc/cpuinfo")
# As Linux names them: x86-64's AVX-512 and AMX instructions, and aarch64's.
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def bfloat16_is_native(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 numbers itself, instead of through float32.

    A processor whose flags cannot be read counts as one that does.
    """
    if device.type != "cpu":
        import torch  # noqa: PLC0415 - weight

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        lines = CPU_FLAGS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return True
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in
             line.partition(":")[2].split()}  # fmt: skip
    return not flags or bool(flags & BFLOAT16_FLAGS)


def slow_bfloat16(device: torch.device) -> str:
    """Return a warning where bfloat16 is slow on the device, "" where it is not."""
    if bfloat16_is_native(device):
        return ""
    if device.type == "cpu":
        found = (
            "this processor has no bfloat16 arithmetic. On such a processor (Zen 3) an inference "
            "took 16.9 s that takes 0.5 s in float32"
        )
    else:
        found = "this GPU has no bfloat16 arithmetic, and computes through float32"
    return f"training.precision = bfloat16: {found}; take --set training.precision=float32"


def without_tf32(device: torch.device) -> str:
    """Return a warning where a device has no TF32, "" where it has."""
    import torch  # noqa: PLC0415 - weight

    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return ""
    return "training.precision = tf32: this device has no TF32, and computes in float32"


@contextmanager
def multiplying_in(precision: str, device: torch.device) -> Iterator[None]:
    """Let a GPU round the factors of float32 products to TF32 meanwhile, if precision is "tf32"."""
    import torch  # noqa: PLC0415 - weight

    if precision != "tf32" or device.type != "cuda":
        yield  # torch's settings are not even read: it refuses that where newer ones are in use
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
