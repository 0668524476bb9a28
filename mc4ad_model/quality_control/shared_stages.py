# SPDX-License-Identifier: Apache-2.0
"""Two stages that share a description: V_P is deviation statistics alone, V_O a network on them.

Most of the time of a detector on deviations goes into the pose of a cloud and its z-scores at the
places (anchors) of a template. Both stages need them, so they are found once. V_P then takes hardly
any time, and what accepting an object saves is the network and the scores of points around eight
anchors.

V_P's scores are those of the method `calibrated_deviation`, in which nothing is learnt; but a point
has that of the one anchor nearest to it, which is found in less than half the time of eight. Only
accepted objects are given scores of points.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError
from intravariance.progress import track
from mc4ad_model.methods.calibrated_deviation import anchor_scores, object_score
from mc4ad_model.methods.template_deviations import Description
from mc4ad_model.quality_control.cascade import Scores

if TYPE_CHECKING:
    from mc4ad_model.methods.mc4ad.deviations.detector import DeviationDetector

STATISTICS = "statistics"  # V_P's name

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Remainder:
    """Work that is left after V_P's object scores, in seconds for each object, (B,).

    points : V_P's scores of points. verdicts : all that V_O does with the description.
    """

    points: Floats
    verdicts: Floats


def point_scores(description: Description) -> NDArray[np.float32]:
    """Give each point the mean of the narrow and the wide deviation of the nearest anchor, (N,)."""
    scores = anchor_scores(description.narrow, description.wide)
    _, nearest = description.deviation.anchors.tree.query(description.cloud)
    return np.asarray(scores[nearest], dtype=np.float32)


def score_in_stages(
    clouds: Iterable[NDArray[np.float32]],
    total: int,
    detector: DeviationDetector,
    label: str = "score",
    quiet: bool = True,
) -> tuple[Scores, Scores, Remainder]:
    """Score one object after another: by statistics, by the detector alone, and in stages.

    The detector alone and the stages are timed on the same object, one after the other, in turns
    first, so that what else the machine does in the meantime falls on both.

    Parameters
    ----------
    clouds : (N_b, 3) float32 each, stored frame; the first is scored once before, untimed
    total
        How many there are.
    label, quiet
        Name of the progress on stderr, and whether there is none.

    Returns
    -------
    V_P's scores, V_O's scores, and what is left to do for each object after V_P's object score.

    Raises
    ------
    InputError
        There is no object, or one is no cloud of these templates' scale.
    """
    rows, alone = [], []
    for number, cloud in enumerate(track(clouds, total, label, quiet)):
        if not number:
            detector.score(cloud)
        if number % 2:
            rows.append(_staged(cloud, detector))
        alone.append(_alone(cloud, detector))
        if not number % 2:
            rows.append(_staged(cloud, detector))
    if not rows:
        raise InputError("quality control: expected at least one object to score")
    objects, points, seconds = zip(*rows, strict=True)
    first, own, verdicts = np.array(seconds).T
    return Scores(np.array(objects), points, first), _joined(alone), Remainder(own, verdicts)


def _staged(
    cloud: NDArray[np.float32], detector: DeviationDetector
) -> tuple[float, NDArray[np.float32], Floats]:
    """Return V_P's scores, and the seconds of its object score, point scores, and V_O after it."""
    times = [time.perf_counter()]
    description = detector.deviations.describe(cloud)
    score = object_score(description.narrow, description.wide)
    times.append(time.perf_counter())
    points = point_scores(description)
    times.append(time.perf_counter())
    detector.judge(description)
    times.append(time.perf_counter())
    return score, points, np.diff(times)


def _alone(
    cloud: NDArray[np.float32], detector: DeviationDetector
) -> tuple[float, NDArray[np.float32], float]:
    """Return V_O's scores and seconds."""
    start = time.perf_counter()
    found = detector.score(cloud)
    seconds = time.perf_counter() - start
    assert found.object is not None
    return found.object, found.points, seconds


def _joined(rows: list[tuple[float, NDArray[np.float32], float]]) -> Scores:
    objects, points, seconds = zip(*rows, strict=True)
    return Scores(np.array(objects), points, np.array(seconds))
