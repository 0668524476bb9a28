# SPDX-License-Identifier: Apache-2.0
"""The samples of a file, checked one by one, and beside the template of their product.

A task is some samples of one product, so that tasks are independent: whoever does them, in any
order, finds the same. All random numbers come from a generator of the product or of the sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from intravariance.dataset.label_origin import with_construction_labels
from intravariance.dataset.sample_checks import (
    ESSENTIAL,
    IMPORTED_CHECKS,
    SAMPLE_CHECKS,
    Expected,
    on_surface,
    unposed,
)
from intravariance.dataset.schema import table_row
from intravariance.dataset.store import Dataset, Record, Sample
from intravariance.errors import IntegrityError
from intravariance.seeds import generator
from intravariance.verification.geometry import Deviation, ProductGeometry
from intravariance.verification.probes import Measured, measure

# Samples of one task: many more than a product's template costs, few enough for all processes to
# have some. libhdf5 keeps some 80 kB of each sample that was read until the file is closed.
_AT_ONCE = 128
_TRAINING_CLOUDS, _TRAINING_POINTS = 8, 10_000  # of a category, and of each
_HASHES = 64


@dataclass(frozen=True)
class ProductTask:
    """records : of one product. places : of these in the file. templates : training samples of the
    product, and training : some of the category. probes : whether shortcuts are looked for."""

    records: tuple[Record, ...]
    places: tuple[int, ...]
    templates: tuple[Record, ...]
    training: tuple[Record, ...]
    expected: Expected
    imported: bool
    probes: bool


@dataclass
class Found:
    """Findings of the checks of some samples.

    problems : check -> what is wrong. digests : by id. hashes : the smallest of each sample's
    points, (at most 64,) uint64, by id.
    """

    problems: dict[str, list[str]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, NDArray[np.uint64]] = field(default_factory=dict)
    deviations: list[Deviation] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)

    def add(self, check: str, problem: str) -> None:
        """Add a problem."""
        self.problems.setdefault(check, []).append(problem)


def product_tasks(dataset: Dataset, expected: Expected, probes: bool) -> Iterator[ProductTask]:
    """Divide the samples of a file, category by category and product by product."""
    place = {record.id: number for number, record in enumerate(dataset)}
    order = {category: number for number, category in enumerate(dataset.categories)}
    records = sorted(dataset, key=lambda r: (order[r.category], r.subcategory, r.split != "train"))
    for _, of_category in groupby(records, key=lambda record: record.category):
        ours = list(of_category)
        training = sorted((r for r in ours if r.split == "train"), key=lambda r: place[r.id])
        for product, of_product in groupby(ours, key=lambda record: record.subcategory):
            samples = list(of_product)
            templates = tuple(r for r in training if r.subcategory == product)
            for first in range(0, len(samples), _AT_ONCE):
                some = tuple(samples[first : first + _AT_ONCE])
                yield ProductTask(
                    records=some,
                    places=tuple(place[record.id] for record in some),
                    templates=templates[:_TRAINING_CLOUDS],
                    training=tuple(training[:_TRAINING_CLOUDS]) if probes else (),
                    expected=expected,
                    imported=dataset.imported,
                    probes=probes,
                )


def check_product(task: ProductTask) -> Found:
    """Check the samples of a task."""
    found = Found()
    geometry: ProductGeometry | None = None
    for record, place in zip(task.records, task.places, strict=True):
        sample = check_sample(record, task.expected, task.imported, found)
        if sample is None:
            continue
        if geometry is None:
            geometry = _geometry(task)
        sample = on_surface(sample, task.expected)
        rng = generator(0, "verify", sample.id)
        fitted = geometry.compare(sample, rng)
        tree = geometry.training_tree
        if tree is not None and sample.split == "test" and record.object_known:
            found.measured.append(measure(sample, place, fitted, geometry.density, tree))
    if geometry is not None and not task.imported:
        found.deviations = geometry.deviations
        for problem in geometry.normals_problems:
            found.add("normals", problem)
    for record in task.records:
        record.close()
    return found


def check_sample(record: Record, expected: Expected, imported: bool, found: Found) -> Sample | None:
    """Check one sample by itself; return None when its geometry cannot be looked at."""
    try:
        sample = record.load()
    except IntegrityError as error:
        found.add("readable", str(error))
        return None
    row = table_row(sample)
    found.digests[sample.id] = row["digest"]
    differing = [name for name, value in row.items() if not _same(getattr(record, name), value)]
    if differing:
        found.add("digests", f"{sample.id}: not as recorded: {', '.join(differing)}")
    found.hashes[sample.id] = smallest_hashes(sample)
    try:  # a hand's labels are a judgement; what the geometry bears out are the construction's
        sample = with_construction_labels(sample)
    except IntegrityError as error:
        found.add("labels", str(error))
        return None
    for name, check in (IMPORTED_CHECKS if imported else SAMPLE_CHECKS).items():
        with np.errstate(all="ignore"):  # damaged numbers may overflow: that is a finding
            problem = check(sample, expected)
        if problem:
            found.add(name, f"{sample.id}: {problem}")
            if name in ESSENTIAL:
                return None
    return sample


def _geometry(task: ProductTask) -> ProductGeometry:
    """Learn the product of a task from its sound samples. A faulty one is left out here: its own
    check says what is wrong with it."""
    template = None
    # where the surface of a scan lies under a template's mesh, nobody says
    if not task.imported:
        sound = (check_sample(r, task.expected, False, Found()) for r in task.templates)
        template = next((s for s in sound if s is not None and s.mesh is not None), None)
    return ProductGeometry(
        template=template,
        training=[cloud for cloud in map(_upright, task.training) if cloud is not None],
        expected=task.expected,
        rng=generator(0, "verify", task.records[0].category, task.records[0].subcategory),
        probes=task.probes,
    )


def _upright(record: Record) -> NDArray[np.float64] | None:
    """Read some points of a cloud, (N, 3) with its pose undone; None where that cannot be done."""
    try:
        points, pose = record.points, record.pose
    except IntegrityError:
        return None
    every = -(-len(points) // _TRAINING_POINTS)
    upright = unposed(points[::every], pose)
    return upright if len(upright) and np.isfinite(upright).all() else None


def smallest_hashes(sample: Sample) -> NDArray[np.uint64]:
    """Return the 64 smallest hashes of a cloud's rows, ascending.

    They are a fair draw of its points (MinHash): two clouds that have half of their points in
    common share about 32 of them.
    """
    rows = np.ascontiguousarray(sample.points).view(np.uint32).astype(np.uint64)
    # odd constants of splitmix64 and xxHash: any that mix well would do
    mixed = rows * np.array(
        [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64
    )
    mixed ^= mixed >> np.uint64(29)
    hashes = (mixed * np.uint64(0xBF58476D1CE4E5B9)).sum(axis=1, dtype=np.uint64)
    few = min(4 * _HASHES, len(hashes))  # sorted alone, unless many of them are equal
    smallest = np.unique(np.partition(hashes, few - 1)[:few] if few else hashes)
    return np.asarray((smallest if len(smallest) >= _HASHES else np.unique(hashes))[:_HASHES])


def twins(hashes: dict[str, NDArray[np.uint64]]) -> list[str]:
    """Name the pairs of samples that share points."""
    ids = list(hashes)
    if not ids:
        return []
    values = np.concatenate(list(hashes.values()))
    owners = np.repeat(np.arange(len(ids)), [len(one) for one in hashes.values()])
    order = np.lexsort((owners, values))
    values, owners = values[order], owners[order]
    begins = np.concatenate([[True], values[1:] != values[:-1]])
    first = owners[begins][np.cumsum(begins) - 1]  # the first that has the same
    pairs = {(ids[a], ids[b]) for a, b in zip(first, owners, strict=True) if a != b}
    return [f"{a} and {b} share points" for a, b in sorted(pairs)]


def _same(first: object, second: object) -> bool:
    """Return whether two entries of the table of samples are equal, as two NaN are."""
    return bool(first == second or (first != first and second != second))
