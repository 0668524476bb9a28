# SPDX-License-Identifier: Apache-2.0
"""`iv info`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

import click

from annotations.vocabulary import NORMAL, in_order
from intravariance.cards.imported_card import known_noise
from intravariance.cards.labels import hand_labels, in_short
from intravariance.commands.options import (
    file_argument,
    json_option,
    markdown_option,
    print_tables,
)
from intravariance.dataset.difficulty import BANDS
from intravariance.dataset.scan import Scan
from intravariance.dataset.sharding.shards import shard_of
from intravariance.dataset.store import Dataset, open_dataset
from intravariance.lengths import departure_texts, noise_text, sphere_radii
from intravariance.tables import table_in


@click.command("info")
@file_argument
@click.option("--samples", is_flag=True, help="List the samples instead, one in a row.")
@json_option
@markdown_option
def info_command(file: Path, samples: bool, as_json: bool, markdown: bool) -> None:
    """Show what a dataset file holds: counts as in Table 8 of the paper, noise, source, digest."""
    with open_dataset(file) as dataset:
        if samples:
            rows = sample_rows(dataset)
            content = {"samples": rows} if as_json else {}
        else:
            content = describe(dataset)
        scan = dataset.specification.scan
    if as_json:
        click.echo(json.dumps(content, allow_nan=False))
    elif samples:
        print_tables(_aligned(rows, markdown), markdown)
    else:
        _print(file, content, scan, markdown)


def sample_rows(dataset: Dataset) -> list[dict[str, Any]]:
    """List the samples in the file's order, JSON-able.

    None where something is not known or there is nothing to say: "anomalous" counts the points that
    are labelled so, "snr" and "difficulty" are of defects.
    """
    return [
        {
            "id": record.id,
            "category": record.category,
            "subcategory": record.subcategory,
            "split": record.split,
            "defect": record.defect,
            "points": record.n_points,
            "anomalous": record.n_anomalous if record.labelled else None,
            "difficulty": record.difficulty or None,
            "snr": record.snr if isfinite(record.snr) else None,
        }
        for record in dataset
    ]


def _print(file: Path, content: dict[str, Any], scan: Scan, markdown: bool) -> None:
    facts = _facts(content, scan)
    parts = [f"{file}: {content['title']}"]
    if markdown:
        parts.append(table_in(markdown)(["", ""], facts))
    else:
        parts += [f"{name:16}{text}" for name, text in facts]
    parts += [
        "",
        _aligned(content["table"], markdown),
        "positive, the paper's word: normal test samples, which have no defect",
    ]
    if content["difficulty"]:
        parts += ["", _aligned(content["difficulty"], markdown)]
    print_tables("\n".join(parts), markdown)


def _facts(content: dict[str, Any], scan: Scan) -> list[tuple[str, str]]:
    """Name what is known of the whole file."""
    low, high = content["points"]
    noise = (
        f"variance {content['noise_variance']:.3g} (sigma {content['noise_text']}) "
        "on each coordinate"
    )
    if content["imported"]:
        added = f"{noise}, besides" if content["noise_sigma"] else "none added by iv;"
        known = content["imported_noise_sigma"]
        theirs = "is unknown" if known is None else f"is sigma {known:.3g} in their own unit"
        noise = f"{added} what the imported clouds have, which {theirs}"
    software = ", ".join(f"{k} {v}" for k, v in content["software"].items())
    return [
        ("samples", str(content["samples"])),
        *([("part", f"{content['shard']}: join them with `iv merge`")] if content["shard"] else []),
        *([("shards", f"{len(files)} files")] if len(files := content["files"]) > 1 else []),
        ("points", f"{low} to {high} a sample"),
        ("noise", noise),
        ("pose", f"{content['pose']} (test samples)"),
        *(("scan", sentence) for sentence in scan.sentences()),
        ("source", content["source"]),
        *_origin(content),
        *([("labels", in_short(content["labels"]))] if content["labels"] else []),
        ("seed", str(content["seed"])),
        ("made with", software),
        ("content digest", content["content_digest"]),
    ]


def _origin(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name what is known of files that did not come from our own designs alone."""
    for one in content["extensions"]:
        yield "extension", f"{one['kind']} {one['name']} of {one['package']} {one['version']}"
    if content["imported"]:
        unread = f", {content['left_out']} files not read" if content["left_out"] else ""
        meshes = f"meshes of {count} templates" if (count := content["meshes"]) else "no meshes"
        yield "imported", f"yes; {content['skipped']} clouds left out{unread}, {meshes}"
    if exported := content["exported_from"]:
        origin = exported["origin"]
        yield (
            "exported from",
            f"source {origin['source']}, seed {origin['seed']}, pose {origin['pose']}; content "
            f"digest {exported['content_digest']}",
        )
    if count := content["unlabelled"]["points"]:
        objects = content["unlabelled"]["objects"]
        also = f", {objects} of them not whether they have a defect" if objects else ""
        yield (
            "unlabelled",
            f"of {count} samples nobody says which points are anomalous{also}",
        )


