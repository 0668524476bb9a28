# SPDX-License-Identifier: Apache-2.0
"""Hand labels through `iv labels`: helpers that give clouds out, edit them, and take them back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result

from intravariance.cloud_files import read_cloud, write_ply
from intravariance.commands.labels import labels_command
from intravariance.dataset.store import open_dataset


def invoke(*arguments: object) -> Result:
    """Run a command; InputError goes through, as to the `iv` group."""
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(labels_command, words, catch_exceptions=False)


def run(*arguments: object) -> str:
    result = invoke(*arguments, "--quiet")
    assert result.exit_code == 0, result.output
    return result.stdout


def ids(file: Path, defect: str) -> list[str]:
    with open_dataset(file) as dataset:
        return [record.id for record in dataset if record.defect == defect]


def edit(folder: Path, id: str, labels: np.ndarray, order: np.ndarray | None = None) -> None:
    """Save the cloud with other labels; order : which rows, in which order."""
    cloud = read_cloud(folder / f"{id}.ply")
    order = np.arange(len(labels)) if order is None else order
    data = write_ply(cloud.points[order], None, labels[order], "scalar_label", "float")
    (folder / f"{id}.ply").write_bytes(data)


def some_labels(file: Path, id: str, seed: int = 0) -> np.ndarray:
    """Make random labels, so that every error in the order of points shows."""
    with open_dataset(file) as dataset:
        count = dataset[id].n_points
    return np.random.default_rng(seed).integers(0, 2, count).astype(np.uint8)
