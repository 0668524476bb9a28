# SPDX-License-Identifier: Apache-2.0
"""Layouts that installed packages add; docs/extending.md shows one.

An entry point names a module (or another object) with `find` to be read, `plan` and `content` to be
written, or all of them, as the layouts of this package have them. The results of these functions
are checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from intravariance.cloud_files import PointCloud
from intravariance.dataset.specification import SPLITS
from intravariance.dataset.store import Record, Sample
from intravariance.errors import first_of
from intravariance.exchange.layouts.entries import (
    CONTENTS,
    EXPORT_RECORD,
    Entry,
    ExportOptions,
    Rules,
)
from intravariance.exchange.layouts.scan import Scan, in_order
from intravariance.exchange.layouts.side_file import SIDE_FILE
from intravariance.extensions import Extension, ExtensionError
from intravariance.files.checksums import NAME as CHECKSUMS
from intravariance.files.provenance import PROVENANCE
from intravariance.files.trees import Tree
from intravariance.progress import say

_IN_SIDE_FILE = ("subcategory", "pose", "parameters")
_OUR_FILES = {SIDE_FILE, EXPORT_RECORD, PROVENANCE, CHECKSUMS, "README.md"}


@dataclass(frozen=True)
class _CheckedReader:
    """Reads a scan with an extension's function, in whatever process."""

    extension: Extension
    function: Callable[[Scan], PointCloud]

    def __call__(self, scan: Scan) -> PointCloud:
        try:
            with self.extension.used():
                cloud = self.function(scan)
        except ExtensionError as error:
            raise ExtensionError(f"{scan.paths[0]}: {error}") from error
        if not isinstance(cloud, PointCloud):
            raise self.extension.refuse(f"a PointCloud of {scan.cloud}", repr(cloud)[:60])
        return cloud


class AddedLayout:
    """A layout that an installed package adds; a `LayoutReader`, a `LayoutWriter`, or both.

    Raises ExtensionError where it cannot be imported or lacks what is needed. needed : names of its
    functions.
    """

    def __init__(self, extension: Extension, *needed: str) -> None:
        self.extension = extension
        self.LAYOUT_NAME = extension.name
        self._given = extension.load()
        if missing := [name for name in needed if not callable(getattr(self._given, name, None))]:
            use = "be read" if needed == ("find",) else "be written"
            raise extension.refuse(
                f"the functions {', '.join(needed)}, for it to {use}", f"no {', '.join(missing)}"
            )
        self.HOLDS = {
            **{content: SIDE_FILE if content in _IN_SIDE_FILE else "" for content in CONTENTS},
            **getattr(self._given, "HOLDS", {}),
        }
        self.RULES: Rules = getattr(self._given, "RULES", Rules())
        if set(self.HOLDS) != set(CONTENTS) or not isinstance(self.RULES, Rules):
            raise extension.refuse(
                f"HOLDS with some of {', '.join(CONTENTS)}, and RULES of the class Rules",
                f"HOLDS {self.HOLDS} and RULES {self.RULES!r}",
            )

    def recognises(self, names: list[str]) -> bool:
        """Return False: what a package adds is read where a user names it."""
        return False

    def find(self, tree: Tree, root: Path, skipped: list[str] | None = None) -> list[Scan]:
        """Return all scans, in order, and tell of the files that none of them has."""
        with self.extension.used():
            found = self._given.find(tree, root, skipped)
        if not isinstance(found, list) or not all(isinstance(one, Scan) for one in found):
            raise self.extension.refuse("a list of Scans from find", repr(found)[:60])
        if wrong := [scan.id for scan in found if scan.split not in SPLITS]:
            raise self.extension.refuse(f"scans of {' or '.join(SPLITS)}", f"others: {wrong[0]}")
        ids = [scan.id for scan in found]
        if len(set(ids)) < len(ids):
            twice = next(one for one in ids if ids.count(one) > 1)
            raise self.extension.refuse("an id of its own for each scan", f"{twice!r} twice")
        used = {name for scan in found for name in (scan.cloud, scan.truth, scan.displacement)}
        if left := [name for name in tree.files("") if name not in used | _OUR_FILES]:
            say(f"note: {self.LAYOUT_NAME}: not read: {first_of(left, 3)}")
        return in_order(
            [replace(scan, reader=_CheckedReader(self.extension, scan.reader)) for scan in found]
        )

    def plan(self, records: Sequence[Record], options: ExportOptions) -> list[Entry]:
        """Name the files of each sample."""
        with self.extension.used():
            entries = self._given.plan(records, options)
        if not isinstance(entries, list) or not all(isinstance(one, Entry) for one in entries):
            raise self.extension.refuse("a list of Entries from plan", repr(entries)[:60])
        if [entry.id for entry in entries] != [record.id for record in records]:
            raise self.extension.refuse("an Entry for each sample, in their order", "others")
        names = [name for entry in entries for name in _files(entry)]
        if bad := [name for name in names if not _is_inside(name)]:
            raise self.extension.refuse("names of files inside the folder", repr(bad[0]))
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise self.extension.refuse("files of its own for each sample", f"{twice!r} twice")
        return entries

    def content(self, sample: Sample, entry: Entry, options: ExportOptions) -> dict[str, bytes]:
        """Return the bytes of each file of a sample, by its name in the tree."""
        with self.extension.used():
            content = self._given.content(sample, entry, options)
        return self._bytes(content, _files(entry), "content")

    def lists(self, records: Sequence[Record], entries: Sequence[Entry]) -> dict[str, bytes]:
        """Return the files about all samples together, by name."""
        if not hasattr(self._given, "lists"):
            return {}
        with self.extension.used():
            content = self._given.lists(records, entries)
        return self._bytes(content, None, "lists")

    def _bytes(self, content: Any, names: list[str] | None, source: str) -> dict[str, bytes]:
        """Check a table of files; names : those that it has to have, None for any."""
        expected = f"a dict of bytes by the name of the file from {source}"
        if not isinstance(content, Mapping) or not all(
            isinstance(data, bytes) for data in content.values()
        ):
            raise self.extension.refuse(expected, repr(content)[:60])
        if names is not None and set(content) != set(names):
            raise self.extension.refuse(
                f"the files {', '.join(names)} from {source}", ", ".join(content) or "none"
            )
        if bad := [name for name in content if not _is_inside(name)]:
            raise self.extension.refuse("names of files inside the folder", repr(bad[0]))
        return dict(content)


def _files(entry: Entry) -> list[str]:
    return [name for name in (entry.cloud, entry.truth, *entry.others.values()) if name]


def _is_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts and "\\" not in name
