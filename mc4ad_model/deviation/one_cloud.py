# SPDX-License-Identifier: Apache-2.0
"""Statistics of normal clouds at each place of a template that is known by one noisy cloud only.

Clouds drawn from the stored cloud vary about its own statistics as the stored cloud varies about
the product's. So what is usual is itself uncertain, by as much as a single cloud is. Where the
statistics hardly change from place to place, their mean over the neighbourhood is a better guess
than a place's own: each place takes a mixture of both, in which the mean counts the less the more
the places around differ from theirs, beyond what chance does (empirical Bayes).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mc4ad_model.deviation.neighbourhoods import Neighbourhoods
from mc4ad_model.deviation.statistics import Anchors, Calibration, calibration_of

Floats = NDArray[np.float64]

_SMOOTHED = 0.15  # radius of the neighbourhood whose mean may stand for a place
_COMPARED = 0.12  # and of that over which it is judged whether it may


def calibration_of_one_cloud(anchors: Anchors, measured: Floats) -> Calibration:
    """Return mean and spread of what was measured in K clouds drawn from one, (K, A, C).

    The spread is that of a fresh cloud about the mean: its own, and the mean's uncertainty.
    """
    drawn = calibration_of(anchors, measured)
    smooth, near = Neighbourhoods(anchors, _SMOOTHED), Neighbourhoods(anchors, _COMPARED)
    own = np.where(np.isfinite(measured), measured, np.nan_to_num(drawn.mean))
    means = np.stack([smooth.mean(m) for m in own])
    mean = np.nan_to_num(drawn.mean)
    difference = mean - smooth.mean(mean)
    chance = near.mean((own - means).var(axis=0, ddof=1))  # of the difference
    beyond = np.maximum(0.0, near.mean(difference**2) - chance)
    kept = beyond / np.maximum(beyond + chance, 1e-30)
    mixed = mean - (1 - kept) * difference
    uncertain = near.mean((1 - kept) ** 2 * means.var(axis=0, ddof=1) + kept**2 * drawn.spread**2)
    return replace(
        drawn,
        mean=np.where(np.isfinite(drawn.mean), mixed, np.nan),
        spread=np.sqrt(drawn.spread**2 + uncertain),
    )
