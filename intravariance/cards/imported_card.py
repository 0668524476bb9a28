# SPDX-License-Identifier: Apache-2.0
"""The text of an imported file's card besides the counts: it says nothing that is not known.

The prose is `templates/imported_card.md`. Licences and citations are those that an export stated
(see `exported_from`), or else those of the public data sets whose layouts we read; data in such a
layout need not be theirs, and the card says so.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from annotations.vocabulary import NORMAL, UNKNOWN_LABEL, definition, in_order
from intravariance.cards.terms import Terms, spdx, terms_from
from intravariance.dataset.store import Dataset, Record
from intravariance.tables import Cell, markdown_table


@dataclass(frozen=True)
class Origin:
    """A public data set: its name, licence and BibTeX entry."""

    name: str
    licence: str
    bibtex: str


@cache
def origins() -> dict[str, Origin]:
    """Return the public data sets whose layouts we read, by the layout's name."""
    text = (files(__package__) / "templates" / "origins.toml").read_text(encoding="utf-8")
    return {layout: Origin(**entry) for layout, entry in tomllib.loads(text).items()}


def imported_parts(dataset: Dataset) -> dict[str, str]:
    """Return texts and tables of the card that only an imported file has."""
    identity = dataset.metadata["identity"]
    imported = identity["imported"]
    records = list(dataset)
    defects = in_order(r.defect for r in records if r.defect != NORMAL)
    terms = imported_terms(imported)
    return {
        "license": terms.front_matter(),
        "whose": _whose(imported),
        "frames": _frames(imported),
        "made": _made(identity),
        "renamed": _renamed(imported),
        "meshes": _meshes(records),
        "unlabelled": _unlabelled(records),
        "skipped": _skipped(dataset.metadata.get("skipped"))
        + _left_out(dataset.metadata.get("left_out")),
        "defect_table": markdown_table(
            ("defect", "samples", "labelled points (%)"),
            [_defect_row(name, records) for name in defects],
        ),
        "vocabulary": markdown_table(
            ("defect", "what it is"),
            [
                (name, known.description if (known := definition(name)) else "a word of the data")
                for name in defects
            ],
        ),
        "licence_text": terms.licence,
        "citation": terms.citation,
        "identity": identity_table(dataset),
    }


def identity_table(dataset: Dataset) -> str:
    """Show what a file records of how it was made, and with which software, as Markdown."""
    metadata = dataset.metadata
    rows = [("content digest", dataset.digest), ("format version", dataset.version)]
    plain = sorted(metadata["identity"].items())
    rows += [(key, value) for key, value in plain if not isinstance(value, dict | list)]
    rows += [(f"software: {k}", v) for k, v in sorted(metadata.get("software", {}).items())]
    return markdown_table(("", ""), [(name, f"`{value}`") for name, value in rows])


def imported_terms(imported: Mapping[str, Any]) -> Terms:
    """Return the terms of imported data: those of its export, or else those known of its layout.

    imported : the identity's.
    """
    if exported := imported.get("exported_from"):
        return terms_from(exported["terms"])
    front = {"license": "other", "license_name": "that-of-the-data"}
    licence = "The clouds and labels are somebody else's: their licence applies."
    citation = "Please cite the makers of the data."
    if origin := origins().get(imported["layout"]):
        front["license_link"] = spdx(origin.licence.replace(" ", "-"))
        licence += f" The public data set in this layout, {origin.name}, is under {origin.licence}."
        citation += f" If it is {origin.name}:\n\n```bibtex\n{origin.bibtex}\n```"
    return Terms(front, licence, citation)


def known_noise(imported: Mapping[str, Any]) -> float | None:
    """Return the noise that imported clouds came with, as a standard deviation in the unit of the
    file that was exported; None where nobody knows it.
    """
    origin = imported.get("exported_from", {}).get("origin", {"imported": {}})
    return None if "imported" in origin else float(origin["noise_sigma"])


def _whose(imported: Mapping[str, Any]) -> str:
    """Say where the data comes from, the middle of a sentence."""
    folder = f"the folder `{imported['tree']}`, in the layout `{imported['layout']}`"
    exported = imported.get("exported_from")
    if exported is None:
        return f"somebody else's data: {folder}"
    origin = exported["origin"]
    text = (
        f"{folder}, which `iv export` wrote from a dataset file of the content digest "
        f"`{exported['content_digest']}`. Source `{origin['source']}`, seed {origin['seed']}, pose "
        f"{origin['pose']}"
    )
    return f"{text}; that file was imported itself" if "imported" in origin else text


