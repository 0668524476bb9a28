# SPDX-License-Identifier: Apache-2.0
"""The contact sheet: one row a category, a template first, then samples of each defect type.

A picture shows the points as the file holds them, noise included; the stored noise-free normals
shade it. It may show the surface without noise instead. The pose is undone (z up, front towards
-y). Each defect type is shown by the sample with the median share of labelled points, by several
spread evenly over that range, or by all; the camera stands where the change shows most. Nothing is
random: the same file gives the same picture, whatever the number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np
from PIL import Image

from annotations.vocabulary import NORMAL, in_order
from intravariance.dataset.store import Dataset, Record
from intravariance.errors import IVError
from intravariance.executors import Executor
from intravariance.executors.serial import SerialExecutor
from intravariance.looking.cloud import upright
from intravariance.looking.pictures import Colouring, Tile, TileRow, draw_sheet, paint
from intravariance.looking.pristine import NOISE_FREE_LAYER, surface_of, template_of, without_noise
from intravariance.looking.viewpoint import view
from intravariance.progress import track

_Item = TypeVar("_Item")
_Row = tuple[str, list[Record | None]]  # heading, "" for none, and what stands below
_ACROSS = 12  # tiles in a row of a sheet of all samples


@dataclass(frozen=True)
class Drawing:
    """How samples are drawn.

    size : pixels of a tile. colouring : "labels" paints the labelled points, "displacement" paints
    them by how far they were moved. noise_free : draw the surface that the points were drawn from.
    """

    size: int = 320
    colouring: Colouring = "labels"
    noise_free: bool = False


def contact_sheet(
    dataset: Dataset,
    drawing: Drawing,
    samples: int | None = 1,
    quiet: bool = True,
    executor: Executor | None = None,
) -> Image.Image:
    """Draw the sheet of a dataset, or of part of it (`Dataset.filter`).

    samples : columns for each defect type; None draws every defective sample, a row or more for
    each category and type. quiet : no progress on stderr. executor : None draws in this process.
    """
    defects = in_order(record.defect for record in dataset if record.defect != NORMAL)
    if samples is None:
        rows, columns = list(_all_rows(dataset, defects)), []
    else:
        rows = [
            ("", _records(list(dataset.filter(category=category)), defects, samples))
            for category in dataset.categories
        ]
        columns = [(1 + i * samples, name) for i, name in enumerate(defects)]
        columns = [(0, "template"), *columns]
    chosen = [record for _, row in rows for record in row if record is not None]
    with executor or SerialExecutor() as workers:
        drawn = _draw(dataset, chosen, drawing, workers, quiet)
    specification = dataset.specification
    return draw_sheet(
        [TileRow([drawn[record.id] if record else None for record in row], t) for t, row in rows],
        drawing.size,
        specification.title or specification.name,
        _lines(dataset, drawing),
        columns,
    )


@dataclass(frozen=True)
class _Task:
    """Samples of one subcategory, whose template is loaded once."""

    records: tuple[Record, ...]
    template: Record | None
    layer: float
    drawing: Drawing


def _draw(
    dataset: Dataset, chosen: Sequence[Record], drawing: Drawing, executor: Executor, quiet: bool
) -> dict[str, Tile]:
    """Draw the records; returns the tiles by id."""
    layer = 3 * float(dataset.metadata["identity"]["noise_sigma"])
    ranked = sorted(chosen, key=lambda record: (record.category, record.subcategory))
    groups = groupby(ranked, key=lambda record: (record.category, record.subcategory))
    tasks = []
    for _, group in groups:
        records = tuple(group)
        template = template_of(dataset, records[0])
        tasks.append(_Task(records, template, layer, drawing))
    drawn: dict[str, Tile] = {}
    results = track(executor.run(_tiles, tasks), len(tasks), "contact sheet, products", quiet)
    for task, result in results:
        if isinstance(result, IVError):
            raise result
        drawn |= {record.id: tile for record, tile in zip(task.records, result, strict=True)}
    return drawn


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


def _all_rows(dataset: Dataset, defects: Sequence[str]) -> Iterator[_Row]:
    """List every defective sample, by category and type."""
    for category in dataset.categories:
        records = list(dataset.filter(category=category))
        for defect in defects:
            group = [record for record in records if record.defect == defect]
            row = choose_samples(group, len(group))
            for start in range(0, len(row), _ACROSS):
                heading = f"{category}: {defect}, {len(row)} samples" if start == 0 else ""
                yield heading, [*row[start : start + _ACROSS]]


def _tiles(task: _Task) -> list[Tile]:
    """Draw the samples of a task, in a worker process perhaps."""
    drawing, pristine, tiles = task.drawing, surface_of(task.template), []
    for record in task.records:
        cloud = upright(record, pristine=pristine)
        if cloud.normal:
            note = f"{record.category}: {record.subcategory}"
        else:
            share = 100 * record.n_anomalous / record.n_points
            known = f"{share:.1f} % labelled" if cloud.labelled else "points not labelled"
            note = f"{record.subcategory}, {known}"
            if drawing.colouring == "displacement":
                largest = float(np.nanmax(cloud.moved, initial=0.0))
                note += f", moved up to {largest:.3f}" if largest else ", cut"
        camera, layer = view(cloud), task.layer
        if drawing.noise_free:
            cloud, layer = without_noise(cloud), NOISE_FREE_LAYER
        picture = paint(cloud, drawing.colouring, drawing.size, layer, camera)
        tiles.append(Tile(picture, note, record.id))
    return tiles


def _lines(dataset: Dataset, drawing: Drawing) -> list[str]:
    sigma = float(dataset.metadata["identity"]["noise_sigma"])
    meaning = {
        "surface": "grey",
        "labels": "orange: labelled anomalous, dark red: exposed by a cut",
        "displacement": "labelled: yellow unmoved to violet moved most, dark red exposed by a cut",
        "scores": "",
    }[drawing.colouring]
    if dataset.imported and drawing.colouring == "labels":
        meaning = "orange: labelled anomalous"
    noise = "imported" if dataset.imported else ""
    if sigma or not noise:
        noise += f"{', ' if noise else ''}noise sigma {sigma:.4g}"
    if drawing.noise_free:
        noise += ", drawn without it"
    return [
        f"{len(dataset)} samples, {noise}, content {dataset.digest[:16]}",
        f"{meaning}; pose undone; seen from where the change shows most",
    ]
