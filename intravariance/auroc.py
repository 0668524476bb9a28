# SPDX-License-Identifier: Apache-2.0
"""The area under the ROC curve, as a rank statistic: the only one in the project.

A label is 0 (normal) or 1 (anomalous), a score is higher the more anomalous.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intravariance.errors import InputError


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Compute the probability that an anomalous score is above a normal one, a tie counting half.

    Pairs are counted in whole numbers, so that the quotient alone is rounded.

    Parameters
    ----------
    labels : (M,), 0 or 1
    scores : (M,), finite

    Raises
    ------
    InputError
        As `validate`.
    """
    truth, values = validate(labels, scores)
    anomalous, normal = np.sort(values[truth]), np.sort(values[~truth])
    below = np.searchsorted(normal, anomalous, side="left")
    not_above = np.searchsorted(normal, anomalous, side="right")
    twice_won = int(below.sum()) + int(not_above.sum())
    return twice_won / (2 * len(anomalous) * len(normal))


def validate(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Check labels and scores, and return them as arrays.

    Parameters
    ----------
    labels : (M,), 0 or 1
    scores : (M,), finite

    Raises
    ------
    InputError
        Shapes differ, a label is neither 0 nor 1, a score is not finite, or a class is missing.
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != values.shape:
        raise InputError(
            f"expected as many scores as labels, in one dimension; found labels of shape "
            f"{truth.shape} and scores of shape {values.shape}"
        )
    if not np.isin(truth, (0, 1)).all():
        raise InputError("labels: expected 0 (normal) or 1 (anomalous) only")
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise InputError(f"scores: {count} of {values.size} are not finite")
    truth = truth.astype(bool)
    for name, count in (("anomalous", truth.sum()), ("normal", (~truth).sum())):
        if not count:
            raise InputError(
                f"expected normal and anomalous labels; none of {len(truth)} is {name}"
            )
    return truth, values
