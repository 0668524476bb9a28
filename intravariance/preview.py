# SPDX-License-Identifier: Apache-2.0
"""The contact sheet: one row a category, a template first, then samples of each defect type.

Shown is what the file holds, noise included; the stored noise-free normals shade it. The pose is
undone (z up, front towards -y). Of each defect type comes the sample with the median share of
labelled points, or several spread evenly over that range; the camera stands where the most
labelled points are seen. Nothing is random: the same file gives the same picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from annotations.vocabulary import DEFECT_TYPES, NORMAL
from intravariance.pointcloud import rotate
from intravariance.progress import track
from intravariance.rendering import (
    Array,
    Floats,
    label_colours,
    look_from,
    render,
    scalar_colours,
    splat_radius,
    visible,
)
from intravariance.store import Dataset, Record

Colouring = Literal["labels", "displacement"]

_FRONT = (0.75, -1.6, 0.9)  # three-quarter view from the front, slightly above
_AZIMUTHS = np.deg2rad(np.arange(0, 360, 30))  # 0 is the front
_ELEVATIONS = np.deg2rad([20, 50])
_FRONT_BONUS = 0.2
_INK, _FAINT = (25, 25, 25), (110, 110, 110)


@dataclass(frozen=True)
class _Cell:
    """A record and where it goes."""

    row: int
    column: int
    record: Record


def contact_sheet(
    dataset: Dataset,
    size: int = 320,
    samples: int = 1,
    colouring: Colouring = "labels",
    quiet: bool = True,
) -> Image.Image:
    """Draw the sheet of a dataset, or of part of it (`Dataset.filter`).

    size : pixels of a cell. samples : columns for each defect type. colouring : "labels" paints
    the labelled points, "displacement" paints them by how far they were moved. quiet : no progress
    on stderr.
    """
    present = {record.defect for record in dataset}
    defects = [name for name in DEFECT_TYPES if name in present]
    text, title = max(11, size // 24), max(14, size // 14)
    head, caption = 3 * title + 2 * text, 3 * text + 4
    sheet = Image.new(
        "RGB",
        (
            size * (1 + samples * len(defects)),
            head + len(dataset.categories) * (size + caption),
        ),
        "white",
    )
    draw = ImageDraw.Draw(sheet)
    _draw_heading(draw, dataset, colouring, title, text)
    for number, name in enumerate(["template", *defects]):
        column = number and 1 + (number - 1) * samples
        draw.text((column * size + 8, head - title - 6), name, _INK, _font(title))
    layer = 3 * float(dataset.metadata["identity"]["noise_sigma"])
    cells = list(_cells(dataset, defects, samples))
    for cell in track(cells, len(cells), "contact sheet", quiet):
        corner = (cell.column * size, head + cell.row * (size + caption))
        picture, note = _draw_record(cell.record, size, layer, colouring)
        sheet.paste(Image.fromarray(picture), corner)
        x, y = corner[0] + 8, corner[1] + size
        draw.text((x, y), note, _INK, _font(text))
        draw.text((x, y + text + 2), cell.record.id, _FAINT, _font(text))
    return sheet


def choose_samples(records: Sequence[Record], count: int) -> list[Record]:
    """`count` of the records (all, when there are no more), by share of labelled points.

    They stand at the ranks (i + 1/2) / count: one is the median, several spread evenly.
    """
    ranked = sorted(records, key=lambda record: (record.n_anomalous / record.n_points, record.id))
    count = min(count, len(ranked))
    return [ranked[int((i + 0.5) / count * len(ranked))] for i in range(count)]


def best_view(points: Array, normals: Array, labels: Array, layer: float = 0.0) -> Floats:
    """The camera (see `look_from`) that sees the most labelled points, and most squarely.

    Tried are 12 directions around at 20 and 50 degrees of elevation; each point seen counts with
    the cosine between its normal and the direction. Views from the front count a little more:
    people know products from there.
    """
    radius = splat_radius(points, normals)
    best, best_score = look_from(_FRONT), 0.0
    for elevation in _ELEVATIONS:
        for azimuth in _AZIMUTHS:
            level = np.cos(elevation) * np.array([np.sin(azimuth), -np.cos(azimuth)])
            camera = look_from((*level, np.sin(elevation)))
            seen = visible(points, normals, camera, layer=layer, radius=radius) & (labels > 0)
            score = float((normals[seen].astype(np.float64) * camera[2]).sum())
            score *= 1 + _FRONT_BONUS * np.cos(azimuth)
            if score > best_score + 1e-9:
                best, best_score = camera, score
    return best


def _cells(dataset: Dataset, defects: Sequence[str], samples: int) -> Iterator[_Cell]:
    for row, category in enumerate(dataset.categories):
        records = list(dataset.filter(category=category))
        templates = [r for r in records if r.split == "train"] or [
            r for r in records if r.defect == NORMAL
        ]
        if templates:
            yield _Cell(row, 0, templates[0])
        for number, defect in enumerate(defects):
            group = [record for record in records if record.defect == defect]
            for place, record in enumerate(choose_samples(group, samples)):
                yield _Cell(row, 1 + number * samples + place, record)


def _draw_record(
    record: Record, size: int, layer: float, colouring: Colouring
) -> tuple[NDArray[np.uint8], str]:
    """The picture (size, size, 3) of a record, and the first line of its caption."""
    pose, labels, displacement = record.pose, record.labels, record.displacement
    turn_back = np.eye(4)
    turn_back[:3, :3] = pose[:3, :3].T
    points = rotate(record.points - pose[:3, 3], turn_back)
    normals = rotate(record.normals, turn_back)
    colours = label_colours(labels, np.isnan(displacement).any(axis=1))
    if record.defect == NORMAL:
        camera, note = look_from(_FRONT), f"{record.category}: {record.subcategory}"
    else:
        share = record.n_anomalous / record.n_points
        note = f"{record.subcategory}, {100 * share:.1f} % labelled"
        camera = best_view(points, normals, labels, layer)
        if colouring == "displacement":
            colours, largest = _displacement_colours(displacement, labels)
            note += f", moved up to {largest:.3f}" if largest else ", cut"
    return render(points, normals, colours, camera, size, layer), note


def _displacement_colours(displacement: Array, labels: Array) -> tuple[Floats, float]:
    """(N, 3) RGB and the largest displacement: as `label_colours`, but from yellow (0) to violet
    (the largest) where a labelled point has a displacement."""
    moved = np.linalg.norm(displacement.astype(np.float64), axis=1)
    exposed = np.isnan(moved)
    largest = float(moved[~exposed].max(initial=0.0))
    colours = label_colours(labels, exposed)
    scale = (labels > 0) & ~exposed
    colours[scale] = scalar_colours(moved[scale], max(largest, 1e-12))
    return colours, largest


def _draw_heading(
    draw: ImageDraw.ImageDraw, dataset: Dataset, colouring: Colouring, title: int, text: int
) -> None:
    specification = dataset.specification
    sigma = float(dataset.metadata["identity"]["noise_sigma"])
    meaning = {
        "labels": "orange: labelled anomalous, dark red: exposed by a cut",
        "displacement": "labelled: yellow unmoved to violet moved most, dark red exposed by a cut",
    }[colouring]
    lines = (
        f"{len(dataset)} samples, noise sigma {sigma:.4g}, content {dataset.digest[:16]}",
        f"{meaning}; pose undone; seen from where most labelled points show",
    )
    draw.text((8, 4), specification.title or specification.name, _INK, _font(title))
    for number, line in enumerate(lines):
        draw.text((8, 8 + title + number * (text + 3)), line, _FAINT, _font(text))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
