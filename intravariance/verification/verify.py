# SPDX-License-Identifier: Apache-2.0
"""Checks that a file is whole, to its specification, true to its geometry and free of shortcuts.

One pass over the file, one sample in memory at a time. Every check is made on the file itself: the
counts against the specification inside, the labels against the templates' meshes inside.

A shard of a build holds some of the samples, so their numbers say nothing, and products without a
template in it cannot be measured. All shards together are checked as the one file that they are,
and each file by itself for its structure and digest.

Less can be checked of imported files (`exchange.importing`): nothing says where the surface of a
scan was, even where templates have meshes, and the data is as its makers left it. Such checks do
not apply, and probes are measured but not judged. The labels that are checked are those of the
construction, which the file still knows where a hand changed them (`labelling`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from annotations.vocabulary import NORMAL
from intravariance.dataset.label_origin import with_construction_labels
from intravariance.dataset.published import compare
from intravariance.dataset.sample_checks import (
    ESSENTIAL,
    IMPORTED_CHECKS,
    SAMPLE_CHECKS,
    Expected,
    on_surface,
)
from intravariance.dataset.schema import table_row
from intravariance.dataset.sharding.shards import shard_of
from intravariance.dataset.store import (
    Dataset,
    Record,
    Sample,
    content_digest,
    open_dataset,
    shard_problems,
    structure,
)
from intravariance.errors import IntegrityError
from intravariance.lengths import noise_text, sphere_radii
from intravariance.progress import track
from intravariance.seeds import generator
from intravariance.verification.geometry import (
    FEWEST_POINTS,
    CategoryGeometry,
    Deviation,
    noise_estimates,
    noise_problems,
    surface_problems,
)
from intravariance.verification.probes import Measured, Probe, evaluate, measure

_SHOWN = 3
# libhdf5 keeps some 80 kB of each sample that was read until the file is closed.
_READ_AT_ONCE = 64
_NOT_OF_IMPORTS = {
    "size": "the unit is that of the data",
    "point order": "points lie as in the files",
    "normals": "nothing says where the surface of a scan was",
    "surface": "nothing says where the surface of a scan was",
    "noise": "what noise the scans have is unknown",
}


@dataclass(frozen=True)
class Check:
    """One check of a file.

    message : what was found, whether it passed or not. applies : whether the file can be checked
    for it; if not, the message says why, and it has passed.
    """

    name: str
    passed: bool
    message: str
    applies: bool = True


@dataclass(frozen=True)
class Report:
    """The outcome of `verify`."""

    path: str
    digest: str
    checks: tuple[Check, ...]
    probes: tuple[Probe, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed and every probe that must be blind is."""
        return not self.failures()

    def failures(self) -> list[str]:
        """List a line for each check and probe that failed."""
        return [f"{c.name}: {c.message}" for c in self.checks if not c.passed] + [
            f"probe {p.name!r}: AUROC {p.auroc:.3f} ({p.description})"
            for p in self.probes
            if not p.passed
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-able form."""
        return {"passed": self.passed, **asdict(self)}


def failures(path: Path) -> list[str]:
    """Say what is wrong with a new dataset file, without probes; nothing where it is whole."""
    return verify(path, probes=False).failures()


def failures_of(path: Path, ids: Iterable[str]) -> list[str]:
    """Say what is wrong with these samples of a dataset file, and with what is not in a sample.

    The other samples are not read: their digests are believed.
    """
    with open_dataset(path) as dataset:
        checking = _Verification(dataset, probes=False)
        checking.whole_but_for_samples()
        for id in ids:
            checking.sample(dataset[id])
        checking.content_digest({record.id: record.digest for record in dataset})
        return [
            f"{name}: {_summary(problems)}"
            for name, problems in checking.problems.items()
            if problems
        ]


def verify(
    path: str | Path, probes: bool = True, against_published: bool = False, quiet: bool = True
) -> Report:
    """Check a dataset file: whole, to specification, true to its geometry, free of shortcuts.

    probes : whether to look for shortcuts. against_published : whether it must be one of the
    published builds. quiet : whether to show no progress. Raises InputError when it is not a
    dataset file, IntegrityError when it is too damaged to open.
    """
    with open_dataset(path) as dataset:
        report = _Verification(dataset, probes).report(quiet)
        if not against_published:
            return report
        found = compare(dataset.metadata, dataset.digest)
        check = Check("published", found.same, found.message)
        return replace(report, checks=(*report.checks, check))


class _Verification:
    """One pass over a file. `problems` : check -> what is wrong; `notes` : check -> figure."""

    def __init__(self, dataset: Dataset, probes: bool) -> None:
        self.dataset = dataset
        self.probes = probes
        specification = dataset.specification
        identity = dataset.metadata["identity"]
        self.expected = Expected(
            specification, float(identity["noise_sigma"]), identity.get("noise_sigmas", {})
        )
        self.imported = dataset.imported
        self.shard = shard_of(dataset.metadata)
        self.checks = IMPORTED_CHECKS if self.imported else SAMPLE_CHECKS
        self.problems: dict[str, list[str]] = {}
        self.notes: dict[str, str] = {}
        self.digests: dict[str, str] = {}
        self.deviations: list[Deviation] = []
        self.measured: list[Measured] = []
        self.twins = _Twins()
        self.places = {record.id: place for place, record in enumerate(dataset)}

    def report(self, quiet: bool = True) -> Report:
        """Run everything."""
        self.whole_but_for_samples()
        for name in ("readable", "digests", *self.checks):
            self._add(name, [], f"{len(self.dataset)} samples")
        categories = self.dataset.categories
        for category in track(categories, len(categories), "verify", quiet):
            self._category(category)
        self._whole()
        found = []
        if self.measured:
            rng = generator(0, "verify", "probes")
            found = evaluate(self.measured, rng, judged=not self.imported)
        checks = [
            Check(name, not problems, _summary(problems) if problems else self.notes[name])
            for name, problems in self.problems.items()
        ]
        if self.imported:
            checks += [Check(name, True, why, False) for name, why in _NOT_OF_IMPORTS.items()]
        return Report(str(self.dataset.path), self.dataset.digest, tuple(checks), tuple(found))

    def _add(self, name: str, problems: list[str], note: str = "") -> None:
        self.problems.setdefault(name, []).extend(problems)
        self.notes.setdefault(name, note)

    def whole_but_for_samples(self) -> None:
        """Check the structure and the counts."""
        specification = self.expected.specification
        try:
            problems = structure(self.dataset)
        except IntegrityError as error:
            problems = [str(error)]
        self._add("structure", problems, "nothing missing, nothing else in the file")
        counts = ", ".join(f"{c.name} {c.total}" for c in specification.categories)
        if self.shard is None:
            self._add("counts", count_problems(self.dataset), counts)
        else:
            self._add("counts", [], f"not compared: this is {self.shard}")

    def _category(self, category: str) -> None:
        """Check the samples of a category, templates first."""
        rng = generator(0, "verify", category)
        geometry = CategoryGeometry(self.expected, rng, self.probes)
        records = [record for record in self.dataset if record.category == category]
        records.sort(key=lambda record: record.split != "train")
        for number, record in enumerate(records, start=1):
            if number % _READ_AT_ONCE == 0:
                self.dataset.close()
            sample = self.sample(record)
            if sample is None:
                continue
            sample = on_surface(sample, self.expected)
            if sample.split == "train":
                # where the surface of a scan lies under a template's mesh, nobody says
                geometry.add_template(replace(sample, mesh=None) if self.imported else sample)
            fitted = geometry.compare(sample)
            if not self.probes or sample.split != "test" or not record.object_known:
                continue
            if (tree := geometry.training_tree()) is not None:
                place, density = self.places[sample.id], geometry.density(sample)
                self.measured.append(measure(sample, place, fitted, density, tree))
        if self.imported:
            return
        self.deviations += geometry.deviations
        self._add("normals", geometry.normals_problems, "those of the templates")

    def sample(self, record: Record) -> Sample | None:
        """Check one sample; None when its geometry cannot be looked at."""
        try:
            sample = record.load()
        except IntegrityError as error:
            self._add("readable", [str(error)])
            return None
        row = table_row(sample)
        self.digests[sample.id] = row["digest"]
        differing = [name for name, value in row.items() if not _same(getattr(record, name), value)]
        if differing:
            self._add("digests", [f"{sample.id}: not as recorded: {', '.join(differing)}"])
        self.twins.add(sample)
        try:  # a hand's labels are a judgement; what the geometry bears out are the construction's
            sample = with_construction_labels(sample)
        except IntegrityError as error:
            self._add("labels", [str(error)])
            return None
        for name, check in self.checks.items():
            with np.errstate(all="ignore"):  # damaged numbers may overflow: that is a finding
                problem = check(sample, self.expected)
            if problem:
                self._add(name, [f"{sample.id}: {problem}"])
                if name in ESSENTIAL:
                    return None
        return sample

    def _whole(self) -> None:
        self.content_digest(self.digests)
        if (count := len(self.dataset.files)) > 1:
            note = f"{count} files, each with the digest recorded in it"
            self._add("shards", shard_problems(self.dataset, self.digests), note)
        twins = self.twins.problems()
        if self.imported:
            note = f"{len(twins)} pairs of samples share points, as in the data" if twins else ""
            self._add("twins", [], note or "no two samples share points")
        else:
            self._add("twins", twins, "no two samples share points")
            self._geometry()

    def content_digest(self, digests: Mapping[str, str]) -> None:
        """Check that the samples' digests by id make up that of the file."""
        identity = self.dataset.metadata["identity"]
        same = content_digest(identity, digests) == self.dataset.digest
        wrong = [] if same else ["the content does not have the digest recorded"]
        self._add("content digest", wrong, self.dataset.digest)

    def _geometry(self) -> None:
        """Check where points lie, and how noisy they are, over all samples."""
        moved = [d.distance / d.expected for d in self.deviations if d.moved]
        note = f"{len(self.deviations)} groups of points"
        if moved:
            note += f"; moved points taken back: {np.mean(moved):.2f} x the distance expected"
        self._add("surface", surface_problems(self.deviations, self.expected), note)
        estimates = noise_estimates(self.deviations)
        if estimates:
            low, high = min(estimates.values()), max(estimates.values())
            units = {c.name: c.unit for c in self.expected.specification.categories}
            both = noise_text(self.dataset.metadata["identity"], sphere_radii(self.dataset, units))
            recorded = both or f"{self.expected.noise_sigma:.4f}"
            note = f"sigma {low:.4f} to {high:.4f}, recorded {recorded}"
        problems = noise_problems(estimates, self.expected)
        small = products_of_few_points(self.dataset)
        if small:
            note += f"; {len(small)} products of fewer than {FEWEST_POINTS} points not measured"
        missing = {
            f"{c.name}/{s}" for c in self.expected.specification.categories for s in c.subcategories
        } - (estimates.keys() | small)
        if self.shard is None:
            problems += [
                f"{product}: no template to measure against" for product in sorted(missing)
            ]
        self._add("noise", problems, note)


def products_of_few_points(dataset: Dataset) -> set[str]:
    """Return the products whose normal samples all have too few points to measure noise."""
    most: Counter[str] = Counter()
    for record in dataset:
        if record.defect == NORMAL:
            product = f"{record.category}/{record.subcategory}"
            most[product] = max(most[product], record.n_points)
    return {product for product, count in most.items() if count < FEWEST_POINTS}


def count_problems(dataset: Dataset) -> list[str]:
    """Tell where the numbers of samples are not those of the specification inside the file.

    Counted for each category, split and defect; within each of these, the numbers of two
    subcategories may differ by one, unless the file is imported.
    """
    problems = []
    specification = dataset.specification
    found = Counter((r.category, r.split, r.defect, r.subcategory) for r in dataset)
    known = {c.name: c for c in specification.categories}
    for name, split, defect, subcategory in found:
        if name not in known or subcategory not in known[name].subcategories:
            problems.append(f"{name}/{subcategory} is not in the specification")
        elif (split, defect) not in known[name].counts():
            problems.append(f"{name} {split} {defect} is not in the specification")
    for category in specification.categories:
        for (its_split, kind), wanted in category.counts().items():
            each = [found[category.name, its_split, kind, s] for s in category.subcategories]
            what = f"{category.name} {its_split} {kind}"
            if sum(each) != wanted:
                problems.append(f"{what}: {sum(each)} samples, expected {wanted}")
            elif max(each) - min(each) > 1 and not dataset.imported:
                problems.append(f"{what}: not spread evenly over the subcategories: {each}")
    return problems


class _Twins:
    """Finds samples that share points, from a few hashes a sample.

    The 64 smallest hashes of a cloud's rows are a fair draw of its points (MinHash): two clouds
    that have half of their points in common share about 32 of them.
    """

    def __init__(self) -> None:
        self._owner: dict[int, str] = {}
        self._shared: Counter[tuple[str, str]] = Counter()

    def add(self, sample: Sample) -> None:
        rows = np.ascontiguousarray(sample.points).view(np.uint32).astype(np.uint64)
        # odd constants of splitmix64 and xxHash: any that mix well would do
        mixed = rows * np.array(
            [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64
        )
        mixed ^= mixed >> np.uint64(29)
        hashes = np.unique((mixed * np.uint64(0xBF58476D1CE4E5B9)).sum(axis=1, dtype=np.uint64))
        for value in hashes[:64].tolist():
            owner = self._owner.setdefault(value, sample.id)
            if owner != sample.id:
                self._shared[owner, sample.id] += 1

    def problems(self) -> list[str]:
        return [f"{first} and {second} share points" for first, second in sorted(self._shared)]


def _same(first: Any, second: Any) -> bool:
    """Return whether two entries of the table of samples are equal, as two NaN are."""
    return bool(first == second or (first != first and second != second))


def _summary(problems: list[str]) -> str:
    shown = "; ".join(problems[:_SHOWN])
    return shown if len(problems) <= _SHOWN else f"{shown}; and {len(problems) - _SHOWN} more"
