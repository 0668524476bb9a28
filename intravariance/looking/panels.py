# SPDX-License-Identifier: Apache-2.0
"""One sample in a row of pictures, all from the same side and to the same scale.

From left to right: a template to compare with, the surface as it is, the labels, the displacement
with arrows, a detector's scores. A picture whose data a cloud lacks is left out. Heat maps beside
the ground truth are the paper's Figures 4, 8 and 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.pictures import (
    Colouring,
    Scale,
    Tile,
    TileRow,
    draw_sheet,
    paint,
    scale_of,
    score_scale,
    shared_viewport,
)
from intravariance.looking.splats import Floats, Viewport
from intravariance.looking.viewpoint import view

_HEADINGS: dict[Colouring, str] = {
    "surface": "surface",
    "labels": "labels",
    "displacement": "displacement",
    "scores": "scores",
}


def panel(
    cloud: LabelledCloud,
    template: LabelledCloud | None = None,
    size: int = 320,
    layer: float = 0.0,
    camera: Floats | None = None,
    shown: Sequence[Colouring] | None = None,
    lines: Sequence[str] = (),
) -> Image.Image:
    """Draw a sample in a row of pictures.

    Parameters
    ----------
    template
        A pristine product of the same subcategory, in the same frame.
    size
        Pixels of each picture.
    layer
        About three standard deviations of the noise (see `rendering.render`).
    camera
        From `geometry.viewing.look_from`; by default where the defect and its movement show most.
    shown
        The pictures after the template's; by default all that the cloud has data for.
    lines
        More text below the title.
    """
    camera = view(cloud) if camera is None else camera
    both = [cloud] if template is None else [cloud, template]
    viewport = shared_viewport(both, camera, size)
    shown = _known(cloud) if shown is None else shown
    tiles = [_tile(cloud, colouring, size, layer, viewport) for colouring in shown]
    headings = [_HEADINGS[colouring] for colouring in shown]
    if template is not None:
        picture = paint(template, "surface", size, layer, viewport=viewport)
        tiles.insert(0, Tile(picture, template.subcategory, template.name))
        headings.insert(0, "template")
    defective = cloud.labels.any() or (cloud.source == "dataset" and not cloud.labelled)
    title = f"{cloud.name}: {cloud.defect}" if defective else cloud.name
    about = [word for word in (cloud.category, cloud.subcategory) if word]
    about.append(f"{len(cloud.points):,} points")
    return draw_sheet(
        [TileRow(tiles)], size, title, [", ".join(about), *lines], list(enumerate(headings))
    )


def heat_map_sheet(
    clouds: Sequence[LabelledCloud],
    columns: int = 2,
    size: int = 240,
    layer: float = 0.0,
    scaling: Literal["each", "shared"] = "each",
    title: str = "Ground truth and anomaly scores",
    lines: Sequence[str] = (),
) -> Image.Image:
    """Draw ground truth and heat map side by side, `columns` such pairs in a row.

    scaling : colours over each cloud's own scores, as in the paper, or over those of all clouds
    together, as false alarms need it. ValueError when a cloud has no scores.
    """
    common = score_scale(clouds) if scaling == "shared" else None
    tiles: list[Tile | None] = []
    for cloud in clouds:
        viewport = shared_viewport([cloud], view(cloud), size)
        tiles.append(_tile(cloud, "labels", size, layer, viewport))
        tiles.append(_tile(cloud, "scores", size, layer, viewport, common))
    across = 2 * min(columns, max(len(clouds), 1))
    headings = [
        (number, "scores" if number % 2 else "ground truth")
        for number in range(len(tiles[:across]))
    ]
    rows = [TileRow(tiles[start : start + across]) for start in range(0, len(tiles), across)]
    return draw_sheet(rows, size, title, lines, headings, common)


def _known(cloud: LabelledCloud) -> list[Colouring]:
    known: list[Colouring] = ["surface", "labels"] if cloud.labelled else ["surface"]
    if np.nanmax(cloud.moved, initial=0.0) > 0:
        known.append("displacement")
    if cloud.scores is not None:
        known.append("scores")
    return known


def _tile(
    cloud: LabelledCloud,
    colouring: Colouring,
    size: int,
    layer: float,
    viewport: Viewport,
    common: Scale | None = None,
) -> Tile:
    """Draw one tile, with a bar of its own unless the sheet has a `common` scale."""
    scale = common or scale_of([cloud], colouring)
    arrows = colouring == "displacement"
    picture = paint(cloud, colouring, size, layer, viewport=viewport, scale=scale, arrows=arrows)
    note = ""
    if colouring == "labels":
        note = _share(cloud)
    elif colouring == "displacement":
        note = _movement(cloud)
    elif colouring == "scores" and cloud.scores is not None and len(cloud.scores):
        note = f"largest {float(cloud.scores.max()):.3g}"
    faint = cloud.name if colouring in ("labels", "scores") else ""
    return Tile(picture, note, faint, None if common else scale)


def _share(cloud: LabelledCloud) -> str:
    if not cloud.labelled:
        return f"{cloud.defect}, points not labelled"
    if not cloud.labels.any():
        return "normal" if cloud.normal else f"{cloud.defect}: no point labelled"
    share = f"{100 * float((cloud.labels > 0).mean()):.1f} % labelled"
    return f"{cloud.defect}, {share}" + (", dark red: cut" if cloud.exposed.any() else "")


def _movement(cloud: LabelledCloud) -> str:
    largest = float(np.nanmax(cloud.moved, initial=0.0))
    return f"moved up to {largest:.3f}" if largest else "nothing was moved"
