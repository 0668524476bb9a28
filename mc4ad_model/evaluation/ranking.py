# SPDX-License-Identifier: Apache-2.0
"""Which samples a detector got right and which wrong, from the rows of an evaluation.

No threshold is needed: a defective object is detected as well as its score stands above those of
the normal objects of its category, and a false alarm is as bad as the share of the defective
objects that a normal one outscores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from mc4ad_model.evaluation.category_metrics import SampleRow

Kind = Literal["detected", "missed", "false alarm", "located", "mislocated"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_Valued = tuple[float, SampleRow]


@dataclass(frozen=True)
class Placed:
    """A sample and its place in a ranking.

    Parameters
    ----------
    kind
        "detected", "missed": defective objects with the most, the fewest normal objects below them;
        "false alarm": normal objects with the most defective objects below them; "located",
        "mislocated": defective objects with the highest, the lowest AUROC of their own points.
    sample
    value
        Share of the other objects below it (ties count half), or the AUROC of its points; 0 to 1.
    """

    kind: Kind
    sample: SampleRow
    value: float

    @property
    def cells(self) -> tuple[str, str, str, float]:
        """Return the sample's id, product, defect and score, for a table."""
        row = self.sample
        return row.id, row.subcategory, row.defect, row.object_score


def outscored(score: float, others: Sequence[float]) -> float:
    """Share of other scores below one, ties counted half; the mean over objects is the AUROC."""
    values = np.asarray(others, dtype=np.float64)
    return float((np.sum(values < score) + 0.5 * np.sum(values == score)) / len(values))


def rank(rows: Sequence[SampleRow], count: int) -> list[Placed]:
    """Return the `count` extreme samples of each kind, most extreme first.

    There are fewer where fewer deserve the name: none is both detected and missed, or both located
    and mislocated; what is missed has a normal object above it, a false alarm a defective one below
    it. A sample with labels of one kind only has no AUROC of its own, and is neither located nor
    mislocated. Equal places are ordered by score, then id.

    Parameters
    ----------
    rows
        Samples of one category, normal and defective ones.
    """
    normal = [row for row in rows if not row.anomalous]
    defective = [row for row in rows if row.anomalous]
    normal_scores = [row.object_score for row in normal]
    defective_scores = [row.object_score for row in defective]
    below = [(outscored(row.object_score, normal_scores), row) for row in defective]
    alarms = [(outscored(row.object_score, defective_scores), row) for row in normal]
    places = [(row.p_auroc, row) for row in defective if row.p_auroc is not None]

    detected, missed = _ends(below)
    located, mislocated = _ends(places)
    kinds: dict[Kind, list[_Valued]] = {
        "detected": detected,
        "missed": [item for item in missed if item[0] < 1],
        "false alarm": [item for item in _sorted(alarms) if item[0] > 0],
        "located": located,
        "mislocated": mislocated,
    }
    return [
        Placed(kind, row, value) for kind, values in kinds.items() for value, row in values[:count]
    ]


def _sorted(values: list[_Valued]) -> list[_Valued]:
    """Highest first."""
    return sorted(values, key=lambda item: (-item[0], -item[1].object_score, item[1].id))


def _ends(values: list[_Valued]) -> tuple[list[_Valued], list[_Valued]]:
    """Return the upper half, highest first, and the lower one, lowest first."""
    ordered, half = _sorted(values), (len(values) + 1) // 2
    return ordered[:half], ordered[half:][::-1]


Verdict = Literal["missed", "false alarm", "detected", "no alarm"]


@dataclass(frozen=True)
class Judged:
    """A sample, whether it is right, and how far from it.

    Parameters
    ----------
    verdict
        "missed" or "detected" for a defective object, "false alarm" or "no alarm" for a normal one.
    wrong
        Share of the objects of the other kind that are on the wrong side of it, ties counted half:
        normal ones above a defective one, defective ones below a normal one. Its mean over the
        objects of either kind is 1 - AUROC.
    """

    sample: SampleRow
    verdict: Verdict
    wrong: float

    @property
    def right(self) -> bool:
        """Tell whether the verdict is right."""
        return self.verdict in ("detected", "no alarm")


def verdicts(rows: Sequence[SampleRow], threshold: float | None) -> list[Judged]:
    """Judge all samples of one category: wrong ones first, and those with the largest share first.

    threshold : objects that score above it are alarms. None, where no calibration tells one: a
    defective object is missed where a normal one scores as high, and a normal one is a false alarm
    where a defective one scores as low. Equal places are ordered by score, then id.
    """
    scores = {kind: [row.object_score for row in rows if row.anomalous == kind] for kind in (0, 1)}
    judged = []
    for row in rows:
        below = outscored(row.object_score, scores[1 - row.anomalous])
        wrong = 1 - below if row.anomalous else below
        alarm = row.object_score > threshold if threshold is not None else None
        right = wrong == 0 if alarm is None else alarm == bool(row.anomalous)
        names: tuple[Verdict, Verdict] = (
            ("missed", "detected") if row.anomalous else ("false alarm", "no alarm")
        )
        judged.append(Judged(row, names[right], wrong))
    return sorted(judged, key=lambda one: (one.right, -one.wrong, _stands(one), one.sample.id))


def _stands(one: Judged) -> float:
    """Return what sorts the most wrong first: low scores of defects, high ones of others."""
    return one.sample.object_score if one.sample.anomalous else -one.sample.object_score
