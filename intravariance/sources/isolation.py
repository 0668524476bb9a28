# SPDX-License-Identifier: Apache-2.0
"""The parent's side of `sources.reading`: one limited child process for each foreign file."""

from __future__ import annotations

import io

import numpy as np

from intravariance.executors.limited import MEMORY_LIMIT, TIME_LIMIT, run_limited
from intravariance.geometry.mesh import mesh_from_arrays
from intravariance.sources.repair import Repaired


def read_and_repair(
    data: bytes, file_format: str, memory: int = MEMORY_LIMIT, seconds: int = TIME_LIMIT
) -> Repaired:
    """Return what `repair.make_base_mesh` makes of a file's bytes.

    memory : bytes; seconds : of processor time. Raises InputError with the reason when the file
    cannot be used, also when the child process was stopped by its limits or died.
    """
    made = run_limited("intravariance.sources.reading", [file_format], data, memory, seconds)
    with np.load(io.BytesIO(made), allow_pickle=False) as arrays:
        return Repaired(
            mesh_from_arrays(arrays["vertices"], arrays["faces"]),
            float(arrays["surface_error"]),
            float(arrays["unit_radius"]),
            str(arrays["repair"]),
            tuple(map(float, arrays["centre"])),  # type: ignore[arg-type]
        )
