# SPDX-License-Identifier: Apache-2.0
"""A new dataset file with hand labels in it. All else stays: points, displacement, order, ids."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from annotations.merging import Rule
from annotations.vocabulary import NORMAL
from intravariance.dataset.assembly.sample_files import assemble_again, write_sample_file
from intravariance.dataset.assembly.work_folder import (
    claim,
    clear_samples,
    finish,
    locked_folder,
    plain_disk_errors,
)
from intravariance.dataset.label_origin import KEY, relabelled
from intravariance.dataset.specification import Specification
from intravariance.dataset.store import Dataset, Sample, open_dataset
from intravariance.errors import InputError, first_of
from intravariance.files.atomic import check_target
from intravariance.files.urls import Url
from intravariance.labelling.taking_back import Edited, HandLabels, find_edited, read_edited
from intravariance.progress import track
from intravariance.verification.verify import failures_of
from intravariance.version import own_version


@dataclass(frozen=True)
class RelabelledSample:
    """Hold what came of an edited file.

    labels : the sample's parameter (see `label_origin`); notes : of reading the file.
    """

    id: str
    category: str
    defect: str
    labels: dict[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Relabelling:
    """The new file and what is in it. samples : of the dataset; outcomes : with hand labels;
    skipped : sample id -> why its file was left out; unchanged, absent, unused : see `Edited`."""

    path: Path
    digest: str
    rule: Rule
    samples: int
    outcomes: tuple[RelabelledSample, ...]
    skipped: dict[str, str]
    unchanged: list[str]
    absent: list[str]
    unused: list[str]


def relabel(
    folder: Path,
    data: Path,
    out: Path,
    rule: Rule = "hand",
    annotator: str | None = None,
    skip_bad: bool = False,
    force: bool = False,
    quiet: bool = False,
) -> Relabelling:
    """Write the dataset `data` with the hand labels of `folder` to `out` (.h5).

    skip_bad : leave out files that cannot be used; their samples keep the labels they have.
    Raises InputError naming every such file without it, when `out` exists (without `force`), when
    no file was edited, or when the folder is of another dataset.
    """
    check_target(out, force)
    with open_dataset(data) as dataset:
        if out.exists() and any(
            os.path.samefile(out, file)
            for file in (data, *dataset.files)
            if not isinstance(file, Url) and file.exists()
        ):
            raise InputError(f"--out {out}: is the dataset itself; hand labels go into a new file")
    with dataset, plain_disk_errors(out), locked_folder(out) as partial:
        edited = find_edited(folder, dataset)
        if not edited.files:
            raise InputError(
                f"{folder}: no file was edited; save the labelled clouds over those given out"
            )
        claim(partial, {"labels of": dataset.digest, "rule": rule}, out, force, "labelling")
        try:
            result = _write(partial, dataset, edited, out, rule, annotator, skip_bad, force, quiet)
        except (InputError, KeyboardInterrupt):  # nothing is worth keeping: all is read again
            clear_samples(partial)
            raise
    return result


def _write(
    partial: Path,
    dataset: Dataset,
    edited: Edited,
    out: Path,
    rule: Rule,
    annotator: str | None,
    skip_bad: bool,
    force: bool,
    quiet: bool,
) -> Relabelling:
    """Write the edited samples into the partial folder, then the file into place.

    All other samples are copied as they lie in the dataset, without a look at them.
    """
    outcomes: list[RelabelledSample] = []
    skipped: dict[str, str] = {}
    files = []
    hands = read_edited(edited, dataset)
    for sample, hand in track(hands, len(edited.files), "samples", quiet):
        try:
            if isinstance(hand, str):
                raise InputError(hand)
            changed = _with_hand(sample, hand, rule, annotator)
        except InputError as error:
            skipped[sample.id] = str(error)
            continue
        details = changed.parameters[KEY]
        outcomes.append(
            RelabelledSample(sample.id, sample.category, changed.defect, details, hand.notes)
        )
        files.append(partial / "samples" / f"{sample.id}.h5")
        write_sample_file(files[-1], changed)
    if skipped and not skip_bad:
        raise InputError(
            f"{len(skipped)} edited files cannot be used; mend them, or leave them out with "
            f"--skip-bad{_listed(skipped)}"
        )
    if not outcomes:
        raise InputError(f"none of the edited files can be used{_listed(skipped)}")
    digest = finish(
        partial,
        files,
        _metadata(dataset, outcomes, rule, annotator),
        out,
        lambda path: failures_of(path, [outcome.id for outcome in outcomes]),
        force,
        quiet,
        lambda path, files, metadata: assemble_again(path, files, metadata, dataset),
    )
    return Relabelling(
        path=out,
        digest=digest,
        rule=rule,
        samples=len(dataset),
        outcomes=tuple(outcomes),
        skipped=skipped,
        unchanged=edited.unchanged,
        absent=edited.absent,
        unused=edited.unused,
    )


def _with_hand(sample: Sample, hand: HandLabels, rule: Rule, annotator: str | None) -> Sample:
    """Merge hand labels into a sample. Raises InputError when they contradict what it is."""
    origin = {"file": hand.file, "file_sha256": hand.sha256, "annotator": annotator}
    changed = relabelled(sample, hand.labels, hand.matching, rule, origin)
    marked, total = int(changed.labels.sum()), len(changed.labels)
    if changed.defect == NORMAL and marked:
        raise InputError(
            f"{hand.file}: {marked:,} points labelled anomalous, but {sample.id} is normal"
        )
    if changed.defect != NORMAL and not 0 < marked < total:
        which = "no point is" if not marked else "every point is"
        raise InputError(
            f"{hand.file}: {which} labelled anomalous by the rule {rule!r}, but {sample.id} has "
            f"the defect {changed.defect}"
        )
    return changed


def _metadata(
    dataset: Dataset, outcomes: list[RelabelledSample], rule: Rule, annotator: str | None
) -> dict[str, Any]:
    """Return the dataset's own metadata, and in its identity what was done to the labels."""
    metadata = dataset.metadata
    specification = _counted(dataset, outcomes)
    if specification != dataset.specification:
        metadata["identity"]["specification"] = specification.to_dict()
    files = sorted((outcome.id, outcome.labels["file_sha256"]) for outcome in outcomes)
    metadata["identity"][KEY] = {
        "source": "merged",  # of the whole file: some samples have construction labels alone
        "rule": rule,
        "from": dataset.digest,
        "annotator": annotator,
        "samples": len(outcomes),
        "added": sum(outcome.labels["added"] for outcome in outcomes),
        "removed": sum(outcome.labels["removed"] for outcome in outcomes),
        # the digest of each file is in its sample's parameters
        "files_sha256": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
    }
    metadata.setdefault("software", {})["iv_labels"] = own_version()
    return metadata


def _counted(dataset: Dataset, outcomes: list[RelabelledSample]) -> Specification:
    """Return the specification with the defects of objects that a hand told the nature of."""
    specification = dataset.specification
    defects = {outcome.id: outcome.defect for outcome in outcomes}
    if all(dataset[id].defect == defect for id, defect in defects.items()):
        return specification
    categories = []
    for category in specification.categories:
        tested = dataset.filter(category=category.name)
        found = Counter(defects.get(r.id, r.defect) for r in tested if r.split == "test")
        positives = found.pop(NORMAL, 0)
        categories.append(
            replace(category, positives=positives, defects=dict(sorted(found.items())))
        )
    return replace(specification, categories=tuple(categories))


def _listed(skipped: dict[str, str]) -> str:
    return ":\n  " + first_of(skipped.values(), 20, "\n  ")
