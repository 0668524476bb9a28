# SPDX-License-Identifier: Apache-2.0
"""The dataset card: a Markdown file in the form of the Hugging Face Hub, made from a built file.

The prose is `templates/dataset_card.md`; every number in it is taken here from the file, or from
the constants that made the file.
"""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from annotations.vocabulary import (
    DISPLACEMENT_THRESHOLD,
    NORMAL,
    RIM_WIDTH,
    UNLABELLED,
    in_order,
)
from intravariance.cards.imported_card import identity_table, imported_parts
from intravariance.cards.labels import hand_labels, in_prose
from intravariance.dataset.difficulty import BANDS
from intravariance.dataset.published import compare
from intravariance.dataset.specification import GROUPS, Specification
from intravariance.dataset.specification_reader import load_group
from intravariance.dataset.store import Dataset, Record, open_dataset
from intravariance.geometry.sampling import LARGEST_SHIFT, NOISE_VARIANCE
from intravariance.lengths import departure_texts, noise_text, sphere_radii
from intravariance.tables import Cell
from intravariance.tables import markdown_table as _table

_POSES = {
    "canonical": "All samples stand in the frame above.",
    "z": f"Test samples are turned about z and shifted in x and y, at random (by up to "
    f"{LARGEST_SHIFT}); training samples stay in the frame above.",
    "so3": f"Test samples are turned (uniform on SO(3)) and shifted (by up to {LARGEST_SHIFT}) at "
    "random; training samples stay in the frame above. Without the shift the distance of a cloud's "
    "centroid from 0 would tell a missing part.",
}
_CONSTRUCTION = "They come from construction, not from a detector or a person."
_EMBEDDED = "procedural:"  # base meshes of our own designs, see `sources`
_SPREAD = (np.min, np.median, np.max)


def dataset_card(path: str | Path) -> str:
    """Write the card (Markdown, UTF-8) of a dataset file.

    Reads every defective sample's displacement. Raises as `open_dataset` does.
    """
    with open_dataset(path) as dataset:
        if dataset.imported:
            parts = _summary(dataset) | _counts_of_points(list(dataset)) | imported_parts(dataset)
            parts["composition"] = composition_table(dataset)
            parts |= _labels(dataset, "Those of the data.", "found")
            return Template(_template("imported_card.md")).substitute(**parts)
        return Template(_template("dataset_card.md")).substitute(
            **_summary(dataset),
            **_tables(dataset),
            **_creation(dataset),
            **_labels(dataset, _CONSTRUCTION, "machine-generated"),
        )


def rebuild_command(
    identity: Mapping[str, Any], specification: Specification, fill: bool = False
) -> str:
    """Return the `iv build` command that makes the dataset again: "iv build --group 2 --seed 0".

    fill : whether embedded designs filled gaps of the source.
    """
    words = ["iv", "build", *_specification_options(specification)]
    words += ["--source", str(identity["source"]), *(["--fill", "procedural"] if fill else [])]
    words += ["--up", str(identity["up"])] if identity.get("up") else []
    words += ["--seed", str(identity["seed"])]
    words += ["--pose", str(identity["pose"])]
    sigma = float(identity["noise_sigma"])
    if sigma == math.sqrt(NOISE_VARIANCE):
        words += ["--noise-variance", str(NOISE_VARIANCE)]
    else:
        words += ["--noise-sigma", specification.given.get("noise_sigma", str(sigma))]
    return shlex.join(words)


def build_command(dataset: Dataset) -> str:
    """Return the `iv build` command that makes a built dataset again; see `rebuild_command`."""
    embedded = [origin.startswith(_EMBEDDED) for origin in _origins(dataset).values()]
    filled = any(embedded) and not all(embedded)
    return rebuild_command(dataset.metadata["identity"], dataset.specification, filled)


def size_category(count: int) -> str:
    """Return the Hub's name for a number of samples, e.g. "n<1K" or "1K<n<10K"."""
    bounds = ["1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T"]
    for place, bound in enumerate(bounds):
        if count < 1000 * 10**place:
            return f"{bounds[place - 1]}<n<{bound}" if place else f"n<{bound}"
    return f"n>{bounds[-1]}"


