# SPDX-License-Identifier: Apache-2.0
"""The parent's side of `sources.reading`: one limited child process for each foreign file."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

import intravariance
from intravariance.errors import InputError
from intravariance.geometry.mesh import mesh_from_arrays
from intravariance.sources.repair import Repaired

MEMORY_LIMIT = 4 * 2**30  # bytes of address space; a mesh of a million faces takes about 1 GiB
TIME_LIMIT = 300  # seconds of processor time; the slowest of 62 meshes took 20
# Of wall time for each second of processor time. Only a child that waits for ever meets this one:
# a busy machine must not refuse what a free one takes.
PATIENCE = 20


def read_and_repair(
    data: bytes, file_format: str, memory: int = MEMORY_LIMIT, seconds: int = TIME_LIMIT
) -> Repaired:
    """Return what `repair.make_base_mesh` makes of a file's bytes.

    memory : bytes; seconds : of processor time. Raises InputError with the reason when the file
    cannot be used, also when the child process was stopped by its limits or died.
    """
    # -P keeps the current folder, which may hold anything, off the child's import path.
    command = [sys.executable, "-P", "-m", "intravariance.sources.reading", file_format]
    package_folder = str(Path(intravariance.__file__).parents[1])
    search_path = [package_folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    # Threads' stacks count as address space, and there is a child for each job already.
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    try:
        child = subprocess.run(
            [*command, str(memory), str(seconds)],
            input=data,
            capture_output=True,
            timeout=PATIENCE * seconds,
            env=os.environ | threads | {"PYTHONPATH": os.pathsep.join(search_path)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"it was not read within {PATIENCE * seconds} s") from None
    if child.returncode != 0:
        raise InputError(_reason(child, memory, seconds))
    with np.load(io.BytesIO(child.stdout), allow_pickle=False) as arrays:
        return Repaired(
            mesh_from_arrays(arrays["vertices"], arrays["faces"]),
            float(arrays["surface_error"]),
            float(arrays["unit_radius"]),
            str(arrays["repair"]),
            tuple(map(float, arrays["centre"])),  # type: ignore[arg-type]
        )


def _reason(child: subprocess.CompletedProcess[bytes], memory: int, seconds: int) -> str:
    last_line = (child.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
    if child.returncode == 2:
        return last_line
    if child.returncode == -getattr(signal, "SIGXCPU", 0):
        return f"it was not read within {seconds} s of processor time"
    return (
        f"the process reading it (limit {memory / 2**30:g} GiB) ended with code "
        f"{child.returncode}: {last_line}"
    )
