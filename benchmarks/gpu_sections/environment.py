# SPDX-License-Identifier: Apache-2.0
"""The machine and the software of a run."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import torch

from gpu_sections.bench import Bench, Finding, tabulated

PACKAGES = ("numpy", "scipy", "h5py", "triton", "spconv", "MinkowskiEngine")


def environment(bench: Bench) -> Iterator[Finding]:
    """Report the device, its driver, and the versions of everything that computes."""
    rows = [
        ["machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"],
        ["Python", platform.python_version()],
        ["torch", torch.__version__],
        ["device", "CPU"],
    ]
    if bench.device.type == "cuda":
        found = torch.cuda.get_device_properties(bench.device)
        rows[-1] = ["device", f"{found.name}, {found.total_memory / 2**30:.0f} GiB"]
        rows += [
            ["compute capability", f"{found.major}.{found.minor}"],
            ["multiprocessors", str(found.multi_processor_count)],
            ["CUDA of torch", str(torch.version.cuda)],
        ]
    for package in PACKAGES:
        try:
            rows.append([package, version(package)])
        except PackageNotFoundError:
            rows.append([package, "not installed"])
    yield tabulated("Machine and software", ["what", "found"], rows)