def _summary(dataset: Dataset) -> dict[str, Any]:
    """Return what the front matter and the opening sections say."""
    metadata, specification = dataset.metadata, dataset.specification
    identity = metadata["identity"]
    records = list(dataset)
    n_train = sum(record.split == "train" for record in records)
    n_defective = sum(record.defect not in (NORMAL, UNLABELLED) for record in records)
    n_unknown = sum(record.defect == UNLABELLED for record in records)
    n_test = len(records) - n_train
    title = specification.title or specification.name
    embedded = {origin.startswith(_EMBEDDED) for origin in _origins(records).values()}
    own = embedded == {True}
    counts = np.array([record.n_points for record in records])
    names = [file.name for file in dataset.files]
    return {
        "pretty_name": json.dumps(title),
        "title": title,
        "config_name": json.dumps(specification.name),
        "file_name": json.dumps(dataset.path.name),
        "first_file": json.dumps(records[0].file.name),
        "data_files": json.dumps(names[0] if len(names) == 1 else names),
        "license": "apache-2.0" if own else "other\nlicense_name: that-of-the-base-meshes",
        "licence_text": _licence_text(own, identity["source"]),
        "source_dataset": "original" if own else "extended",
        "size_category": size_category(len(records)),
        "total": len(records),
        "n_categories": len(dataset.categories),
        "n_subcategories": len({(record.category, record.subcategory) for record in records}),
        "n_train": n_train,
        "n_test": n_test,
        "n_test_normal": n_test - n_defective - n_unknown,
        "n_defective": n_defective,
        "defective_share": f"{100 * n_defective / max(n_test, 1):.1f}",
        "points_line": f"{counts.min()} to {counts.max()}, median {np.median(counts):.0f}",
        "digest": dataset.digest,
        "published": _published_text(dataset),
        "source": identity["source"],
        "iv_version": metadata.get("software", {}).get("iv", ""),
        "example": f"{records[0].category}/{records[0].split}/{records[0].id}",
    }


def _published_text(dataset: Dataset) -> str:
    """Say whether the file is the published build of its settings; "" where none is published."""
    found = compare(dataset.metadata, dataset.digest)
    if found.build is None:
        return ""
    versions = ", ".join(f"{name} {version}" for name, version in found.build.software.items())
    if found.same:
        return (
            f"\n- **Published build:** this file is it ({found.build.title}). The command below "
            f"makes the same bytes on every x86-64 processor that was tried, with {versions}."
        )
    return (
        f"\n- **Published build:** this file is not it. {found.build.title} has the digest "
        f"`{found.build.digest}`, made with {versions}."
    )


def _labels(dataset: Dataset, otherwise: str, made: str) -> dict[str, str]:
    """Say where labels come from. otherwise : said when no hand has touched them; made : as the Hub
    calls such labels.
    """
    hand = hand_labels(dataset.metadata["identity"])
    return {
        "labels": in_prose(hand) if hand else otherwise,
        "annotations": f"- {made}\n- expert-generated" if hand else f"- {made}",
        "by_construction": " by construction (the earlier labels)" if hand else "",
        "again": "the file whose labels were edited" if hand else "the dataset",
    }


def _tables(dataset: Dataset) -> dict[str, str]:
    """Show what is counted and measured sample by sample, as Markdown tables."""
    records = list(dataset)
    defects = [_defect_row(name, records) for name in _defects(records)]
    meshes: list[tuple[Cell, ...]] = [
        (category, subcategory, f"`{origin}`")
        for (category, subcategory), origin in _origins(records).items()
    ]
    return {
        "composition": composition_table(dataset),
        **_counts_of_points(records),
        "defect_table": _table(
            ("defect", "samples", *BANDS, "labelled points (%)", "largest distance", "snr"), defects
        ),
        "meshes_table": _table(("category", "subcategory", "mesh"), meshes),
        "vocabulary": _table(
            ("defect", "kind", "what it is"),
            [
                (t.name, t.kind, t.description)
                for t in map(dataset.specification.defect_type, _defects(records))
                if t
            ],
        ),
    }


