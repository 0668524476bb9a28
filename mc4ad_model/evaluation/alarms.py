# SPDX-License-Identifier: Apache-2.0
"""Alarms at a rate of false ones that is asked for, from scores of products without a defect.

Given the scores of K normal products, the p-value of an object with the score s is

    p = (1 + the number of normal scores that are at least s) / (K + 1)

(conformal prediction; Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005).
Where a new normal product is made as the K were, its p is at most a with a probability of at most
a, whatever the method and however it scores. That is said of the mean over calibrations: the K
products of one calibration judge every object, and by their chance the rate of false alarms is a
little more or less than a (`rate_interval`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from intravariance.errors import InputError
from mc4ad_model.evaluation.metrics import LEVEL


@dataclass(frozen=True)
class AlarmMetrics:
    """Alarms of one category: objects that score above the threshold.

    Parameters
    ----------
    rate
        Share of false alarms that was asked for.
    threshold
        Largest object score that is no alarm.
    detected, false_alarms
        Numbers of defective and of normal objects above it.
    normal
        Number of all normal objects.
    detection_rate, false_alarm_rate
        Share of the defective objects, and of the normal ones, above it.
    false_alarm_interval
        `binomial_interval` of false_alarm_rate, the threshold taken as it is.
    """

    rate: float
    threshold: float
    detected: int
    false_alarms: int
    detection_rate: float
    normal: int
    false_alarm_rate: float
    false_alarm_interval: tuple[float, float]


@dataclass(frozen=True)
class MeanAlarms:
    """Alarms of several categories at one rate.

    Parameters
    ----------
    detection_rate, false_alarm_rate
        Unweighted means over the categories.
    false_alarms, normal
        Numbers of false alarms and of normal objects in all categories together.
    false_alarm_interval
        `binomial_interval` of these two.
    """

    rate: float
    detection_rate: float
    false_alarm_rate: float
    false_alarms: int
    normal: int
    false_alarm_interval: tuple[float, float]


def p_value(normal: ArrayLike, score: float) -> float:
    """Compute the p-value of an object with a score, given the scores (K,) of normal products."""
    scores = np.asarray(normal, dtype=np.float64)
    return float((1 + (scores >= score).sum()) / (len(scores) + 1))


def alarm_threshold(normal: ArrayLike, rate: float) -> float:
    """Return the largest score that is no alarm: higher ones have a p-value of at most the rate.

    Parameters
    ----------
    normal : (K,) scores of normal products, at least one
    rate
        Share of false alarms, from 0 to 1.

    Returns
    -------
    A score of a normal product; infinity where so few products allow no alarm at this rate, minus
    infinity at a rate of 1.

    Raises
    ------
    InputError
        There is no normal product, or the rate is no such number.
    """
    scores = np.sort(np.asarray(normal, dtype=np.float64))
    if not len(scores):
        raise InputError("calibration: expected at least one normal product")
    count = _allowed(len(scores), rate)
    if count == 0:
        return math.inf
    return -math.inf if count > len(scores) else float(scores[-count])


def check_clouds(count: int, rate: float, where: str) -> None:
    """Check that `count` normal products are enough for a threshold at a rate of false alarms.

    Raises
    ------
    InputError
        They are not; `where` is named, and how many it takes.
    """
    if not _allowed(count, rate):
        needed = math.ceil(round(1 / rate, 9)) - 1
        raise InputError(
            f"{where}: holds scores of {count} normal products, and a false-alarm rate of {rate:g} "
            f"takes at least {needed}; calibrate again with `iv calibrate --clouds {needed} "
            "--force`, or more for a steadier threshold"
        )


def rate_interval(count: int, rate: float, level: float = LEVEL) -> tuple[float, float]:
    """Compute between which rates of false alarms a threshold's true one is.

    Given K = `count` normal products the rate is distributed as Beta(m, K + 1 - m), m being the
    number of products that are at or above the threshold (no two scores being equal).

    Parameters
    ----------
    level
        Share of the calibrations that have a rate in the interval.
    """
    from scipy.stats import beta  # noqa: PLC0415 - weight

    allowed = _allowed(count, rate)
    if not 0 < allowed <= count:
        return (0.0, 0.0) if not allowed else (1.0, 1.0)
    low, high = beta(allowed, count + 1 - allowed).ppf([(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def binomial_interval(count: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """Compute the Clopper-Pearson interval of a share of which `count` of `total` were seen."""
    from scipy.stats import binomtest  # noqa: PLC0415 - weight

    found = binomtest(count, total).proportion_ci(level, method="exact")
    return float(found.low), float(found.high)


def alarm_metrics(
    rate: float, threshold: float, labels: Sequence[int], scores: Sequence[float]
) -> AlarmMetrics:
    """Count the alarms of a category.

    Parameters
    ----------
    labels, scores : (B,) of the objects, both kinds among them
    """
    truth, alarms = np.asarray(labels) == 1, np.asarray(scores) > threshold
    detected, wrong = int(alarms[truth].sum()), int(alarms[~truth].sum())
    normal = int((~truth).sum())
    return AlarmMetrics(
        rate=rate,
        threshold=threshold,
        detected=detected,
        false_alarms=wrong,
        normal=normal,
        detection_rate=detected / int(truth.sum()),
        false_alarm_rate=wrong / normal,
        false_alarm_interval=binomial_interval(wrong, normal),
    )


def mean_alarms(each: Sequence[AlarmMetrics]) -> MeanAlarms:
    """Put categories together, at least one, all with the same rate asked for."""
    wrong, normal = (sum(getattr(one, name) for one in each) for name in ("false_alarms", "normal"))
    return MeanAlarms(
        rate=each[0].rate,
        detection_rate=float(np.mean([one.detection_rate for one in each])),
        false_alarm_rate=float(np.mean([one.false_alarm_rate for one in each])),
        false_alarms=wrong,
        normal=normal,
        false_alarm_interval=binomial_interval(wrong, normal),
    )


def _allowed(count: int, rate: float) -> int:
    """Return how many of K + 1 products in random order may be alarms at a rate."""
    if not 0 <= rate <= 1:
        raise InputError(f"rate of false alarms = {rate}: expected a number from 0 to 1")
    return math.floor(round(rate * (count + 1), 9))  # 0.29 * 100 is a little less than 29
