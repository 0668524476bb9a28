# SPDX-License-Identifier: Apache-2.0
"""Names of an imported file: categories, subcategories and defects as the store writes them, ids.

All of them keep their names, in any script, but for what no name may have. Different names stay
different: where two become the same, the later gets a number behind it. Defects that differ in
capitals, spaces or hyphens alone are one, under the spelling that comes first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from annotations.vocabulary import NORMAL, UNLABELLED
from intravariance.dataset.schema import TABLE
from intravariance.exchange.importing.sample import ImportJob
from intravariance.exchange.layouts import Scan
from intravariance.names import as_name, plain_name
from intravariance.seeds import generator

_LONGEST_NAME = 60


def name_scans(scans: Sequence[Scan], tree: str) -> tuple[list[ImportJob], dict[str, str]]:
    """Return a job for each scan in the order of the file, and the names that had to be changed.

    Ids are "<category>_<split>_<number>"; numbers are dealt at random, so that neither the id nor
    the place in the file says anything of the label, as in our own files.
    """
    fallback = as_name(tree) or "objects"
    categories = _different(
        [s.category or fallback for s in scans], lambda name: as_name(name) or "unnamed", {TABLE}
    )
    subcategories = _different(
        [s.subcategory for s in scans if s.subcategory], lambda name: as_name(name) or "unnamed"
    )
    reserved = {NORMAL: NORMAL, UNLABELLED: UNLABELLED}
    spellings = _first_spellings(s.defect for s in scans if s.defect not in reserved)
    words = _different(spellings.values(), lambda name: as_name(name) or "defect", reserved)
    defects = reserved | {name: words[first] for name, first in spellings.items()}
    grouped: dict[tuple[str, str], list[Scan]] = {
        (name, split): [] for name in categories.values() for split in ("train", "test")
    }
    for scan in scans:
        grouped[categories[scan.category or fallback], scan.split].append(scan)
    jobs = []
    for (category, split), its_scans in grouped.items():
        width = max(3, len(str(len(its_scans) - 1)))
        order = generator(0, "import", category, split).permutation(len(its_scans))
        for number, index in enumerate(order):
            scan = its_scans[index]
            subcategory = subcategories[scan.subcategory] if scan.subcategory else category
            jobs.append(
                ImportJob(
                    scan=scan,
                    id=f"{category}_{split}_{number:0{width}d}",
                    category=category,
                    subcategory=subcategory,
                    defect=defects[scan.defect],
                    group=category,
                )
            )
    changed = {
        old: new for names in (categories, subcategories, defects) for old, new in names.items()
    }
    return jobs, {old: new for old, new in changed.items() if old != new}


def _first_spellings(names: Iterable[str]) -> dict[str, str]:
    """Return for each name the first of those that are spelled otherwise and are the same."""
    first: dict[str, str] = {}
    return {name: first.setdefault(plain_name(name), name) for name in names}


def valid_name(text: str, fallback: str) -> str:
    """Write a text as a plain name: lower-case letters, digits, underscores, a letter first."""
    plain = unicodedata.normalize("NFKD", plain_name(text)).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:_LONGEST_NAME]
    if not name:
        return fallback
    return name if name[0].isalpha() else f"n{name}"


def tree_name(path: Path) -> str:
    """Return the name of a folder or archive, without its place on this machine."""
    name = path.resolve().name
    return name.removesuffix(path.suffix) if path.is_file() else name


def _different(
    names: Iterable[str], renamed: Callable[[str], str], taken: Iterable[str] = ()
) -> dict[str, str]:
    """Return the new names; different ones stay different, and none is already taken.

    Names that differ in capitals, spaces or hyphens alone count as the same.
    """
    new: dict[str, str] = {}
    used = set(taken)
    for name in dict.fromkeys(names):
        wanted = free = renamed(name)
        number = 1
        while plain_name(free) in used:
            number += 1
            free = f"{wanted}_{number}"
        used.add(plain_name(free))
        new[name] = free
    return new
