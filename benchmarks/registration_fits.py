# SPDX-License-Identifier: Apache-2.0
"""How well clouds fit their own templates, and clouds of other categories.

    OMP_NUM_THREADS=1 python benchmarks/registration_fits.py group2.h5

Thirty of a category's own test clouds and 15 of other categories are registered to its templates.
A deficit says by how many nats a point a cloud is less likely than simulated clouds without a
defect (`mc4ad_model.registration.fits`); a scale is the size of a cloud over that of the template
nearest in size.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from annotations.vocabulary import NORMAL
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import IVError
from intravariance.progress import track
from intravariance.tables import Cell, markdown_table
from mc4ad_model.methods.templates import read_templates, registration_points
from mc4ad_model.registration.fits import FOREIGN, scale_factor, simulate_fits, size_of
from mc4ad_model.registration.poses import Registration

OWN, OTHER = 30, 15
Row = tuple[str, float, float]  # kind of cloud, deficit, scale


def main() -> None:
    """Register clouds of a file and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    try:
        with open_dataset(options.file) as dataset:
            found = [
                row
                for category in track(dataset.categories, len(dataset.categories), "categories")
                for row in measured(dataset, category, rng)
            ]
    except IVError as error:
        parser.exit(error.exit_code, f"registration_fits.py: error: {error}\n")
    heading = ["clouds", "number", "deficit: least", "5 %", "median", "99 %", "largest"]
    rows: list[list[Cell]] = []
    for kind in dict.fromkeys(row[0] for row in found):
        own = np.array([row[1:] for row in found if row[0] == kind])
        deficits = [float(q) for q in np.quantile(own[:, 0], [0, 0.05, 0.5, 0.99, 1])]
        scales = f"{own[:, 1].min():.2f} to {own[:, 1].max():.2f}"
        rows.append([kind, len(own), *deficits, float(np.mean(own[:, 0] <= FOREIGN)), scales])
    print(markdown_table([*heading, f"at most {FOREIGN}", "scale"], rows))


def measured(dataset: Dataset, category: str, rng: np.random.Generator) -> list[Row]:
    """Register clouds to the templates of a category."""
    templates = read_templates(dataset, category)
    points, noise = registration_points(templates, 0), templates.noise_sigma
    registration = Registration([points[i] for i in sorted(points)], noise)
    sizes = [size_of(template) for template in registration.templates]
    fits = simulate_fits(registration, noise, templates.points, rng)
    tests = list(dataset.filter(split="test"))
    own = [r for r in tests if r.category == category][:OWN]
    others = [r for r in tests if r.category != category]
    chosen = [others[i] for i in rng.choice(len(others), min(OTHER, len(others)), replace=False)]
    rows = []
    for record in [*own, *chosen]:
        kind = "normal" if record.defect == NORMAL else "defective"
        kind = kind if record.category == category else "of other categories"
        pose = registration.register(record.points)
        scale = scale_factor(record.points, sizes, noise)
        rows.append((kind, fits.deficit(pose), scale))
    return rows


if __name__ == "__main__":
    main()