def _counts_of_points(records: Sequence[Record]) -> dict[str, str]:
    kinds = {
        "training, normal": [r for r in records if r.split == "train"],
        "test, normal": [r for r in records if r.split == "test" and r.defect == NORMAL],
        "test, defective": [r for r in records if r.defect not in (NORMAL, UNLABELLED)],
        "test, of which nothing is known": [r for r in records if r.defect == UNLABELLED],
    }
    points: list[tuple[Cell, ...]] = [
        (name, len(group), *(f"{f([r.n_points for r in group]):.0f}" for f in _SPREAD))
        for name, group in kinds.items()
        if group
    ]
    header = ("samples", "count", "minimum", "median", "maximum")
    return {"points_table": _table(header, points)}


def composition_table(dataset: Dataset) -> str:
    """Show the paper's Tables 7 and 8, as counted in the file."""
    records = list(dataset)
    defects = _defects(records)
    rows: list[list[Cell]] = []
    for category in dataset.categories:
        own = [record for record in records if record.category == category]
        rows.append([category, len({r.subcategory for r in own}), *_counts(own, defects)])
    subcategories = {(r.category, r.subcategory) for r in records}
    rows.append(["**all**", len(subcategories), *_counts(records, defects)])
    return _table(("class", "subcategories", "template", "positive", *defects, "total"), rows)


def _creation(dataset: Dataset) -> dict[str, Any]:
    """Say how the file was made."""
    identity, specification = dataset.metadata["identity"], dataset.specification
    low, high = specification.points
    amplitude = specification.tolerance
    discrepancies = ""
    if _paper_group(specification):
        template = Template(_template("paper_discrepancies.md"))
        discrepancies = template.substitute(paper_variance=NOISE_VARIANCE)
    return {
        "threshold": DISPLACEMENT_THRESHOLD,
        "rim": RIM_WIDTH,
        "n_points_range": f"{low} to {high}",
        "tolerance": "There is no manufacturing variation."
        if not amplitude
        else f"Every test sample has a smooth manufacturing variation of up to {amplitude} radii.",
        "sizes": _sizes_text(dataset),
        "scan": "".join(f" {sentence}" for sentence in specification.scan.sentences()),
        "variation": ", with that variation" if amplitude else "",
        "differences": "the points drawn, the pose and the noise only"
        if not amplitude
        else "that variation, the points drawn, the pose and the noise only",
        "pose": _POSES[identity["pose"]],
        "noise": _noise_text(
            float(identity["noise_sigma"]),
            noise_text(
                identity, sphere_radii(dataset, {c.name: c.unit for c in specification.categories})
            ),
        ),
        "seed": identity["seed"],
        "command": _command_text(dataset),
        "discrepancies": discrepancies,
        "identity": identity_table(dataset),
    }


def _sizes_text(dataset: Dataset) -> str:
    """Tell the sizes that the specification asked for in a unit of measure; "" without."""
    asked = dataset.specification.given.get("severity")
    if asked is None:
        return ""
    units = {c.name: c.unit for c in dataset.specification.categories}
    defective = [record for record in dataset if record.defect != NORMAL]
    departure, millimetres = departure_texts(
        dataset.metadata["identity"], defective, sphere_radii(dataset, units)
    )
    made = f": they depart by {departure} radii ({millimetres} mm)" if millimetres else ""
    return f" Each defect was given a size of {asked}{made}."


def _command_text(dataset: Dataset) -> str:
    command = build_command(dataset)
    if _paper_group(dataset.specification) is None:
        command += (
            f"   # {dataset.specification.name}.toml: the specification, which the file records"
        )
    return command


