# SPDX-License-Identifier: Apache-2.0
"""Writes a folder tree from a dataset file: sample by sample, in worker processes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isnan
from pathlib import Path
from typing import Any

from intravariance.cards.dataset_card import dataset_card
from intravariance.cards.terms import Terms, terms_of
from intravariance.dataset.assembly.sample_files import carried
from intravariance.dataset.store import Dataset, Record
from intravariance.errors import InputError, IntegrityError
from intravariance.exchange.exporting.making import making
from intravariance.exchange.exporting.parts import digest_and_metadata
from intravariance.exchange.exporting.tree_card import README, tree_card
from intravariance.exchange.layouts import AddedLayout, layout_writer
from intravariance.exchange.layouts.entries import (
    EXPORT_RECORD,
    Delimiter,
    Entry,
    ExportOptions,
    LayoutWriter,
    defect_words,
    doubts,
    problems,
)
from intravariance.exchange.layouts.scan import shown_problems
from intravariance.exchange.layouts.side_file import SIDE_FILE
from intravariance.executors import Executor, Portable, run_all
from intravariance.files.folders import check_folder, new_folder, write_member
from intravariance.files.provenance import Making, write_provenance
from intravariance.progress import say


@dataclass(frozen=True)
class Written:
    """samples, files, bytes : of the tree, without the list of checksums. holds : where it has what
    a dataset file holds besides, "" for nowhere; without what this dataset does not have."""

    samples: int
    files: int
    bytes: int
    holds: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Task(Portable):
    record: Record
    layout: str
    entry: Entry
    options: ExportOptions

    @property
    def title(self) -> str:
        return self.record.id

    def packed(self) -> _Task:
        return replace(self, record=carried(self.record))


def write_tree(
    layout: LayoutWriter,
    dataset: Dataset,
    out: Path,
    options: ExportOptions,
    executor: Executor,
    *,
    force: bool = False,
    quiet: bool = False,
) -> Written:
    """Write the samples of `dataset` (all of a file, or some) as the folder `out`.

    executor : where samples become files' bytes. The same samples and options give the same bytes.
    Says on stderr what some readers may take amiss. Raises InputError, before anything is written,
    for a path or names that break the layout's readers, for clouds too small for them, and for a
    part of a category; IntegrityError for a sample whose content is not what the file's table says.
    """
    records = list(dataset)
    words = check_names(layout, dataset, out)
    check_folder(out, EXPORT_RECORD, force)
    options = replace(options, defects=words)
    entries = layout.plan(records, options)
    holds = _holds(layout, entries)
    digest, metadata = digest_and_metadata(dataset)
    terms = terms_of(dataset_card(dataset.path))
    about = metadata | {"content_digest": digest, "holds": holds}
    if isinstance(layout, AddedLayout):
        about["written_by"] = layout.extension.identity
    if digest != dataset.digest:
        about["part_of"] = dataset.digest
    with new_folder(out, EXPORT_RECORD, force) as folder:
        tasks = [
            _Task(record, layout.LAYOUT_NAME, entry, options)
            for record, entry in zip(records, entries, strict=True)
        ]
        write_member(folder, EXPORT_RECORD, _record(layout, options, about, terms))
        for _, content in run_all(executor, _content, tasks, "exporting", quiet):
            for name, data in content.items():
                write_member(folder, name, data)
        beside = layout.lists(records, entries)
        beside[SIDE_FILE] = _side_file(records, entries)
        beside[README] = tree_card(dataset, layout.LAYOUT_NAME, digest, terms)
        for name, data in beside.items():
            write_member(folder, name, data)
        names = write_provenance(folder, _making(layout, options, dataset, about))
        size = sum((folder / name).stat().st_size for name in names)
    return Written(len(records), len(names), size, holds)


def _making(
    layout: LayoutWriter, options: ExportOptions, dataset: Dataset, about: dict[str, Any]
) -> Making:
    rules = layout.RULES
    chosen: dict[str, str] = {}
    if options.spelling != rules.spellings[0]:
        chosen["--spelling"] = options.spelling
    if options.delimiter != rules.delimiters[0]:
        chosen["--gt-delimiter"] = _named(options.delimiter)
    extension = about.get("written_by")
    more = {extension["package"]: extension["version"]} if extension else {}
    return making(dataset, layout.LAYOUT_NAME, chosen, more)


def check_names(layout: LayoutWriter, dataset: Dataset, out: Path) -> dict[str, str]:
    """Return what defects are called on disk where that differs from their names, and say so.

    Says on stderr, too, what some readers may take amiss. Raises InputError for what breaks them.
    """
    records, path = list(dataset), os.path.normpath(out.absolute())
    words = defect_words(layout.RULES, records)
    if found := problems(layout.RULES, records, path, words):
        shown = shown_problems(found)
        raise InputError(f"--out {out} cannot be in the layout {layout.LAYOUT_NAME}:\n  {shown}")
    rewritten = [f"the defect {name!r} is {word!r} in {out}" for name, word in words.items()]
    notes = [f"note: {doubt}" for doubt in doubts(layout.RULES, records, path)]
    for line in (*(f"name rewritten: {each}" for each in rewritten), *notes):
        say(line)
    return words


def _holds(layout: LayoutWriter, entries: Sequence[Entry]) -> dict[str, str]:
    """Return the layout's HOLDS without what would be files of their own, and no sample has."""
    written = {name for entry in entries for name in entry.others}
    return {
        content: place
        for content, place in layout.HOLDS.items()
        if not place.endswith("/") or content in written
    }


def _content(task: _Task) -> dict[str, bytes]:
    """Make the files of a sample, by name."""
    sample = task.record.load()
    if sample.digest != task.record.digest:
        raise IntegrityError(f"{task.record.path}: {sample.id} is damaged; see `iv verify`")
    return layout_writer(task.layout).content(sample, task.entry, task.options)


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
            "anomalous": record.n_anomalous if record.labelled else None,
            "difficulty": record.difficulty,
            "snr": None if isnan(record.snr) else record.snr,
            "unit_radius": None if isnan(record.unit_radius) else record.unit_radius,
            "digest": record.digest,
            "pose": record.pose.tolist(),
            "parameters": record.parameters,
        }
        lines.append(json.dumps(row, allow_nan=False) + "\n")
    return "".join(lines).encode()


def _named(delimiter: Delimiter) -> str:
    return {",": "comma", " ": "space"}[delimiter]


def _record(
    layout: LayoutWriter, options: ExportOptions, about: dict[str, Any], terms: Terms
) -> bytes:
    content = {
        "layout": layout.LAYOUT_NAME,
        "spelling": options.spelling,
        "delimiter": _named(options.delimiter),
        "terms": terms.to_dict(),
        **about,
    } | ({"renamed": dict(options.defects)} if options.defects else {})
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
