# SPDX-License-Identifier: Apache-2.0
"""Calibration of a method: its scores of simulated products without a defect, and what they say.

scores = score_normal_clouds(calibration_clouds(...), count, method)
scores.p_value(0.83), scores.threshold(0.01)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.progress import track
from mc4ad_model.evaluation.alarms import alarm_threshold, p_value
from mc4ad_model.evaluation.evaluate import checked_prediction
from mc4ad_model.evaluation.scoring import predicted_object_score
from mc4ad_model.machine.memory import enough_device_memory
from mc4ad_model.methods.method import OBJECT_RULES, ObjectRule, Scorer

# Shares of the normal products' points that are below a quantile that is kept.
POINT_LEVELS = (0.5, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999)
OWN = "method"  # key of the object scores that the method gives itself


@dataclass(frozen=True)
class NormalScores:
    """A method's scores of K products without a defect.

    Parameters
    ----------
    objects
        Scores of the objects, in their order: the method's own (`OWN`), and by each of
        `OBJECT_RULES`. Largest point scores ("max") also tell a threshold for points that a whole
        object without a defect stays below.
    points
        Quantiles of the scores of all their points together, by level.
    """

    objects: Mapping[str, tuple[float, ...]]
    points: Mapping[float, float]

    def __len__(self) -> int:
        return len(self.objects[OWN])

    def of(self, rule: ObjectRule | None = None) -> tuple[float, ...]:
        """Return the K object scores under a rule; None is the method's own way."""
        return self.objects[rule or OWN]

    def p_value(self, score: float, rule: ObjectRule | None = None) -> float:
        """Compute the p-value of an object's score, see `mc4ad_model.evaluation.alarms`."""
        return p_value(self.of(rule), score)

    def threshold(self, rate: float, rule: ObjectRule | None = None) -> float:
        """Return `alarm_threshold` at a rate of false alarms."""
        return alarm_threshold(self.of(rule), rate)


def score_normal_clouds(
    clouds: Iterable[NDArray[np.float32]],
    total: int,
    scorer: Scorer,
    label: str = "calibrate",
    quiet: bool = True,
) -> NormalScores:
    """Score products without a defect, one after another.

    Parameters
    ----------
    clouds : (N, 3) float32 each, stored frame
    total
        How many there are, at least one.
    label, quiet
        Name of the progress on stderr, and whether there is none.

    Raises
    ------
    InputError
        The scores of one are of another shape or not finite.
    """
    objects: dict[str, list[float]] = {name: [] for name in (OWN, *OBJECT_RULES)}
    points: list[NDArray[np.floating[Any]]] = []
    for number, cloud in enumerate(track(clouds, total, label, quiet)):
        with enough_device_memory(f"scoring {len(cloud):,} points"):
            found = checked_prediction(scorer.score(cloud), len(cloud), f"normal product {number}")
        objects[OWN].append(predicted_object_score(found, scorer.aggregation))
        for rule in OBJECT_RULES:
            objects[rule].append(predicted_object_score(found, scorer.aggregation, rule))
        points.append(found.points)
    quantiles = np.quantile(np.concatenate(points).astype(np.float64), POINT_LEVELS)
    return NormalScores(
        {name: tuple(values) for name, values in objects.items()},
        {level: float(value) for level, value in zip(POINT_LEVELS, quantiles, strict=True)},
    )
