# SPDX-License-Identifier: Apache-2.0
"""Checks that a file is whole, to its specification, true to its geometry and free of shortcuts.

Each process reads one sample at a time. Every check is made on the file itself: the
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
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL
from intravariance.dataset.published import compare
from intravariance.dataset.sample_checks import IMPORTED_CHECKS, SAMPLE_CHECKS, Expected
from intravariance.dataset.sharding.shards import shard_of
from intravariance.dataset.store import (
    Dataset,
    content_digest,
    open_dataset,
    shard_problems,
    structure,
)
from intravariance.errors import IntegrityError
from intravariance.executors import Executor, run_all
from intravariance.executors.processes import ProcessExecutor
from intravariance.executors.serial import SerialExecutor
from intravariance.lengths import noise_text, sphere_radii
from intravariance.seeds import generator
from intravariance.verification.geometry import (
    FEWEST_POINTS,
    Deviation,
    noise_estimates,
    noise_problems,
    surface_problems,
)
from intravariance.verification.probes import Measured, Probe, evaluate
from intravariance.verification.samples import (
    Found,
    check_product,
    check_sample,
    product_tasks,
    twins,
)

_SHOWN = 3
_FEW_POINTS = 1_000_000  # are checked before worker processes have started
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


def failures(path: Path, executor: Executor | None = None) -> list[str]:
    """Say what is wrong with a new dataset file, without probes; nothing where it is whole."""
    return verify(path, probes=False, executor=executor).failures()


def failures_of(path: Path, ids: Iterable[str]) -> list[str]:
    """Say what is wrong with these samples of a dataset file, and with what is not in a sample.

    The other samples are not read: their digests are believed.
    """
    with open_dataset(path) as dataset:
        checking = _Verification(dataset, probes=False)
        checking.whole_but_for_samples()
        found = Found()
        for id in ids:
            check_sample(dataset[id], checking.expected, dataset.imported, found)
        checking.take([found])
        checking.content_digest({record.id: record.digest for record in dataset})
        return [
            f"{name}: {_summary(problems)}"
            for name, problems in checking.problems.items()
            if problems
        ]


def verify(
    path: str | Path,
    probes: bool = True,
    against_published: bool = False,
    quiet: bool = True,
    executor: Executor | None = None,
) -> Report:
    """Check a dataset file: whole, to specification, true to its geometry, free of shortcuts.

    probes : whether to look for shortcuts. against_published : whether it must be one of the
    published builds. quiet : whether to show no progress. executor : worker processes of this
    machine check the samples of a file that is not small; without them this process does, as other
    machines may not have the file. The report is the same.
    Raises InputError when it is not a dataset file, IntegrityError when it is too damaged to open.
    """
    with open_dataset(path) as dataset:
        report = _Verification(dataset, probes).report(executor, quiet)
        if not against_published:
            return report
        found = compare(dataset.metadata, dataset.digest)
        check = Check("published", found.same, found.message)
        return replace(report, checks=(*report.checks, check))


class _Verification:
    """The checks of a file. `problems` : check -> what is wrong; `notes` : check -> figure."""

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
        self.hashes: dict[str, NDArray[np.uint64]] = {}
        self.deviations: list[Deviation] = []
        self.measured: list[Measured] = []

    def report(self, executor: Executor | None = None, quiet: bool = True) -> Report:
        """Run everything."""
        self.whole_but_for_samples()
        for name in ("readable", "digests", *self.checks):
            self._add(name, [], f"{len(self.dataset)} samples")
        if not self.imported:
            self._add("normals", [], "those of the templates")
        tasks = list(product_tasks(self.dataset, self.expected, self.probes))
        self.dataset.close()
        few = sum(record.n_points for record in self.dataset) < _FEW_POINTS
        if few or not isinstance(executor, ProcessExecutor):
            executor = SerialExecutor()
        results = run_all(executor, check_product, tasks, "verify", quiet)
        found = {task.records[0].id: one for task, one in results}
        self.take(found[task.records[0].id] for task in tasks)
        self._whole()
        probes = []
        if self.measured:
            rng = generator(0, "verify", "probes")
            probes = evaluate(self.measured, rng, judged=not self.imported)
        checks = [
            Check(name, not problems, _summary(problems) if problems else self.notes[name])
            for name, problems in self.problems.items()
        ]
        if self.imported:
            checks += [Check(name, True, why, False) for name, why in _NOT_OF_IMPORTS.items()]
        return Report(str(self.dataset.path), self.dataset.digest, tuple(checks), tuple(probes))

    def take(self, results: Iterable[Found]) -> None:
        """Take what was found of samples."""
        for found in results:
            for name, problems in found.problems.items():
                self._add(name, problems)
            self.digests |= found.digests
            self.hashes |= found.hashes
            self.deviations += found.deviations
            self.measured += found.measured

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

    def _whole(self) -> None:
        self.content_digest(self.digests)
        if (count := len(self.dataset.files)) > 1:
            note = f"{count} files, each with the digest recorded in it"
            self._add("shards", shard_problems(self.dataset, self.digests), note)
        shared = twins(self.hashes)
        if self.imported:
            note = f"{len(shared)} pairs of samples share points, as in the data" if shared else ""
            self._add("twins", [], note or "no two samples share points")
        else:
            self._add("twins", shared, "no two samples share points")
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


def _summary(problems: list[str]) -> str:
    shown = "; ".join(problems[:_SHOWN])
    return shown if len(problems) <= _SHOWN else f"{shown}; and {len(problems) - _SHOWN} more"
