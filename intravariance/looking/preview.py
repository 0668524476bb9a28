# SPDX-License-Identifier: Apache-2.0
"""The contact sheet: one row a category, a template first, then samples of each defect type.

A picture shows the points as the file holds them, noise included; the stored noise-free normals
shade it. The pose is undone (z up, front towards -y). Each defect type is shown by the sample with
the median share of labelled points, or by several spread evenly over that range; the camera stands
where the most labelled points are seen. Nothing is random: the same file gives the same picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from PIL import Image

from annotations.vocabulary import NORMAL, in_order
from intravariance.dataset.store import Dataset, Record
from intravariance.looking.cloud import upright
from intravariance.looking.pictures import (
    Colouring,
    Tile,
    TileRow,
    draw_sheet,
    paint,
)
from intravariance.progress import track

_Item = TypeVar("_Item")


def contact_sheet(
    dataset: Dataset,
    size: int = 320,
    samples: int = 1,
    colouring: Colouring = "labels",
    quiet: bool = True,
) -> Image.Image:
    """Draw the sheet of a dataset, or of part of it (`Dataset.filter`).

    size : pixels of a tile. samples : columns for each defect type. colouring : "labels" paints
    the labelled points, "displacement" paints them by how far they were moved. quiet : no progress
    on stderr.
    """
    defects = in_order(record.defect for record in dataset if record.defect != NORMAL)
    layer = 3 * float(dataset.metadata["identity"]["noise_sigma"])
    grid = [
        _records(list(dataset.filter(category=category)), defects, samples)
        for category in dataset.categories
    ]
    chosen = [record for row in grid for record in row if record is not None]
    drawn = {
        record.id: _tile(record, size, layer, colouring)
        for record in track(chosen, len(chosen), "contact sheet", quiet)
    }
    specification = dataset.specification
    return draw_sheet(
        [TileRow([drawn[record.id] if record else None for record in row]) for row in grid],
        size,
        specification.title or specification.name,
        _lines(dataset, colouring),
        [(0, "template"), *((1 + i * samples, name) for i, name in enumerate(defects))],
    )


def choose_samples(records: Sequence[Record], count: int) -> list[Record]:
    """Choose `count` of the records (all, when there are no more), by share of labelled points.

    One is the median, several are spread evenly.
    """
    return spread(
        sorted(records, key=lambda record: (record.n_anomalous / record.n_points, record.id)), count
    )


def spread(ranked: Sequence[_Item], count: int) -> list[_Item]:
    """Pick `count` of ranked items (all, if there are no more), at ranks (i + 1/2) / count."""
    count = min(count, len(ranked))
    return [ranked[int((i + 0.5) / count * len(ranked))] for i in range(count)]


def _records(
    records: Sequence[Record], defects: Sequence[str], samples: int
) -> list[Record | None]:
    """List a category's row: a template, then `samples` of each defect; None where one lacks."""
    templates = [r for r in records if r.split == "train"] or [
        r for r in records if r.defect == NORMAL
    ]
    row: list[Record | None] = [templates[0] if templates else None]
    for defect in defects:
        group = choose_samples([r for r in records if r.defect == defect], samples)
        row += [*group, *[None] * (samples - len(group))]
    return row


def _tile(record: Record, size: int, layer: float, colouring: Colouring) -> Tile:
    cloud = upright(record)
    if cloud.normal:
        note = f"{record.category}: {record.subcategory}"
    else:
        share = record.n_anomalous / record.n_points
        note = f"{record.subcategory}, {100 * share:.1f} % labelled"
        if colouring == "displacement":
            largest = float(np.nanmax(cloud.moved, initial=0.0))
            note += f", moved up to {largest:.3f}" if largest else ", cut"
    return Tile(paint(cloud, colouring, size, layer), note, record.id)


def _lines(dataset: Dataset, colouring: Colouring) -> list[str]:
    sigma = float(dataset.metadata["identity"]["noise_sigma"])
    meaning = {
        "surface": "grey",
        "labels": "orange: labelled anomalous, dark red: exposed by a cut",
        "displacement": "labelled: yellow unmoved to violet moved most, dark red exposed by a cut",
        "scores": "",
    }[colouring]
    if dataset.imported and colouring == "labels":
        meaning = "orange: labelled anomalous"
    noise = "imported" if dataset.imported else ""
    if sigma or not noise:
        noise += f"{', ' if noise else ''}noise sigma {sigma:.4g}"
    return [
        f"{len(dataset)} samples, {noise}, content {dataset.digest[:16]}",
        f"{meaning}; pose undone; seen from where most labelled points show",
    ]
