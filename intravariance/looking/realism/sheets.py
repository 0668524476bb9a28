# SPDX-License-Identifier: Apache-2.0
"""Contact sheets of labelled clouds: pseudo-anomalies beside real defects, a row each kind.

All tiles of a sheet have one colour scale, so that what moved twice as far looks it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.pictures import (
    Colouring,
    Tile,
    TileRow,
    draw_sheet,
    paint,
    scale_of,
)
from intravariance.looking.viewpoint import view

_MEANINGS: dict[Colouring, str] = {
    "surface": "plain surface",
    "labels": "orange: labelled anomalous, dark red: exposed by a cut",
    "displacement": "labelled points by displacement, in radii of the product; dark red: exposed "
    "by a cut",
    "scores": "anomaly scores",
}


def comparison_sheet(
    rows: Sequence[tuple[str, Sequence[LabelledCloud]]],
    size: int = 240,
    colouring: Colouring = "labels",
    layer: float = 0.0,
    arrows: bool = False,
    title: str = "",
    lines: Sequence[str] = (),
) -> Image.Image:
    """Draw a row for each (heading, clouds): one kind of defect, or one generator.

    Parameters
    ----------
    size
        Pixels of a tile.
    layer
        About three standard deviations of the noise (see `rendering.render`).
    arrows
        Draw where points came from, on top.
    title, lines
        Large and small text above; what the colours mean is added.

    Raises
    ------
    ValueError
        `colouring` is "scores", and a cloud has none.
    """
    everything = [cloud for _, clouds in rows for cloud in clouds]
    scale = scale_of(everything, colouring)
    drawn = []
    for heading, clouds in rows:
        tiles = []
        for cloud in clouds:
            camera = view(cloud)
            picture = paint(cloud, colouring, size, layer, camera, scale=scale, arrows=arrows)
            tiles.append(Tile(picture, caption(cloud), cloud.name))
        drawn.append(TileRow(tiles, heading))
    meaning = _MEANINGS[colouring] + ("; arrows: from where points came" if arrows else "")
    seen = f"{meaning}; %: points labelled; each seen from where the change shows most"
    return draw_sheet(drawn, size, title, [*lines, seen], scale=scale)


def caption(cloud: LabelledCloud) -> str:
    """Write product, share of labelled points and largest displacement, in a few words."""
    product = cloud.subcategory or cloud.category
    parts = [product] if product else []
    if cloud.labels.any():
        parts.append(f"{100 * float((cloud.labels > 0).mean()):.1f} %")
    elif cloud.normal:
        parts.append("normal")
    largest = float(np.nanmax(cloud.moved, initial=0.0))
    if largest > 0:
        parts.append(f"moved {largest:.2f}")
    return ", ".join(parts)
