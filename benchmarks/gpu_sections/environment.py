# SPDX-License-Identifier: Apache-2.0
"""The machine and the software of a run."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from importlib.metadata import distributions

import torch

from gpu_sections.bench import Bench, Finding, tabulated

# spconv's wheels are named after their CUDA: spconv-cu121
PACKAGES = re.compile(r"(numpy|scipy|h5py|triton|spconv(-cu\d+)?|MinkowskiEngine)", re.IGNORECASE)


def environment(bench: Bench) -> Iterator[Finding]:
    """Report the device, its driver, and the versions of everything that computes."""
    rows = [
        ["machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"],
        ["threads of torch on the CPU", str(torch.get_num_threads())],
        ["Python", platform.python_version()],
        ["torch", torch.__version__],
        ["device", "CPU"],
    ]
    if bench.device.type == "cuda":
        found = torch.cuda.get_device_properties(bench.device)
        rows[-1] = ["device", f"{found.name}, {found.total_memory / 2**30:.0f} GiB"]
        rows += [
            ["driver, clock, power limit", _driver()],
            ["compute capability", f"{found.major}.{found.minor}"],
            ["multiprocessors", str(found.multi_processor_count)],
            ["CUDA of torch", str(torch.version.cuda)],
        ]
    for distribution in distributions():
        name = str(distribution.metadata["Name"])
        if PACKAGES.fullmatch(name):
            rows.append([name, distribution.version])
    yield tabulated("Machine and software", ["what", "found"], rows)


def _driver() -> str:
    """Return what nvidia-smi says of the first device."""
    command = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit"]
    command += ["--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown: {error}"
    return done.stdout.strip()
