# SPDX-License-Identifier: Apache-2.0
"""Which source `--source` names, and which base mesh becomes which product.

Instant: no mesh is read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from intravariance.dataset.specification import Category, Specification
from intravariance.errors import InputError
from intravariance.extensions import added, find
from intravariance.names import plain_name
from intravariance.seeds import generator
from intravariance.sources.added import Added
from intravariance.sources.finding import (
    FILE_SOURCES,
    Candidate,
    Carried,
    Folder,
    Procedural,
    Source,
    Up,
)

FORMS = "procedural, folder:PATH, modelnet40:PATH, shapenet:PATH (PATH is a folder or a .zip file)"
RESERVES_SENT = 8  # of the meshes that may stand for a bad one, to another machine
OWN = ("procedural", "anomaly_shapenet", *FILE_SOURCES)


def parse_source(text: str, up: Up | None = None, follow_links: bool = False) -> Source:
    """Return the source that `--source` names. Raises InputError for other forms and missing paths.

    follow_links : also out of the folder. up : the axis that points up in the files; None takes the
    layout's own: y in ShapeNet and in glb files (both by their specification), z elsewhere.
    """
    if text == "procedural":
        if up is not None:
            raise InputError(f"--up {up} is for files; --source procedural has none")
        return Procedural()
    kind, _, location = text.partition(":")
    if kind == "anomaly_shapenet":
        raise InputError(
            f"--source {text}: Anomaly-ShapeNet has clouds, not meshes; Group 1 is collated from "
            "it, and it can make no other dataset"
        )
    if extension := find("source", text, OWN):
        return Added(extension, up)
    if kind not in FILE_SOURCES or not location:
        others = "".join(f", {name}" for name in added("source", OWN))
        raise InputError(f"--source {text}: expected one of {FORMS}{others}")
    path = Path(os.path.expanduser(location))  # Path.expanduser raises where there is no such user
    if not path.is_dir() and not (path.is_file() and path.suffix.lower() == ".zip"):
        found = "a file of another kind" if path.exists() else "nothing"
        raise InputError(f"--source {text}: expected a folder or a .zip file, found {found}")
    return FILE_SOURCES[kind](path, up, follow_links)


@dataclass(frozen=True)
class Choice:
    """The base mesh of one subcategory, first the one chosen, then reserves for `--skip-bad`.

    No mesh is offered to two subcategories. dealt : whether the seed dealt it, for want of a file
    or folder of the subcategory's name.
    """

    category: str
    subcategory: str
    offers: tuple[tuple[Source, Candidate], ...]
    dealt: bool = False

    @property
    def origin(self) -> str:
        """Return what is recorded of the mesh chosen, e.g. "folder:bowl/soup.obj"."""
        return origin(*self.offers[0])

    def carried(self, most: int) -> Choice:
        """Return the choice with the content of its first `most` files, and without the others."""
        offers = (
            (Carried.of(source, candidate.name), candidate)
            if isinstance(source, Folder)
            else (source, candidate)
            for source, candidate in self.offers[:most]
        )
        return replace(self, offers=tuple(offers))


def origin(source: Source, candidate: Candidate) -> str:
    """Return the kind of the source and path inside it; no path of this machine."""
    return f"{source.kind}:{candidate.name}"


def choose(
    specification: Specification, source: Source, seed: int, fill: bool = False
) -> list[Choice]:
    """Choose a base mesh for every subcategory, in the order of the specification.

    A mesh that the specification names (`meshes`) is the only one considered. Else, where the
    source has a folder or file of the subcategory's name, it is of these, and the seed picks one;
    where it has none, the seed deals out the category's other files (`Choice.dealt`). `fill` takes
    embedded designs where there are too few, and as the last reserve.

    Raises one InputError that lists every category with too few meshes.
    """
    choices: list[Choice] = []
    shortages: list[str] = []
    for category in specification.categories:
        offers = _offers(category, source, seed)
        designs = {c.product: c for c in Procedural().candidates(category)} if fill else {}
        missing = []
        for subcategory in category.subcategories:
            found = [(source, candidate) for candidate in offers[subcategory]]
            dealt = bool(found) and not _is_own(category, subcategory, found[0][1])
            if subcategory in designs and subcategory not in category.meshes:
                found.append((Procedural(), designs[subcategory]))
            if found:
                choices.append(
                    Choice(category.name, subcategory, tuple(dict.fromkeys(found)), dealt)
                )
            else:
                missing.append(subcategory)
        if missing:
            shortages.append(
                f"  {category.name}: {len(category.subcategories) - len(missing)} of "
                f"{len(category.subcategories)} found, missing {', '.join(missing)}; "
                f"looked in {source.where(category)}"
                + "".join(f"\n    {note}" for note in source.left_out(category))
            )
    if shortages:
        advice = (
            "" if fill else "\nAdd meshes, or take embedded designs for them: --fill procedural"
        )
        raise InputError(
            f"the source {source.label} has too few base meshes:\n" + "\n".join(shortages) + advice
        )
    return choices


def choice_notes(specification: Specification, source: Source, choices: list[Choice]) -> list[str]:
    """Tell of what the source has and is not read, and which meshes the seed dealt out."""
    notes = [
        f"{category.name}: {note}"
        for category in specification.categories
        for note in source.left_out(category)
    ]
    return notes + [
        f"{choice.category}/{choice.subcategory} is {choice.origin}: dealt by the seed, no file or "
        "folder has its name"
        for choice in choices
        if choice.dealt
    ]


def _is_own(category: Category, subcategory: str, candidate: Candidate) -> bool:
    return subcategory in category.meshes or candidate.product == plain_name(subcategory)


def _offers(category: Category, source: Source, seed: int) -> dict[str, list[Candidate]]:
    """Return the candidates of each subcategory in the order in which they are to be tried."""
    candidates = source.candidates(category)
    named = {name: _named(category, name, source, candidates) for name in category.meshes}
    taken = set(named.values())
    products = {plain_name(subcategory): subcategory for subcategory in category.subcategories}
    own: dict[str, list[Candidate]] = {subcategory: [] for subcategory in category.subcategories}
    for candidate in candidates:
        if candidate.product in products and candidate not in taken:
            own[products[candidate.product]].append(candidate)
    offers = {name: [candidate] for name, candidate in named.items()}
    dealt = []
    for subcategory in category.subcategories:
        if subcategory in named:
            continue
        if own[subcategory]:
            offers[subcategory] = _shuffled(own[subcategory], seed, category.name, subcategory)
        else:
            dealt.append(subcategory)
    # An embedded design is one product and never stands for another.
    pool = (
        []
        if source.kind == "procedural"
        else [c for c in candidates if c.product not in products and c not in taken]
    )
    pool = _shuffled(pool, seed, category.name)
    for index, subcategory in enumerate(dealt):
        offers[subcategory] = pool[index :: len(dealt)]
    return offers


def _shuffled(candidates: list[Candidate], seed: int, *identity: str) -> list[Candidate]:
    rng = generator(seed, "base meshes", *identity)
    return [candidates[index] for index in rng.permutation(len(candidates))]


def _named(
    category: Category, subcategory: str, source: Source, candidates: list[Candidate]
) -> Candidate:
    path = category.meshes[subcategory]
    for candidate in candidates:
        if candidate.name == path:
            return candidate
    raise InputError(
        f"the specification's category {category.name}: meshes.{subcategory} = {path!r} is not "
        f"among the {len(candidates)} files of {source.where(category)}"
        + (f", for example {candidates[0].name!r}" if candidates else "")
    )
