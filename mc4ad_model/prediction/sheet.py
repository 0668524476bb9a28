# SPDX-License-Identifier: Apache-2.0
"""One picture of the clouds that score highest, worst first, coloured by the scores of points.

A scan has no labels, so that it is seen from where its highest scores show most.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files import PointCloud
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.pictures import Tile, TileRow, draw_sheet, paint, png, score_scale
from intravariance.looking.scans import scan_cloud
from intravariance.looking.viewpoint import view
from intravariance.seeds import generator
from mc4ad_model.prediction.detector import ScanPrediction

# Splats of more points than this only add to the time that a picture takes.
_POINTS = 30_000
_HIGHEST = 0.02  # share of a cloud's points whose scores decide where it is seen from
_ACROSS = 4


class WorstClouds:
    """The clouds with the highest object scores so far.

    Parameters
    ----------
    count
        How many are kept; 0 draws nothing.
    size
        Pixels of each picture.
    layer
        About three standard deviations of the noise (see `rendering.render`).
    """

    def __init__(self, count: int, size: int, layer: float, title: str) -> None:
        self.count, self.size, self.layer, self.title = count, size, layer, title
        self._kept: list[tuple[float, int, ScanPrediction]] = []

    def add(self, number: int, prediction: ScanPrediction) -> None:
        """Keep a prediction without an error, thinned, if it is among the highest."""
        assert prediction.object_score is not None
        place = (-prediction.object_score, number)
        if len(self._kept) >= self.count and (
            not self.count or place > (self._kept[-1][0], self._kept[-1][1])
        ):
            return
        self._kept.append((*place, _thinned(number, prediction)))
        self._kept = sorted(self._kept, key=lambda kept: kept[:2])[: self.count]

    def sheet(self) -> bytes | None:
        """Draw the picture; None where there is nothing to draw."""
        if not self._kept:
            return None
        clouds = [_cloud(number, prediction) for _, number, prediction in self._kept]
        scale = score_scale(clouds)
        tiles = [
            Tile(
                paint(cloud, "scores", self.size, self.layer, _camera(cloud), scale=scale),
                f"{number}. {cloud.name}",
                _decision(prediction),
            )
            for cloud, (_, number, prediction) in zip(clouds, self._kept, strict=True)
        ]
        rows = [TileRow(tiles[start : start + _ACROSS]) for start in range(0, len(tiles), _ACROSS)]
        lines = ["worst first, each as its file has it, from where its highest scores show most"]
        return png(draw_sheet(rows, self.size, self.title, lines, scale=scale))


def _thinned(number: int, prediction: ScanPrediction) -> ScanPrediction:
    """Leave a random part of a large cloud."""
    points, scores = prediction.points, prediction.scores
    assert points is not None and scores is not None
    if len(points) > _POINTS:
        rng = generator(0, str(number), "display")
        keep = np.sort(rng.choice(len(points), _POINTS, replace=False))
        points, scores = points[keep], scores[keep]
    return replace(prediction, points=points, scores=scores, force=None)


def _cloud(number: int, prediction: ScanPrediction) -> LabelledCloud:
    assert prediction.points is not None
    points = prediction.points.astype(np.float64)
    name = prediction.file.replace("\\", "/").rpartition("/")[2]
    return scan_cloud(PointCloud(points), name, scores=prediction.scores)[0]


def _camera(cloud: LabelledCloud) -> NDArray[np.float64]:
    assert cloud.scores is not None
    high = cloud.scores >= np.quantile(cloud.scores, 1 - _HIGHEST)
    return view(replace(cloud, labels=high.astype(np.uint8)))


def _decision(prediction: ScanPrediction) -> str:
    words = [f"score {prediction.object_score:.3g}"]
    words += [] if prediction.p_value is None else [f"p {prediction.p_value:.3g}"]
    words += ["ANOMALOUS"] if prediction.anomalous else []
    return ", ".join(words)
