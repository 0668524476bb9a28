# SPDX-License-Identifier: Apache-2.0
"""Hand labels against construction labels, for each sample, defect type and category."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from annotations.agreement import Agreement, agreement, mean, pooled
from intravariance.dataset.label_origin import KEY, by_hand, construction_labels
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.errors import InputError
from intravariance.labelling.taking_back import find_edited, read_edited
from intravariance.progress import track
from intravariance.tables import csv_table

FIGURES = ("iou", "kappa", "precision", "recall")


@dataclass(frozen=True)
class SampleAgreement:
    """One sample. counts : over the points that have a hand label (of a dataset file: all points);
    missing : points without."""

    id: str
    category: str
    defect: str
    counts: Agreement
    missing: int


@dataclass(frozen=True)
class LabelAgreement:
    """Agreement of hand labels with construction. blind : whether the hand could not see ours,
    None when that is not known; unlabelled : samples without a hand's file; failed : sample id ->
    why its file could not be compared; without : samples with a hand's file that had no labels to
    compare with; unused : files that are no sample's."""

    samples: tuple[SampleAgreement, ...]
    blind: bool | None
    unlabelled: int
    failed: dict[str, str]
    without: int = 0
    unused: tuple[str, ...] = ()

    def groups(self) -> dict[str, dict[str, list[SampleAgreement]]]:
        """Return "defect" and "category" -> name -> samples; "all" -> "all samples" -> samples."""
        return {
            "defect": _grouped(self.samples, lambda sample: sample.defect),
            "category": _grouped(self.samples, lambda sample: sample.category),
            "all": {"all samples": list(self.samples)},
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-able form; what is not defined is null."""
        return {
            "blind": self.blind,
            "unlabelled": self.unlabelled,
            "without": self.without,
            "unused": list(self.unused),
            "failed": self.failed,
            **{
                kind: {name: summary(members) for name, members in groups.items()}
                for kind, groups in self.groups().items()
            },
            "samples": [_row(sample) for sample in self.samples],
        }

    def to_csv(self) -> str:
        """Write a line for each sample; what is not defined is empty."""
        rows = [_row(sample) for sample in self.samples]
        return csv_table(list(rows[0]), (row.values() for row in rows))


def compare_labels(source: Path, data: Path, quiet: bool = False) -> LabelAgreement:
    """Compare the hand labels of `source`, a folder of `iv labels export` or a file of
    `iv labels import`, with the construction labels of the dataset `data`.

    Raises InputError when there are no hand labels, or they are of other samples.
    """
    with open_dataset(data) as dataset:
        if source.is_dir():
            result = _of_folder(source, dataset, quiet)
        else:
            result = _of_file(source, dataset, quiet)
    if not result.samples:
        failed = "".join(f"\n  {why}" for why in result.failed.values())
        if result.without:
            failed += f"\n  {result.without} samples had no labels before the hand's"
        raise InputError(f"{source}: no hand labels to compare{failed}")
    return result


def summary(members: Iterable[SampleAgreement]) -> dict[str, Any]:
    """Return figures of a group: the mean over its objects (those where it is defined, counted
    beside it), and the same over all its points together. marked : objects with any hand label,
    which on normal samples are false alarms. unmatched : points without a row in the hand's file.
    """
    rows = list(members)
    together = pooled(row.counts for row in rows)
    result: dict[str, Any] = {
        "objects": len(rows),
        "marked": sum(row.counts.both + row.counts.hand_only > 0 for row in rows),
        "unmatched": sum(row.missing for row in rows),
    }
    for name in FIGURES:
        values = [getattr(row.counts, name) for row in rows]
        defined = sum(value is not None for value in values)
        result[name] = {
            "mean": mean(values), "objects": defined, "pooled": getattr(together, name)
        }  # fmt: skip
    return result


def _of_folder(folder: Path, dataset: Dataset, quiet: bool) -> LabelAgreement:
    edited = find_edited(folder, dataset)
    samples, failed, without = [], {}, 0
    pairs = read_edited(edited, dataset)
    for sample, hand in track(pairs, len(edited.files), "clouds", quiet):
        if isinstance(hand, str):
            failed[sample.id] = hand
            continue
        if not sample.labelled or "unlabelled" in sample.parameters.get(KEY, {}):
            without += 1
            continue
        known = hand.matching.known
        counts = agreement(construction_labels(sample)[known], hand.labels[known])
        samples.append(
            SampleAgreement(
                sample.id, sample.category, sample.defect, counts, hand.matching.missing
            )
        )
    rest = len(edited.unchanged) + len(edited.absent)
    unused = tuple(edited.unused)
    return LabelAgreement(tuple(samples), edited.manifest.blind, rest, failed, without, unused)


def _of_file(file: Path, dataset: Dataset, quiet: bool) -> LabelAgreement:
    known = {record.id: record for record in dataset}
    samples, without = [], 0
    with open_dataset(file) as labelled:
        for record in track(labelled, len(labelled), "samples", quiet):
            sample = record.load()
            if not by_hand(sample):
                continue
            same = known[sample.id].load() if sample.id in known else None
            if same is None or not np.array_equal(same.points, sample.points):
                raise InputError(f"{file}: sample {sample.id} is not one of {dataset.path}")
            if not same.labelled:
                without += 1
                continue
            counts = agreement(construction_labels(same), sample.labels)
            missing = int(sample.parameters["labels"]["missing"])
            samples.append(
                SampleAgreement(sample.id, sample.category, sample.defect, counts, missing)
            )
    rest = len(known) - len(samples) - without
    return LabelAgreement(tuple(samples), None, rest, {}, without)


def _grouped(
    samples: Iterable[SampleAgreement], key: Callable[[SampleAgreement], str]
) -> dict[str, list[SampleAgreement]]:
    groups: dict[str, list[SampleAgreement]] = {}
    for sample in samples:
        groups.setdefault(key(sample), []).append(sample)
    return dict(sorted(groups.items()))


def _row(sample: SampleAgreement) -> dict[str, Any]:
    content: dict[str, Any] = asdict(sample)
    counts: dict[str, Any] = content.pop("counts")
    return content | counts | {name: getattr(sample.counts, name) for name in FIGURES}
