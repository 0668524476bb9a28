# SPDX-License-Identifier: Apache-2.0
"""The plan of a build: a specification and a seed give the list of samples to make.

Pure and instant; `iv build --dry-run` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from annotations.vocabulary import NORMAL
from intravariance.dataset.specification import Category, Specification, Split
from intravariance.lengths import UNITS, Length
from intravariance.seeds import generator


@dataclass(frozen=True)
class SampleJob:
    """One sample to make.

    id : "<category>_<split>_<number>"; test samples are numbered in a random order, so that
    neither the id nor the place in the file says anything of the label.
    defect : "normal" or a defect type. severity : in [0, 1], None for normal samples, and where the
    specification gives lengths; size : then the departure asked for (see `Specification.sizes`).
    n_points : of the product as designed; a defect that changes its area changes the number with
    it (`geometry.sampling.points_for_area`).
    """

    id: str
    category: str
    subcategory: str
    split: Split
    defect: str
    n_points: int
    severity: float | None = None
    size: Length | None = None


def make_plan(specification: Specification, seed: int) -> list[SampleJob]:
    """List the jobs of every category, train before test, in the order in which they are stored."""
    return [
        job
        for category in specification.categories
        for split in ("train", "test")
        for job in _split_jobs(specification, category, split, seed)
    ]


def _split_jobs(
    specification: Specification, category: Category, split: Split, seed: int
) -> list[SampleJob]:
    rng = generator(seed, specification.name, category.name, split, "plan")
    # The load counts normal and defective samples apart: each kind is spread evenly on its own.
    loads = {kind: dict.fromkeys(category.subcategories, 0) for kind in (True, False)}
    wanted = [
        (subcategory, defect)
        for (its_split, defect), count in category.counts().items()
        if its_split == split
        for subcategory in _spread(count, loads[defect == NORMAL], rng)
    ]
    points = _numbers_of_points(
        [defect for _, defect in wanted],
        specification.points,
        generator(seed, specification.name, category.name, split, "n_points"),
    )
    # Rank, not defect, decides the number: a random order carries nothing of the label.
    order = rng.permutation(len(wanted))
    jobs = []
    for number, index in enumerate(order):
        subcategory, defect = wanted[index]
        identity = f"{category.name}_{split}_{number:03d}"
        jobs.append(
            SampleJob(
                id=identity,
                category=category.name,
                subcategory=subcategory,
                split=split,
                defect=defect,
                n_points=points[index],
                **({} if defect == NORMAL else _severity(specification, seed, identity)),
            )
        )
    return jobs


def _spread(count: int, load: dict[str, int], rng: np.random.Generator) -> list[str]:
    """Deal `count` samples over the subcategories: numbers differ by one at most.

    The odd ones go to those with the smallest load so far (which is updated), ties at random.
    """
    names = [str(name) for name in rng.permutation(list(load))]
    names.sort(key=lambda name: load[name])  # stable: ties stay in random order
    dealt = [names[i % len(names)] for i in range(count)]
    for name in dealt:
        load[name] += 1
    return dealt


def _numbers_of_points(
    defects: list[str], points: tuple[int, int], rng: np.random.Generator
) -> list[int]:
    """Draw a number of points for each sample, uniformly from the inclusive range `points`.

    Each kind of sample, normal or with a certain defect, is spread evenly over the range. So the
    number tells nothing in the file at hand, and not only on average over many files.
    """
    low, high = points
    numbers = dict[int, int]()
    for kind in dict.fromkeys(defects):
        places = [place for place, defect in enumerate(defects) if defect == kind]
        shares = (rng.permutation(len(places)) + rng.random(len(places))) / len(places)
        for place, share in zip(places, shares, strict=True):
            numbers[place] = min(low + int(share * (high - low + 1)), high)
    return [numbers[place] for place in range(len(defects))]


def _severity(specification: Specification, seed: int, identity: str) -> dict[str, Any]:
    """Draw the severity of a defect, or its size in the unit of the smallest one asked for."""
    rng = generator(seed, identity, "severity")
    if specification.sizes is None:
        return {"severity": float(rng.uniform(*specification.severity))}
    low, high = specification.sizes
    most = high.value * UNITS[high.unit] / UNITS[low.unit]
    return {"size": Length(float(f"{rng.uniform(low.value, most):.6g}"), low.unit)}
