# SPDX-License-Identifier: Apache-2.0
"""One picture of the clouds that score highest, worst first, coloured by the scores of points.

A scan has no labels, so that it is seen from where its highest scores show most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.pictures import Tile, TileRow, draw_sheet, paint, png, score_scale
from intravariance.looking.viewpoint import view
from mc4ad_model.prediction.detector import ScanPrediction
from mc4ad_model.prediction.worst import ShownCloud

_HIGHEST = 0.02  # share of a cloud's points whose scores decide where it is seen from
_ACROSS = 4


def worst_sheet(shown: Sequence[ShownCloud], size: int, layer: float, title: str) -> bytes | None:
    """Draw the picture (PNG); None where there is nothing to draw.

    size : pixels of each cloud's. layer : about three standard deviations of the noise (see
    `rendering.render`).
    """
    if not shown:
        return None
    clouds = [cloud.labelled() for cloud in shown]
    scale = score_scale(clouds)
    tiles = [
        Tile(
            paint(cloud, "scores", size, layer, _camera(cloud), scale=scale),
            cloud.name,
            _decision(one.prediction),
        )
        for cloud, one in zip(clouds, shown, strict=True)
    ]
    rows = [TileRow(tiles[start : start + _ACROSS]) for start in range(0, len(tiles), _ACROSS)]
    lines = ["worst first, each as its file has it, from where its highest scores show most"]
    return png(draw_sheet(rows, size, title, lines, scale=scale))


def _camera(cloud: LabelledCloud) -> NDArray[np.float64]:
    assert cloud.scores is not None
    high = cloud.scores >= np.quantile(cloud.scores, 1 - _HIGHEST)
    return view(replace(cloud, labels=high.astype(np.uint8)))


def _decision(prediction: ScanPrediction) -> str:
    words = [f"score {prediction.object_score:.3g}"]
    words += [] if prediction.p_value is None else [f"p {prediction.p_value:.3g}"]
    words += ["ANOMALOUS"] if prediction.anomalous else []
    return ", ".join(words)
