# SPDX-License-Identifier: Apache-2.0
"""Writes a folder tree from a dataset file: sample by sample, in worker processes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from intravariance.cards.dataset_card import dataset_card
from intravariance.cards.terms import Terms, terms_of
from intravariance.dataset.store import Dataset, Record, open_dataset
from intravariance.errors import InputError, IntegrityError, IVError
from intravariance.exchange.exporting.parts import digest_and_metadata
from intravariance.exchange.exporting.tree_card import README, tree_card
from intravariance.exchange.layouts import WRITERS
from intravariance.exchange.layouts.entries import (
    EXPORT_RECORD,
    Entry,
    ExportOptions,
    LayoutWriter,
    doubts,
    problems,
)
from intravariance.exchange.layouts.side_file import SIDE_FILE
from intravariance.executors.processes import Processes
from intravariance.files.checksums import write_checksums
from intravariance.files.folders import check_folder, new_folder, write_member
from intravariance.progress import say, track

_SHOWN_PROBLEMS = 10


@dataclass(frozen=True)
class Written:
    """samples, files, bytes : of the tree, without the list of checksums. holds : where it has what
    a dataset file holds besides, "" for nowhere; without what this dataset does not have."""

    samples: int
    files: int
    bytes: int
    holds: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Task:
    path: Path
    digest: str
    layout: str
    entry: Entry
    options: ExportOptions
    folder: Path


def write_tree(
    layout: LayoutWriter,
    dataset: Dataset,
    out: Path,
    options: ExportOptions,
    *,
    jobs: int = 1,
    force: bool = False,
    quiet: bool = False,
) -> Written:
    """Write the samples of `dataset` (all of a file, or some) as the folder `out`.

    The same samples and options give the same bytes. Says on stderr what some readers may take
    amiss. Raises InputError, before anything is written, for a path or names that break the
    layout's readers, for clouds too small for them, and for a part of a category; IntegrityError
    for a sample whose content is not what the file's table says.
    """
    records = list(dataset)
    path = os.path.normpath(out.absolute())
    found = problems(layout.RULES, records, path)
    if found:
        shown = "\n  ".join(found[:_SHOWN_PROBLEMS])
        raise InputError(f"--out {out} cannot be in the layout {layout.LAYOUT_NAME}:\n  {shown}")
    check_folder(out, EXPORT_RECORD, force)
    for doubt in doubts(layout.RULES, records, path):
        say(f"note: {doubt}")
    entries = layout.plan(records, options)
    holds = _holds(layout, entries)
    digest, metadata = digest_and_metadata(dataset)
    terms = terms_of(dataset_card(dataset.path))
    about = metadata | {"content_digest": digest, "holds": holds}
    if digest != dataset.digest:
        about["part_of"] = dataset.digest
    with new_folder(out, EXPORT_RECORD, force) as folder:
        tasks = [
            _Task(
                dataset.path.absolute(), dataset.digest, layout.LAYOUT_NAME, entry, options, folder
            )
            for entry in entries
        ]
        record = _record(layout, options, about, terms)
        write_member(folder, EXPORT_RECORD, record)
        files, size = 1, len(record)
        for count, length in track(_run(tasks, jobs), len(tasks), "exporting", quiet):
            files, size = files + count, size + length
        beside = layout.lists(records, entries)
        beside[SIDE_FILE] = _side_file(records, entries)
        beside[README] = tree_card(dataset, layout.LAYOUT_NAME, digest, terms)
        for name, content in beside.items():
            write_member(folder, name, content)
        write_checksums(folder)
    files, size = files + len(beside), size + sum(map(len, beside.values()))
    return Written(len(records), files, size, holds)


def _holds(layout: LayoutWriter, entries: Sequence[Entry]) -> dict[str, str]:
    """Return the layout's HOLDS without what would be files of their own, and no sample has."""
    written = {name for entry in entries for name in entry.others}
    return {
        content: place
        for content, place in layout.HOLDS.items()
        if not place.endswith("/") or content in written
    }


def _run(tasks: Sequence[_Task], jobs: int) -> Iterable[tuple[int, int]]:
    """Return files and bytes of each task, in any order."""
    return map(_write_sample, tasks) if jobs == 1 else _run_in_workers(tasks, jobs)


def _run_in_workers(tasks: Sequence[_Task], jobs: int) -> Iterator[tuple[int, int]]:
    with Processes(jobs) as processes:
        for _, result in processes.run(_write_sample, tasks):
            if isinstance(result, IVError):
                raise result
            yield result


def _write_sample(task: _Task) -> tuple[int, int]:

    sample = _open(task.path, task.digest)[task.entry.id].load()
    if sample.digest != _open(task.path, task.digest)[task.entry.id].digest:
        raise IntegrityError(f"{task.path}: {sample.id} is damaged; see `iv verify`")
    content = WRITERS[task.layout].content(sample, task.entry, task.options)
    for name, data in content.items():
        write_member(task.folder, name, data)
    return len(content), sum(map(len, content.values()))


@lru_cache(maxsize=1)
def _open(path: Path, digest: str) -> Dataset:
    """Open the file once in each process. digest : of the file meant."""
    dataset = open_dataset(path)
    if dataset.digest != digest:
        raise IntegrityError(f"{path}: was replaced by another file while in use")
    return dataset


def _side_file(records: Sequence[Record], entries: Sequence[Entry]) -> bytes:
    lines = []
    for record, entry in zip(records, entries, strict=True):
        row = {
            "file": entry.cloud,
            "truth": entry.truth,
            "beside": dict(entry.others),
            "id": record.id,
            "category": record.category,
            "subcategory": record.subcategory,
            "split": record.split,
            "defect": record.defect,
            "points": record.n_points,
            "anomalous": record.n_anomalous,
            "digest": record.digest,
            "pose": record.pose.tolist(),
            "parameters": record.parameters,
        }
        lines.append(json.dumps(row, allow_nan=False) + "\n")
    return "".join(lines).encode()


def _record(
    layout: LayoutWriter, options: ExportOptions, about: dict[str, Any], terms: Terms
) -> bytes:
    content = {
        "layout": layout.LAYOUT_NAME,
        "spelling": options.spelling,
        "delimiter": {",": "comma", " ": "space"}[options.delimiter],
        "terms": terms.to_dict(),
        **about,
    }
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