def _frames(imported: Mapping[str, Any]) -> str:
    frames = imported.get("frames", {})
    rows = [
        (name, frame["coordinates"], f"{frame['length']:.6g}" if "length" in frame else "-")
        for name, frame in frames.items()
    ]
    return markdown_table(("clouds of", "coordinates", "length"), rows)


def _made(identity: Mapping[str, Any]) -> str:
    """Say what was done to the clouds besides."""
    collated = identity["imported"].get("collated")
    if collated is None:
        noise = known_noise(identity["imported"])
        if noise is None:
            return (
                "`iv` added no noise, drew no points and turned nothing. The noise that the clouds "
                "have is unknown."
            )
        return (
            "The import added no noise, drew no points and turned nothing. The clouds came with "
            f"Gaussian noise of standard deviation {noise:.4g} on each coordinate, in the unit of "
            "the file that was exported."
        )
    low, high = collated["points"]
    text = (
        f"This file is a collation: classes of the data were joined into categories, and a random "
        f"subset of {low} to {high} points was taken of each cloud that has more. Then Gaussian "
        f"noise of standard deviation {float(identity['noise_sigma']):.4g} was added to each "
        f"stored coordinate (test samples posed first: {identity['pose']}), with seed "
        f"{identity['seed']}. The noise that the clouds had before is unknown."
    )
    if collated["up"] == "y":
        text += " The files' y axis points up: clouds were turned by a quarter, so that it is z."
    classes = [(name, ", ".join(its)) for name, its in collated["classes"].items()]
    text += f"\n\n{markdown_table(('category', 'classes'), classes)}"
    text += f"\n\nTemplates taken of each class: {', '.join(collated['templates'])}."
    if collated["differences"]:
        lines = "\n".join(f"- {line}" for line in collated["differences"])
        text += f"\n\nDifferences from the specification:\n\n{lines}"
    return text


def _renamed(imported: Mapping[str, Any]) -> str:
    renamed = imported.get("renamed")
    if not renamed:
        return ""
    names = ", ".join(f"`{old}` is `{new}`" for old, new in renamed.items())
    return f"Names written in another way here: {names}.\n\n"


def _skipped(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "All clouds found are in the file."
    lines = "\n".join(f"- {reason}" for reason in record["scans"].values())
    more = record["count"] - len(record["scans"])
    rest = f"\n- and {more} more" if more else ""
    return f"{record['count']} clouds were left out, because they cannot be used:\n\n{lines}{rest}"


def _meshes(records: Sequence[Record]) -> str:
    templates = [record for record in records if record.split == "train"]
    if templates and all(record.has_mesh for record in templates):
        return (
            "Each template has a mesh, on which its points\nwere drawn without noise: `iv train` "
            "learns from it (the track `meshes`), or from the\nstored points (`clouds`)."
        )
    return (
        "There are no meshes: `iv train` learns from the stored points, and says so (the\ntrack "
        "`clouds`)."
    )


def _unlabelled(records: Sequence[Record]) -> str:
    """Say how many samples have no labels of their points, "" where all have."""
    count = sum(not record.labelled for record in records)
    if not count:
        return ""
    objects = sum(not record.object_known for record in records)
    also = f", nor whether there is a defect in {objects} of them" if objects else ""
    return (
        f"\n\n**Without labels.** Nobody says which points of {count} test samples are anomalous"
        f"{also}. All their labels are {UNKNOWN_LABEL}, their displacement is NaN; `iv evaluate` "
        "leaves them out of figures of points, or altogether, and says so."
    )


def _left_out(record: Mapping[str, Any] | None) -> str:
    """Say which files beside the clouds were not read; "" for none."""
    if record is None:
        return ""
    kinds = ", ".join(f"{its['count']} `{kind}`" for kind, its in record["kinds"].items())
    links = record["links"]["count"]
    also = f"{', ' if kinds else ''}{links} links that were not followed" if links else ""
    return f" Beside the clouds lay {record['count']} files that were not read: {kinds}{also}."


def _defect_row(defect: str, records: Iterable[Record]) -> tuple[Cell, ...]:
    own = [r for r in records if r.defect == defect]
    shares = [100 * r.n_anomalous / r.n_points for r in own if r.labelled]
    if not shares:
        return defect, len(own), "not labelled"
    if len(shares) < len(own):
        cells = _defect_row(defect, [r for r in own if r.labelled])
        return defect, len(own), f"{cells[2]} ({len(own) - len(shares)} not labelled)"
    return defect, len(shares), " / ".join(f"{f(shares):.2f}" for f in (np.min, np.median, np.max))
