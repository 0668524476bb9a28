# SPDX-License-Identifier: Apache-2.0
"""Datasets to export: with every kind of sample, and clouds as large as readers ask for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.store import Dataset, Sample
from intravariance.exchange.exporting.tree import Written, write_tree
from intravariance.exchange.layouts import WRITERS, ExportOptions
from intravariance.executors.serial import SerialExecutor
from tests.support.samples import make_dataset

POINTS = (2048, 2100)
# Names with an underscore and with a digit at the end, as users may choose them.
CATEGORIES = (
    Category("night_stand", ("flat_brick", "tall_brick"), 2, 3, {"bulge": 2, "crack": 2}),
    Category("vase2", ("round_ball", "long_ball"), 2, 2, {"missing": 1, "bulge": 1}),
)
SPECIFICATION = Specification("exported", "Exported", POINTS, CATEGORIES)


def make_exportable(path: Path, sigma: float = 0.002) -> Path:
    """Write a dataset file of SPECIFICATION."""

    def change(sample: Sample, rng: np.random.Generator) -> Sample:
        if sample.defect != "crack":
            return sample
        cut = (np.arange(len(sample.points)) < 40).astype(np.uint8)
        moved = np.where(cut[:, None] == 1, np.nan, np.zeros_like(sample.points))
        return replace(sample, labels=cut, displacement=moved.astype(np.float32))

    return make_dataset(path, SPECIFICATION, sigma=sigma, change=change)


@contextmanager
def plain_folder() -> Iterator[Path]:
    """Make a temporary folder whose path has no word that readers stumble over.

    Pytest's own have one.
    """
    words = {word for layout in WRITERS.values() for word in layout.RULES.path_words}
    for parent in (None, "/tmp"):
        for _ in range(20):  # a random name may have such a word too
            with tempfile.TemporaryDirectory(prefix="iv_", dir=parent) as name:
                if not any(word in name for word in words):
                    yield Path(name)
                    return
    pytest.skip("the folder for temporary files has `test`, `temp`, `good` or `positive` in it")


def export_to(dataset: Dataset, layout: str, out: Path, **options: object) -> Written:
    """Call `write_tree` with the layout's own options, or others."""
    rules = WRITERS[layout].RULES
    sigma = float(dataset.metadata["identity"]["noise_sigma"])
    chosen = ExportOptions(rules.spellings[0], rules.delimiters[0], sigma)
    return write_tree(
        WRITERS[layout],
        dataset,
        out,
        replace(chosen, **options),  # type: ignore[arg-type]
        SerialExecutor(),
        quiet=True,
    )
