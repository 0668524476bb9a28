# SPDX-License-Identifier: Apache-2.0
"""Group 1 collated from the public Anomaly-ShapeNet, instead of made from base meshes.

The specification names classes of Anomaly-ShapeNet as subcategories. All test clouds of a class are
taken, and its first templates, evenly over the classes of a category. A cloud that has more points
than the number drawn for it gives a random subset, so that each point keeps its own label; one that
has fewer is kept whole, and the file says how many have fewer than the specification's smallest
number. Each class has a frame, as in `run`. Pose and noise are those of `sample.make_sample`. The
result is an imported file: no meshes, displacement unknown.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from annotations.vocabulary import NORMAL
from intravariance.dataset.specification import Category, Specification
from intravariance.errors import InputError
from intravariance.exchange.importing.names import tree_name
from intravariance.exchange.importing.problems import file_and_reason
from intravariance.exchange.importing.run import ImportPlan
from intravariance.exchange.importing.sample import ImportJob, Treatment
from intravariance.exchange.layouts import Scan, find_scans
from intravariance.exchange.layouts.anomaly_shapenet import LAYOUT_NAME
from intravariance.exchange.layouts.scan import check_problems
from intravariance.geometry.sampling import PoseKind
from intravariance.names import plain_name
from intravariance.seeds import generator
from intravariance.sources.finding import Up

KIND = "anomaly_shapenet"


@dataclass(frozen=True)
class CollationSettings:
    """path : folder or .zip with the data. up : axis that points up in its files. skip_bad : leave
    out clouds that cannot be used. Others as in `SampleSettings`."""

    specification: Specification
    path: Path
    seed: int
    pose: PoseKind
    noise_sigma: float
    up: Up = "z"
    skip_bad: bool = False


def plan_collation(settings: CollationSettings) -> ImportPlan:
    """Choose the scans. Raises InputError when a class is missing, or does not fit its layout.

    Other counts than the specification's are no error: they are listed, in the file as well.
    """
    specification = settings.specification
    wanted = {name for c in specification.categories for name in c.subcategories}
    problems: list[str] = []
    found: dict[str, list[Scan]] = defaultdict(list)
    for scan in find_scans(LAYOUT_NAME, settings.path, problems):
        if not any(problem.startswith(f"{scan.paths[0]}: ") for problem in problems):
            found[plain_name(scan.subcategory)].append(scan)
    problems = [p for p in problems if wanted & set(map(plain_name, Path(p.split(": ")[0]).parts))]
    check_problems(problems, LAYOUT_NAME, settings.path, [] if settings.skip_bad else None)
    _check_classes(specification, found, settings.path)
    jobs: list[ImportJob] = []
    templates: list[str] = []
    differences: list[str] = []
    for category in specification.categories:
        chosen = _chosen(category, found)
        templates += [scan.id for scan in chosen if scan.split == "train"]
        differences += _differences(category, chosen)
        jobs += _jobs(category, chosen, settings)
    tree = tree_name(settings.path)
    collated = {
        "specification": specification.name,
        "classes": {c.name: list(c.subcategories) for c in specification.categories},
        "templates": templates,
        "points": list(specification.points),
        "differences": differences,
        "up": settings.up,
    }
    return ImportPlan(
        name=specification.name,
        title=specification.title,
        root=settings.path,
        jobs=tuple(jobs),
        identity={
            "source": f"{KIND}:{tree}",
            "seed": settings.seed,
            "pose": settings.pose,
            "noise_sigma": settings.noise_sigma,
            "imported": {
                "layout": LAYOUT_NAME, "tree": tree, "normalise": "auto", "collated": collated
            },
        },
        normalise="auto",
        skipped=dict(file_and_reason(problem, settings.path) for problem in problems),
        fewest_points=specification.points[0],
    )  # fmt: skip


def _check_classes(
    specification: Specification, found: Mapping[str, Sequence[Scan]], path: Path
) -> None:
    missing = [
        f"{name} (for {category.name})"
        for category in specification.categories
        for name in category.subcategories
        if not {scan.split for scan in found.get(name, ())} >= {"train", "test"}
    ]
    if missing:
        raise InputError(
            f"--source {KIND}:{path}: there are no training and test clouds of the class "
            f"{', '.join(missing)}. Classes of Anomaly-ShapeNet-New lie in new_pcd, beside pcd: "
            "give the folder that holds both. Or name other classes, as subcategories of a "
            "specification of your own (--spec), or fewer categories (--category)."
        )


def _chosen(category: Category, found: Mapping[str, Sequence[Scan]]) -> list[Scan]:
    """Return all test scans of the category's classes, and the first templates of each class."""
    chosen = []
    share, odd = divmod(category.templates, len(category.subcategories))
    for place, name in enumerate(category.subcategories):
        scans = found[name]
        chosen += [scan for scan in scans if scan.split == "train"][: share + (place < odd)]
        chosen += [scan for scan in scans if scan.split == "test"]
    return chosen


def _differences(category: Category, chosen: Sequence[Scan]) -> list[str]:
    """Return one line where the counts differ from the specification's, none where they agree."""
    counts = Counter((scan.split, scan.defect) for scan in chosen)
    wanted = Counter(category.counts())
    words = {("train", NORMAL): "templates", ("test", NORMAL): "positives"}
    lines = [
        f"{counts[kind]} {words.get(kind, kind[1])} instead of {wanted[kind]}"
        for kind in sorted(counts.keys() | wanted.keys(), reverse=True)
        if counts[kind] != wanted[kind]
    ]
    return [f"{category.name}: {', '.join(lines)}"] if lines else []


def _jobs(
    category: Category, chosen: Sequence[Scan], settings: CollationSettings
) -> list[ImportJob]:
    """Make the jobs, numbered at random, as the plan of a build does."""
    jobs = []
    seed, specification = settings.seed, settings.specification
    for split in ("train", "test"):
        scans = [scan for scan in chosen if scan.split == split]
        rng = generator(seed, specification.name, category.name, split, "plan")
        for number, index in enumerate(rng.permutation(len(scans))):
            scan = scans[index]
            identity = f"{category.name}_{split}_{number:03d}"
            rng_points = generator(seed, identity, "n_points")
            n_points = int(rng_points.integers(*specification.points, endpoint=True))
            name = plain_name(scan.subcategory)
            jobs.append(
                ImportJob(
                    scan=scan,
                    id=identity,
                    category=category.name,
                    subcategory=name,
                    defect=scan.defect,
                    group=f"{category.name}/{name}",
                    treatment=Treatment(
                        n_points, settings.up, settings.pose, settings.noise_sigma, seed
                    ),
                )
            )
    return jobs
