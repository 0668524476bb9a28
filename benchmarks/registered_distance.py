# SPDX-License-Identifier: Apache-2.0
"""What registration alone detects: no network, no training, the distance from the nearest template.

The preset quick registers test clouds before its network sees them. How much of its result is the
registration's? This scores each point, after the same registration, by its offset from the nearest
point of the template ("raw"), or by the length of the mean offset of its neighbourhood ("smooth"),
and evaluates that as `iv evaluate` does.

    python benchmarks/registered_distance.py group2.h5
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from intravariance.dataset.store import Dataset, open_dataset
from intravariance.tables import Cell, markdown_table
from mc4ad_model.evaluation.evaluate import evaluate_category
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.mc4ad.training_samples import read_training_data, registration_points
from mc4ad_model.registration.poses import Registration
from mc4ad_model.runs.jobs import evaluated_records

NEIGHBOURS = 40  # of about 10,000 points: a patch of a radius of 0.1 or so


def offsets(registration: Registration, points: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, 3) from the nearest template point to each point, in the template's frame."""
    pose = registration.register(points)
    moved = points @ pose.rotation + pose.shift
    tree = cKDTree(registration.templates[pose.template])
    return np.asarray(moved - tree.data[tree.query(moved)[1]])


def detectors(registration: Registration) -> dict[str, Callable[..., NDArray[np.float64]]]:
    """Points (N, 3) to scores (N,), by name."""

    def raw(points: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(offsets(registration, points), axis=1))

    def smooth(points: NDArray[np.float32]) -> NDArray[np.float64]:
        _, neighbours = cKDTree(points).query(points, NEIGHBOURS)
        means = offsets(registration, points)[neighbours].mean(axis=1)
        return np.asarray(np.linalg.norm(means, axis=1))

    return {"raw": raw, "smooth": smooth}


def rows(dataset: Dataset) -> list[list[Cell]]:
    config = RunConfig.load("quick")
    found: list[list[Cell]] = []
    for category in dataset.categories:
        data = read_training_data(dataset, category, config)
        templates = registration_points(data, seed=0)
        registration = Registration([templates[name] for name in sorted(templates)])
        row: list[Cell] = [category]
        for detector in detectors(registration).values():
            evaluation = evaluate_category(
                evaluated_records(dataset, category), detector, config.scoring
            )
            row += [evaluation.metrics.o_auroc, evaluation.metrics.p_auroc]
        found.append(row)
    means = np.mean([row[1:] for row in found], axis=0)  # type: ignore[arg-type]
    return [*found, ["mean", *map(float, means)]]


def main() -> None:
    with open_dataset(Path(sys.argv[1])) as dataset:
        heading = ["category", "raw O-AUROC", "raw P-AUROC", "smooth O-AUROC", "smooth P-AUROC"]
        print(markdown_table(heading, rows(dataset)))


if __name__ == "__main__":
    main()
