# SPDX-License-Identifier: Apache-2.0
"""Findings of an import: its specification, and what there is to say of its clouds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from annotations.vocabulary import NORMAL
from intravariance.dataset.provenance import software
from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.store import Dataset
from intravariance.exchange.importing.problems import record_of
from intravariance.exchange.importing.sample import ImportFrame, ImportJob

if TYPE_CHECKING:
    from intravariance.exchange.importing.run import ImportPlan


def found_specification(
    plan: ImportPlan, jobs: Sequence[ImportJob], points: dict[str, int]
) -> Specification:
    """Count what was imported. points : id -> number of points."""
    grouped: dict[str, list[ImportJob]] = defaultdict(list)
    for job in jobs:
        grouped[job.category].append(job)
    categories = []
    for name, its_jobs in grouped.items():
        counts = Counter((job.scan.split, job.defect) for job in its_jobs)
        categories.append(
            Category(
                name=name,
                subcategories=tuple(dict.fromkeys(job.subcategory for job in its_jobs)),
                templates=counts["train", NORMAL],
                positives=counts["test", NORMAL],
                defects={
                    defect: n
                    for (split, defect), n in sorted(counts.items())
                    if split == "test" and defect != NORMAL
                },
            )
        )
    sizes = [points[job.id] for job in jobs]
    return Specification(plan.name, plan.title, (min(sizes), max(sizes)), tuple(categories))


def unlabelled_samples(dataset: Dataset) -> int:
    return sum(not record.labelled for record in dataset)


def too_few_points(plan: ImportPlan, points: Sequence[int]) -> str:
    """Return what a collation says of clouds that it kept whole, "" where there are none."""
    few = [count for count in points if count < plan.fewest_points]
    if not few:
        return ""
    return (
        f"{len(few):,} of {len(points):,} clouds have fewer than {plan.fewest_points:,} points "
        f"(the fewest: {min(few):,})"
    )


def found_metadata(
    plan: ImportPlan,
    specification: Specification,
    frames: Mapping[str, ImportFrame],
    skipped: dict[str, str],
    few: str,
) -> dict[str, Any]:
    """Return the metadata of the file. few : what a collation has too few points of, or ""."""
    imported = plan.identity["imported"] | {
        "frames": {group: frame.to_dict() for group, frame in sorted(frames.items())}
    }
    if few:
        collated = imported["collated"]
        imported["collated"] = collated | {"differences": [*collated["differences"], few]}
    metadata = {
        "identity": plan.identity
        | {"specification": specification.to_dict(), "imported": imported},
        "software": software("numpy", "scipy", "h5py"),
    }
    if skipped:
        metadata["skipped"] = record_of(skipped)
    if plan.left_out.count:
        metadata["left_out"] = plan.left_out.to_dict()
    return metadata
