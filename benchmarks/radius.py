# SPDX-License-Identifier: Apache-2.0
"""How much of a run's P-AUROC comes from where defects lie, rather than from seeing them.

    python benchmarks/radius.py group2.h5 runs/btf board/runs/reg3d_ad/seed-0

For each evaluated run it prints the P-AUROC, that among points of like distance from their cloud's
centroid, and the rank correlation of scores with that distance: means over the categories. Points
are alike that lie between the same two of 40 quantiles of the distance in their category, and each
such class counts by its pairs. The first row is the distance itself as a score.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from intravariance.auroc import auroc
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError, IVError
from intravariance.tables import markdown_table
from mc4ad_model.evaluation.results import evaluated_samples, read_results
from mc4ad_model.methods.shortcuts import centroid_distances

CLASSES = 40
Points = tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]


def main() -> None:
    """Print the table of some runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of evaluated runs")
    options = parser.parse_args()
    rows: list[tuple[str, list[float]]] = []
    try:
        with open_dataset(options.file) as dataset:
            for number, run in enumerate(options.runs):
                points = list(points_of(run, dataset))
                if not number:
                    itself = [(truth, radii, radii) for truth, _, radii in points]
                    rows.append(("distance from the centroid", means(itself)))
                rows.append((str(run), means(points)))
    except IVError as error:
        raise SystemExit(f"error: {error}") from error
    heads = ("run", "P-AUROC", "at like distance", "rank correlation")
    print(markdown_table(heads, [[name, *(f"{x:.3f}" for x in found)] for name, found in rows]))


def points_of(run: Path, dataset: Dataset) -> Iterator[Points]:
    """Yield truth, scores and distances (M,) of the test points of each category of a run."""
    folders = sorted(path.parent for path in run.glob("*/evaluation/metrics.json"))
    if not folders:
        raise InputError(f"{run}: expected the folder of an evaluated run (iv evaluate --run)")
    for folder in folders:
        results = read_results(folder)
        truth, scores, radii = [], [], []
        for record in evaluated_samples(results, dataset):
            truth.append(record.labels > 0)
            scores.append(results.evaluation.point_scores[record.id].astype(np.float64))
            radii.append(centroid_distances(record.points))
        yield np.concatenate(truth), np.concatenate(scores), np.concatenate(radii)


def means(categories: list[Points]) -> list[float]:
    """Return the three figures, each the mean over categories."""
    found = [
        (auroc(truth, scores), among_like(truth, scores, radii), spearmanr(scores, radii)[0])
        for truth, scores, radii in categories
    ]
    return [float(x) for x in np.mean(found, axis=0)]


def among_like(
    truth: NDArray[np.bool_], scores: NDArray[np.float64], radii: NDArray[np.float64]
) -> float:
    """Return the AUROC (all arguments (M,)) within classes of radii, weighed by their pairs."""
    edges = np.quantile(radii, np.linspace(0, 1, CLASSES + 1)[1:-1])
    classes, won, pairs = np.searchsorted(edges, radii), 0.0, 0
    for number in range(CLASSES):
        own = classes == number
        defective = int(truth[own].sum())
        if count := defective * (int(own.sum()) - defective):
            won, pairs = won + count * auroc(truth[own], scores[own]), pairs + count
    return won / pairs


if __name__ == "__main__":
    main()