def _noise_text(sigma: float, both_units: str) -> str:
    default = math.sqrt(NOISE_VARIANCE)
    which = "neither reading, its maker chose another level"
    for reading, value in (("the first reading", default), ("the second reading", NOISE_VARIANCE)):
        which = reading if math.isclose(sigma, value, rel_tol=1e-9) else which
    return (
        f'The paper adds "Gaussian noise with a variance of {NOISE_VARIANCE}" and does not say in '
        f"which units. First reading, the default of `iv`: variance {NOISE_VARIANCE}, standard "
        f"deviation {default:.4f} radii on each stored coordinate. Second reading: standard "
        f"deviation {NOISE_VARIANCE}. This file: standard deviation "
        f"{both_units or f'{sigma:.4g}'}, variance {sigma**2:.4g}; {which}. "
        f"Noise of {default:.4f} is about as large as small defects: compare it with the distances "
        "under Composition. Labels, normals and displacement are those of the noise-free surface."
    )


def _licence_text(own: bool, source: str) -> str:
    if own:
        return (
            "Apache-2.0, unless its maker says otherwise. All shapes are embedded designs of `iv`; "
            "no data of others is in the file."
        )
    return (
        f"The shapes come from `{source}`: the licence and terms of those base meshes apply to the "
        "file, which holds them. The rest (defects, labels, sampling) adds no restriction."
    )


def _paper_group(specification: Specification) -> int | None:
    """Return the paper's group that the specification is, or is a selection of categories of."""
    names = [category.name for category in specification.categories]
    for number in GROUPS:
        group = load_group(number)
        known = {category.name for category in group.categories}
        if known.issuperset(names) and group.select(names) == specification:
            return number
    return None


def _specification_options(specification: Specification) -> list[str]:
    group = _paper_group(specification)
    if group is None:
        return ["--spec", f"{specification.name}.toml"]
    options = ["--group", str(group)]
    if load_group(group).select() != specification:
        for category in specification.categories:
            options += ["--category", category.name]
    return options


def _spread(values: Sequence[float], digits: int) -> str:
    return " / ".join(f"{measure(values):.{digits}f}" for measure in _SPREAD) if values else "-"


def _defect_row(defect: str, records: Iterable[Record]) -> tuple[Cell, ...]:
    own = [record for record in records if record.defect == defect]
    shares = [100 * record.n_anomalous / record.n_points for record in own]
    moved = [distance for record in own if (distance := _largest_distance(record)) > 0]
    bands = Counter(record.difficulty for record in own)
    snr = [record.snr for record in own if np.isfinite(record.snr)]
    cells = [bands[name] or "-" for name in BANDS]
    return defect, len(own), *cells, _spread(shares, 2), _spread(moved, 3), _spread(snr, 2)


def _largest_distance(record: Record) -> float:
    """Return the largest finite displacement of a sample, in unit-sphere radii; 0 when a cut."""
    distances = np.linalg.norm(record.displacement.astype(np.float64), axis=1)
    return float(distances[np.isfinite(distances)].max(initial=0.0))


def _origins(records: Iterable[Record]) -> dict[tuple[str, str], str]:
    """Say where the pristine mesh of each product came from, as its first sample does.

    The keys are (category, subcategory).
    """
    origins: dict[tuple[str, str], str] = {}
    for record in records:
        place = (record.category, record.subcategory)
        if place not in origins:
            origins[place] = str(record.parameters.get("base_mesh", "not recorded"))
    return origins


def _defects(records: Iterable[Record]) -> list[str]:
    return in_order(record.defect for record in records if record.defect != NORMAL)


def _counts(records: Sequence[Record], defects: Sequence[str]) -> list[Cell]:
    count = Counter((record.split, record.defect) for record in records)
    cells = [count["train", NORMAL], count["test", NORMAL], *(count["test", d] for d in defects)]
    return [*(cell or "-" for cell in cells), len(records)]


def _template(name: str) -> str:
    text = (files("intravariance.cards") / "templates" / name).read_text(encoding="utf-8")
    return text.split("\n", 1)[1]  # without the licence line
