# SPDX-License-Identifier: Apache-2.0
"""A small tree of scans, of which some have no labels, and files made of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from intravariance.cloud_files import write_text
from intravariance.dataset.store import Dataset, Sample, open_dataset
from intravariance.exchange.importing.run import ImportSettings, import_dataset
from intravariance.executors.serial import SerialExecutor
from tests.support.foreign_trees import ball, write_tree
from tests.support.samples import make_dataset


def some_scans(labelled: bool = False) -> dict[str, bytes]:
    """Make two templates, two good scans, two dents, a bump with labels, and two of nobody knows.

    labelled : whether the dents have labels.
    """
    rng = np.random.default_rng(3)
    files = {}
    for name in ("train/0", "train/1", "test/good/0", "test/good/1"):
        files[f"{name}.xyz"] = write_text(40 * ball(120, rng)[0])
    for name, bump in (("dent/0", -0.3), ("dent/1", -0.3), ("bump/0", 0.3)):
        points, labels = ball(120, rng, bump=bump)
        own = labels if labelled or name == "bump/0" else None
        files[f"test/{name}.xyz"] = write_text(40 * points, labels=own, header=own is not None)
    for number in range(2):
        points = ball(120, rng, bump=0.3 * number)[0]
        files[f"test/unlabelled/{number}.xyz"] = write_text(40 * points)
    return files


def import_scans(tree: Path, out: Path, **changes: object) -> Dataset:
    settings = replace(ImportSettings("folder", tree, quiet=True), **changes)  # type: ignore[arg-type]
    with SerialExecutor() as executor:
        import_dataset(settings, out, executor)
    return open_dataset(out)


def unlabelled_scans(folder: Path, labelled: bool = False) -> Dataset:
    """Import `some_scans` into a file in a folder."""
    return import_scans(write_tree(folder / "scans", some_scans(labelled)), folder / "scans.h5")


def without_labels(sample: Sample, rng: np.random.Generator) -> Sample:
    """Take the labels of a defective sample away."""
    if sample.defect == "normal":
        return sample
    return replace(
        sample,
        labels=np.full_like(sample.labels, 255),
        displacement=np.full_like(sample.displacement, np.nan),
    )


def partly_labelled(path: Path, keep: str = "missing") -> Dataset:
    """Make a dataset file in which one defect alone has labels."""
    return open_dataset(
        make_dataset(
            path,
            change=lambda sample, rng: (
                sample if sample.defect == keep else without_labels(sample, rng)
            ),
        )
    )
