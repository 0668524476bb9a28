# SPDX-License-Identifier: Apache-2.0
"""A box as a mesh, in millimetres and far from 0, and scans of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray

from intravariance.cloud_files import write_text
from tests.support.foreign_trees import write_tree

SIZE, PLACE = np.array([30.0, 20.0, 10.0]), np.array([500.0, -40.0, 7.0])


def box() -> trimesh.Trimesh:
    """Make a box in millimetres, far from 0."""
    mesh = trimesh.creation.box(SIZE)
    mesh.apply_translation(PLACE)
    return mesh


def scan(count: int, seed: int) -> NDArray[np.float64]:
    points, _ = trimesh.sample.sample_surface(box(), count, seed=seed)
    return np.asarray(points)


def tree(root: Path, kind: str, mesh: trimesh.Trimesh | None = None) -> Path:
    """Write a template of a kind of file, and two good scans of 90 and 110 points."""
    files = {
        f"train/nominal.{kind}": (mesh or box()).export(file_type=kind),
        "test/good/0.xyz": write_text(scan(90, 0)),
        "test/good/1.xyz": write_text(scan(110, 1)),
    }
    return write_tree(
        root, {n: data.encode() if isinstance(data, str) else data for n, data in files.items()}
    )
