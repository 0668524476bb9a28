# SPDX-License-Identifier: Apache-2.0
"""How a user names a sample of a dataset file: FILE:SAMPLE."""

from __future__ import annotations

from pathlib import Path

from annotations.vocabulary import NORMAL
from intravariance.dataset.store import Dataset, Record
from intravariance.errors import InputError, did_you_mean
from intravariance.files.urls import parse_place


def split_target(target: str) -> tuple[Path, str]:
    """Split FILE:SAMPLE. An existing file whose name has a colon is taken as it is."""
    name, _, sample = target.rpartition(":")
    if not name or sample.startswith("//") or Path(target).exists():
        return parse_place(target), ""
    return parse_place(name), sample


def choose_sample(dataset: Dataset, sample: str) -> Record:
    """Find the record that `sample` means: a name, CATEGORY or CATEGORY/DEFECT; "" is the first
    defective one, of all or of the category. Raises InputError naming what comes close."""
    try:
        return dataset[sample]
    except KeyError:
        pass
    category, _, defect = sample.partition("/")
    found = [
        record
        for record in dataset
        if category in ("", record.category) and defect in ("", record.defect)
    ]
    if found:
        return next((record for record in found if record.defect != NORMAL), found[0])
    kinds = [f"{record.category}/{record.defect}" for record in dataset]
    names = [record.id for record in dataset]
    known = [*names, *dict.fromkeys([*dataset.categories, *kinds])]
    example = next((kind for kind in kinds if not kind.endswith(NORMAL)), kinds[0])
    raise InputError(
        f"{dataset.path}: no sample {sample}.{did_you_mean(sample, known)} Names are like "
        f"{names[-1]}, and "
        f"{example} takes the first of a kind; `iv info {dataset.path}` counts what there is"
    )