def describe(dataset: Dataset) -> dict[str, Any]:
    """Collect what `iv info` shows, JSON-able.

    "table" has a row for each category and a last row "total". "difficulty" has a row for each
    defect: samples of each difficulty, and smallest, median and largest signal-to-noise (None where
    it is not known). "unlabelled" counts samples without labels of points, and those among them of
    which not even the object's label is known. "departure" is from the smallest to the largest, in
    radii and, where the unit of the base meshes is known, in mm. No rows where the file does not
    say.
    """
    metadata = dataset.metadata
    identity = metadata["identity"]
    imported = identity.get("imported", {})
    sizes = [record.n_points for record in dataset]
    sigma = float(identity["noise_sigma"])
    units = {c.name: c.unit for c in dataset.specification.categories}
    radii = sphere_radii(dataset, units)
    defects = in_order(record.defect for record in dataset if record.defect != NORMAL)
    rows = [_row(dataset.filter(category=name), name, defects) for name in dataset.categories]
    return {
        "title": identity["specification"]["title"],
        "samples": len(dataset),
        "shard": None if (shard := shard_of(metadata)) is None else str(shard),
        "files": [file.name for file in dataset.files],
        "points": [min(sizes), max(sizes)],
        "noise_variance": sigma * sigma,
        "noise_sigma": sigma,
        "noise_text": noise_text(identity, radii) or f"{sigma:.3g}",
        "pose": identity.get("pose", ""),
        "scan": asdict(dataset.specification.scan),
        "source": identity["source"],
        "extensions": [
            *identity.get("extensions", []),
            *(known.identity for known in dataset.specification.added_defects),
        ],
        "imported": dataset.imported,
        "imported_noise_sigma": known_noise(imported) if dataset.imported else None,
        "exported_from": imported.get("exported_from"),
        "labels": hand_labels(identity),
        "unlabelled": {
            "points": sum(not record.labelled for record in dataset),
            "objects": sum(not record.object_known for record in dataset),
        },
        "meshes": sum(record.has_mesh for record in dataset if record.split == "train"),
        "skipped": metadata.get("skipped", {}).get("count", 0),
        "left_out": metadata.get("left_out", {}).get("count", 0),
        "seed": identity["seed"],
        "software": metadata.get("software", {}),
        "content_digest": dataset.digest,
        "table": [*rows, _row(dataset, "total", defects)],
        "difficulty": [_difficulty(dataset.filter(defect=name), name, radii) for name in defects]
        if any(record.difficulty for record in dataset)
        else [],
    }


def _row(dataset: Dataset, name: str, defects: list[str]) -> dict[str, Any]:
    """Count from the samples, not from the specification."""
    found = Counter((record.split, record.defect) for record in dataset)
    return {
        "class": name,
        "subcategories": len({(record.category, record.subcategory) for record in dataset}),
        "template": found["train", NORMAL],
        "positive": found["test", NORMAL],
        **{defect: found["test", defect] for defect in defects},
        "total": len(dataset),
    }


def _difficulty(dataset: Dataset, defect: str, radii: dict[str, float]) -> dict[str, Any]:
    found = Counter(record.difficulty for record in dataset)
    snr = sorted(record.snr for record in dataset if isfinite(record.snr))
    departure, millimetres = departure_texts(dataset.metadata["identity"], dataset, radii)
    return {
        "defect": defect,
        **{name: found[name] for name in BANDS},
        "snr_min": snr[0] if snr else None,
        "snr_median": median(snr) if snr else None,
        "snr_max": snr[-1] if snr else None,
        "departure": departure or None,
        "departure_mm": millimetres or None,
    }


def _aligned(rows: list[dict[str, Any]], markdown: bool) -> str:
    return table_in(markdown)(list(rows[0]), [list(row.values()) for row in rows])
