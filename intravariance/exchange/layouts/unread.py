# SPDX-License-Identifier: Apache-2.0
"""Files of a tree that become no sample: which they are, and what would be missing with them."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from annotations.vocabulary import NORMAL
from intravariance.cloud_files import SUFFIXES
from intravariance.dataset.specification import Split
from intravariance.errors import first_of
from intravariance.exchange.layouts.scan import Scan
from intravariance.files.trees import Tree
from intravariance.sources.finding import COMPANIONS

# Category, split and defect, "" where a name does not tell.
Place = tuple[str, Split, str]

_PROSE = re.compile(
    r"(read[ _-]?me|licen[cs]e|copying|copyright|citation|changelog|authors)([ ._-].*)?"
    r"|notes?|todo",
    re.IGNORECASE,
)
_PROSE_ENDINGS = ("", ".txt", ".csv")
# A link to a folder may be that of a category, a split or a defect.
_IN_A_LINK = ("/x", "/train/x", "/test/x", "/test/good/x")
_SHOWN, _RECORDED, _LONGEST = 3, 20, 200


@dataclass(frozen=True)
class LeftOut:
    """files : names by kind, a suffix in lower case. links : `name -> where it leads`, which are
    not followed."""

    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    links: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Count files and links."""
        return len(self.links) + sum(map(len, self.files.values()))

    def lines(self, root: str) -> list[str]:
        """Say what was left out of `root`, a line for the files and one for the links."""
        said = [f"not read: {self.kinds()}"] if self.files else []
        if self.links:
            said.append(
                f"not followed: {len(self.links)} {'link' if len(self.links) == 1 else 'links'} to "
                f"folders or out of {root} ({first_of(self.links, _SHOWN)}); --follow-links "
                "follows them"
            )
        return said

    def kinds(self) -> str:
        """Count the files by kind, the first of each with its name."""
        return "; ".join(
            f"{len(names)} {kind} ({first_of(names, _SHOWN)})" for kind, names in self.files.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what a dataset file records, JSON-able: counts, and some names of each kind."""

        def shortened(names: Iterable[str]) -> list[str]:
            return [name[:_LONGEST] for name in list(names)[:_SHOWN]]

        kinds = list(self.files.items())
        return {
            "count": self.count,
            "kinds": {
                kind[:_LONGEST]: {"count": len(names), "files": shortened(names)}
                for kind, names in kinds[:_RECORDED]
            },
            "links": {
                "count": len(self.links),
                "names": [link[:_LONGEST] for link in self.links[:_RECORDED]],
            },
        }


NOTHING_LEFT_OUT = LeftOut()


def is_prose(name: str) -> bool:
    """Tell by its name whether a text file is a README, a licence, notes or the like."""
    path = PurePosixPath(name)
    return path.suffix.lower() in _PROSE_ENDINGS and bool(_PROSE.fullmatch(path.stem))


def left_out(tree: Tree, scans: Iterable[Scan], read: Iterable[str] = ()) -> LeftOut:
    """Return the files that no scan has, sorted, by kind. read : files that are used otherwise."""
    used = set(read).union(*(scan.names for scan in scans))
    return LeftOut(
        _by_kind(name for name in tree.files("") if name not in used),
        tuple(tree.links_left_out("")),
    )


def emptied(
    tree: Tree, scans: Iterable[Scan], place_of: Callable[[str], Place | None]
) -> list[str]:
    """Tell of categories, splits and defects without a cloud whose files are not read.

    place_of : where a cloud of this name would belong, whatever its kind; None for nowhere. Each
    line is "<first file>: <reason>".
    """
    scans = list(scans)
    found: set[tuple[str, ...]] = set()
    for scan in scans:
        found |= {(scan.category,), (scan.category, scan.split)}
        found.add((scan.category, scan.split, scan.defect))
    missing: dict[tuple[str, ...], list[str]] = defaultdict(list)
    unread = left_out(tree, scans)
    for name in (name for names in unread.files.values() for name in names):
        if not _is_companion(name) and (place := place_of(name)):
            _add(missing, found, place, name)
    for link in unread.links:
        name = link.partition(" -> ")[0]
        target = Path(os.path.realpath(tree.path / name))
        if target.is_relative_to(os.path.realpath(tree.path)):
            continue  # what it leads to is read where it lies
        places = (place_of(name + end) for end in (_IN_A_LINK if target.is_dir() else ("",)))
        if place := next(filter(None, places), None):
            _add(missing, found, place, f"{link} (a link)")
    return [_problem(tree, place, names) for place, names in sorted(missing.items())]


def _add(
    missing: dict[tuple[str, ...], list[str]],
    found: set[tuple[str, ...]],
    place: Place,
    name: str,
) -> None:
    """Note the widest of category, split and defect that has no cloud."""
    known = tuple(part for part in place[1:] if part)
    for length in range(1 + len(known)):
        if (*place[:1], *known[:length]) not in found:
            missing[(*place[:1], *known[:length])].append(name)
            return


def _problem(tree: Tree, place: tuple[str, ...], names: list[str]) -> str:
    category, *rest = place
    what = {
        0: f"the category {category or tree.path.name}",
        1: f"the split {rest[0] if rest else ''}",
        2: f"the defect {rest[-1] if rest else ''}",
    }[len(rest)]
    what = "normal test clouds" if rest[1:] == [NORMAL] else what
    of = f" of {category}" if category and rest else ""
    links = [name for name in names if name.endswith(" (a link)")]
    advice = f"Save them as one of {' '.join(SUFFIXES)}, or move them elsewhere"
    if links:
        advice = "Links are followed with --follow-links"
    return (
        f"{tree.path / names[0].partition(' -> ')[0]}: {what}{of} would be empty, as none of its "
        f"files is read: {first_of(names, _SHOWN)}. {advice}"
    )


def _by_kind(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in names:
        kinds[PurePosixPath(name).suffix.lower() or "without an ending"].append(name)
    return {kind: tuple(found) for kind, found in sorted(kinds.items())}


def _is_companion(name: str) -> bool:
    """Tell whether it lies beside clouds and is none, by its name: pictures, notes, lists."""
    suffix = PurePosixPath(name).suffix.lower()
    return is_prose(name) or (suffix.lstrip(".") in COMPANIONS and suffix not in SUFFIXES)
