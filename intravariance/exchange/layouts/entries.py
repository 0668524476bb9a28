# SPDX-License-Identifier: Apache-2.0
"""The part that exported layouts share: a plan of files by sample, made before any is written.

Every layout that is written is a `LayoutWriter`, one module of this package.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from intravariance.dataset.store import Record, Sample

# The record of an export's folder (`files.folders`): metadata, digest and order of the samples.
EXPORT_RECORD = "iv_export.json"
PARQUET_LAYOUT = "hf-parquet"  # no tree of clouds, see `exchange.parquet`
WEBDATASET_LAYOUT = "webdataset"  # nor this one, see `exchange.webdataset`; it is not read

# Content of a dataset file beside points, labels, split and defect.
CONTENTS = ("subcategory", "pose", "parameters", "normals", "displacement", "mesh")


CrackSpelling = Literal["crak", "crack"]
Delimiter = Literal[",", " "]


@dataclass(frozen=True)
class ExportOptions:
    """Hold what a user may choose.

    spelling : of a crack on disk. delimiter : of columns in ground truth. noise_sigma : of the
    dataset, standard deviation on each coordinate. defects : names of defects that the layout does
    not take, and what they are on disk (see `defect_words`).
    """

    spelling: CrackSpelling = "crack"
    delimiter: Delimiter = " "
    noise_sigma: float = 0.0
    defects: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """Name the files of one sample, with `/`, in the tree.

    id : of the sample. cloud, truth : "" for no ground truth. others : by what they hold.
    """

    id: str
    cloud: str
    truth: str = ""
    others: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rules:
    """Say what readers of a layout bear.

    spellings, delimiters : that may be chosen, the default first. fewest_points : of a cloud.
    path_words : what may not be in the path of the tree, nor in names of categories, with the
    reason. name_words : what may not be in names of categories and defects. path_doubts,
    name_doubts : words there that a reader we do not know may take amiss; they are said, and no
    more. letters : whether the name of a defect has letters alone (others are rewritten).
    reserved : names that no category may have. unlabelled : whether a defective cloud may come
    without ground truth.
    """

    spellings: tuple[CrackSpelling, ...] = ("crack",)
    delimiters: tuple[Delimiter, ...] = (" ",)
    fewest_points: int = 1
    path_words: Mapping[str, str] = field(default_factory=dict)
    name_words: Mapping[str, str] = field(default_factory=dict)
    path_doubts: tuple[str, ...] = ()
    name_doubts: tuple[str, ...] = ()
    letters: bool = False
    reserved: tuple[str, ...] = ()
    unlabelled: bool = False


class LayoutWriter(Protocol):
    """Write one layout; a module of this package.

    HOLDS : where the tree has each of CONTENTS, "" for nowhere.
    """

    LAYOUT_NAME: str
    HOLDS: dict[str, str]
    RULES: Rules

    def plan(self, records: Sequence[Record], options: ExportOptions) -> list[Entry]:
        """Name the files of each sample."""

    def content(self, sample: Sample, entry: Entry, options: ExportOptions) -> dict[str, bytes]:
        """Return the bytes of each file of a sample, by its name in the tree."""

    def lists(self, records: Sequence[Record], entries: Sequence[Entry]) -> dict[str, bytes]:
        """Return the files about all samples together, by name."""


class Numbers:
    """Count from 0 within each key."""

    def __init__(self) -> None:
        self._used: Counter[tuple[str, ...]] = Counter()

    def next(self, *key: str) -> int:
        """Return the next number of the key."""
        self._used[key] += 1
        return self._used[key] - 1


def defect_words(rules: Rules, records: Sequence[Record]) -> dict[str, str]:
    """Return what defects are called on disk whose names a layout of `letters` does not take.

    Accents are taken off and all but letters left out; different names stay different.
    """
    names = list(dict.fromkeys(record.defect for record in records))
    used = {name for name in names if re.fullmatch("[a-z]+", name)} | set(rules.name_words)
    words: dict[str, str] = {}
    for name in names if rules.letters else ():
        if re.fullmatch("[a-z]+", name):
            continue
        plain = unicodedata.normalize("NFKD", name.casefold())
        word = wanted = re.sub("[^a-z]", "", plain) or "defect"
        number = 0
        while word in used:
            number += 1
            word = wanted + _letters(number)
        used.add(word)
        words[name] = word
    return words


def _letters(number: int) -> str:
    """Write a number from 1 on as letters: a, b, ..., z, aa, ab, ..."""
    text = ""
    while number:
        number, digit = divmod(number - 1, 26)
        text = chr(ord("a") + digit) + text
    return text


def problems(
    rules: Rules, records: Sequence[Record], path: str, words_of: Mapping[str, str] | None = None
) -> list[str]:
    """List what keeps these samples, in a tree at `path`, from being read.

    words_of : what defects are called on disk, where it is another name.
    """
    found = [
        f"its path {path} contains `{word}`: {why}. Choose another --out, or export elsewhere and "
        "move the folder"
        for word, why in rules.path_words.items()
        if word in path
    ]
    words = {**rules.path_words, **rules.name_words}
    for category in dict.fromkeys(record.category for record in records):
        found += _forbidden(f"the category {category}", category, words)
        if category in rules.reserved:
            found.append(f"the category {category} has the name of a folder of the layout")
    for defect in dict.fromkeys(record.defect for record in records):
        found += _forbidden(f"the defect {defect}", (words_of or {}).get(defect, defect), words)
    bare = [record for record in records if not record.labelled]
    if bare and not rules.unlabelled:
        found.append(
            f"{len(bare)} of {len(records)} samples have no labels of their points, the first is "
            f"{bare[0].id}, and readers want ground truth for each defective cloud. Label them "
            "with `iv labels`, or take mvtec-like-folder or hf-parquet"
        )
    small = [record for record in records if record.n_points < rules.fewest_points]
    if small:
        found.append(
            f"{len(small)} of {len(records)} samples have fewer than {rules.fewest_points:,} "
            "points, and methods like R3D-AD draw as many from each cloud; the first is "
            f"{small[0].id} with {small[0].n_points:,}"
        )
    return found


def doubts(rules: Rules, records: Sequence[Record], path: str) -> list[str]:
    """List words in a tree at `path` that have a meaning in the layout and are not meant so."""
    places = [(f"the path {path}", path, rules.path_doubts)]
    for kind in ("category", "defect"):
        names = dict.fromkeys(getattr(record, kind) for record in records)
        places += [(f"the {kind} {name}", name, rules.name_doubts) for name in names]
    return [
        f"{what} contains `{word}`, which has a meaning of its own in the layout; some readers "
        "look for it in the whole path"
        for what, name, words in places
        for word in words
        if word in name
    ]


def _forbidden(what: str, name: str, words: Mapping[str, str]) -> list[str]:
    return [f"{what} contains `{word}`: {why}" for word, why in words.items() if word in name]
