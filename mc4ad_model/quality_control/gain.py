# SPDX-License-Identifier: Apache-2.0
"""The worth of hierarchical quality control: V_P alone, V_O alone, and both in two stages.

Time. Each scorer is timed alone on each object, from the points in memory to its object score. Two
stages take V_P's time of all objects and V_O's of those not accepted; what they do besides, a
comparison of two numbers for each object, is not counted. Stages that share a description
(`shared_stages`) take V_P's time of all objects, that of its point scores of those accepted, and
that of V_O's verdict on the description of the others; V_O alone is timed from the points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from operator import add

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mc4ad_model.evaluation import metrics
from mc4ad_model.evaluation.alarms import alarm_threshold
from mc4ad_model.quality_control.cascade import (
    Reference,
    Scores,
    accept_lowest,
    cascade,
)
from mc4ad_model.quality_control.shared_stages import Remainder

SHARE = 0.25  # b of the paper


@dataclass(frozen=True)
class Timing:
    """Seconds over all objects.

    first, second : of V_P alone and of V_O alone; saved : what V_O is spared, its seconds on the
    accepted objects, or with shared stages all but what is left to do after V_P; shared : which.
    """

    objects: int
    accepted: int
    first: float
    second: float
    saved: float
    shared: bool = False

    def __add__(self, other: Timing) -> Timing:
        sums = Timing(*map(add, astuple(self), astuple(other)))
        return replace(sums, shared=self.shared or other.shared)

    @property
    def both(self) -> float:
        """Seconds of the two stages."""
        return self.first + self.second - self.saved

    @property
    def speed_up(self) -> float:
        """How many times as fast as V_O alone the two stages are."""
        return self.second / max(self.both, 1e-12)

    @property
    def pays(self) -> bool:
        """Whether they are faster: t_P < b t_O, with what V_O is spared as b t_O, for accepted
        objects may be quicker or slower than others."""
        return self.first < self.saved

    def rate(self, seconds: float) -> float:
        """Objects a second."""
        return self.objects / max(seconds, 1e-12)

    def sentence(self) -> str:
        """Whether it pays, and why."""
        first, break_even = (1e3 * s / self.objects for s in (self.first, self.saved))
        if self.pays:
            verdict, relation = "pays", "less"
        else:
            verdict, relation = "does not pay", "no less"
        condition = "(break-even: t_P < b t_O)"
        if self.shared:
            condition = "and taking over the pose and the statistics of the others"
        return (
            f"Quality control in two stages {verdict} here: V_P takes {first:.1f} ms an object, "
            f"{relation} than the {break_even:.1f} ms that it saves V_O by accepting "
            f"{self.accepted} of {self.objects} {condition}. It is "
            f"{self.speed_up:.2f} times as fast as V_O alone."
        )


@dataclass(frozen=True)
class StageComparison:
    """V_P alone, V_O alone, and both stages, on the test objects of a category.

    share : b; threshold : of V_P's object score, None where the lowest of a batch were accepted.
    misses : accepted objects that are defective. p_auroc : with V_P's point scores brought to
    V_O's scale; p_auroc_unscaled : with both as they are.
    """

    category: str
    share: float
    threshold: float | None
    objects: int
    accepted: int
    misses: int
    first_o_auroc: float
    first_p_auroc: float
    second_o_auroc: float
    second_p_auroc: float
    o_auroc: float
    p_auroc: float
    p_auroc_unscaled: float
    timing: Timing


def compare_stages(
    category: str,
    labels: Sequence[NDArray[np.uint8]],
    anomalous: ArrayLike,
    first: Scores,
    second: Scores,
    share: float = SHARE,
    calibration: tuple[Scores, Scores] | None = None,
    remainder: Remainder | None = None,
) -> StageComparison:
    """Compare both scorers alone and in two stages.

    Parameters
    ----------
    category : named in the result
    labels : (N_b,) 0 or 1, of the points of each object
    anomalous : (B,) 0 or 1, of the objects
    first, second : V_P's and V_O's scores of all objects
    share : b, of the batch or of normal products
    calibration : their scores of normal products; None accepts the lowest of the batch
    remainder
        Work left after V_P where V_O goes on from what V_P found; None where it does not.
    """
    truth = np.asarray(anomalous).astype(bool)
    accepted, threshold = _accepted(first, share, calibration)
    rest = second.chosen(~accepted)
    normal = calibration or (first.chosen(~accepted), rest)
    reference = Reference.of(*normal) if calibration or len(rest) else None
    pooled = np.concatenate(list(labels))

    def points(scores: Scores) -> float:
        return metrics.auroc(pooled, np.concatenate(scores.points))

    both = cascade(first, accepted, rest, reference)
    return StageComparison(
        category=category,
        share=share,
        threshold=threshold,
        objects=len(first),
        accepted=int(accepted.sum()),
        misses=int((accepted & truth).sum()),
        first_o_auroc=metrics.auroc(truth, first.objects),
        first_p_auroc=points(first),
        second_o_auroc=metrics.auroc(truth, second.objects),
        second_p_auroc=points(second),
        o_auroc=metrics.auroc(truth, both.objects),
        p_auroc=points(both),
        p_auroc_unscaled=points(cascade(first, accepted, rest)),
        timing=_timing(first, second, accepted, remainder),
    )


def _accepted(
    first: Scores, share: float, calibration: tuple[Scores, Scores] | None
) -> tuple[NDArray[np.bool_], float | None]:
    """Return who is accepted, (B,), and the threshold where there is one."""
    if calibration is None:
        return accept_lowest(first.objects, share), None
    threshold = alarm_threshold(calibration[0].objects, 1 - share)
    return first.objects <= threshold, threshold


def _timing(
    first: Scores, second: Scores, accepted: NDArray[np.bool_], remainder: Remainder | None
) -> Timing:
    saved = second.seconds[accepted].sum()
    if remainder is not None:
        left = np.where(accepted, remainder.points, remainder.verdicts)
        saved = second.seconds.sum() - left.sum()
    return Timing(
        objects=len(first),
        accepted=int(accepted.sum()),
        first=float(first.seconds.sum()),
        second=float(second.seconds.sum()),
        saved=float(saved),
        shared=remainder is not None,
    )
