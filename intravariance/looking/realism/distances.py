# SPDX-License-Identifier: Apache-2.0
"""The Wasserstein-1 distance between two groups of objects in one measure.

It is the mean distance over which the one distribution's values have to be carried to make the
other, so it is in the measure's own unit. Divided by `scale`, the real group's spread, it can be
compared between measures: 1 means "off by the interquartile range of real defects".

A distance between two samples is never 0, even of equal distributions, and the fewer objects the
larger it is. So beside every distance stands `reference`, what is to be expected of two groups
of the same sizes that differ by chance alone. A distance near its reference shows no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST_OBJECTS = 4
BOOTSTRAP_RESAMPLES = 1000
_LEVEL = 0.95


@dataclass(frozen=True)
class Distance:
    """A Wasserstein-1 distance between real and pseudo-defects.

    Parameters
    ----------
    value
        Between the two groups as they are, in the measure's unit.
    low, high
        95 % percentile interval of the bootstrap over the objects of both groups. Resampling
        adds chance to chance, so the interval lies too high when the groups hardly differ, and
        it never holds 0: `reference` answers whether they differ, the interval by how much. In
        simulations with Gaussian groups that lie half a standard deviation or more apart it held
        the true distance in 95 of 100 cases for 20 objects a side, in 86 to 92 for 8.
    reference
        Mean distance of two groups of the same sizes that are both drawn, with replacement, from
        the real group, times sqrt(n / (n - 1)) for the spread that n real objects do not show.
        In simulations about a tenth too small for 20 to 60 real objects, a fifth for 8: what
        lies beyond the real objects seen is never drawn.
    scale
        Interquartile range of the real group; its standard deviation where that is 0; None
        where both are 0.
    n_real, n_pseudo
        Objects in which the measure is defined.
    """

    value: float
    low: float
    high: float
    reference: float
    scale: float | None
    n_real: int
    n_pseudo: int


def distance(
    real: Sequence[float | None],
    pseudo: Sequence[float | None],
    rng: np.random.Generator,
    resamples: int = BOOTSTRAP_RESAMPLES,
) -> Distance | None:
    """Compare one measure of two groups of objects.

    Parameters
    ----------
    real, pseudo
        One value for each object; None and NaN are left out.

    Returns
    -------
    None when either group has fewer than `FEWEST_OBJECTS` values.
    """
    first, second = _known(real), _known(pseudo)
    n_real, n_pseudo = len(first), len(second)
    if min(n_real, n_pseudo) < FEWEST_OBJECTS:
        return None
    draw = partial(_resample, resamples=resamples, rng=rng)
    boots = _wasserstein(first, second, draw(n_real, n_real), draw(n_pseudo, n_pseudo))
    chance = _wasserstein(first, first, draw(n_real, n_real), draw(n_real, n_pseudo))
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(boots, (tail, 1 - tail)).tolist()
    value = _wasserstein(first, second, np.ones((1, n_real)), np.ones((1, n_pseudo)))
    return Distance(
        value=float(value[0]),
        low=low,
        high=high,
        reference=float(chance.mean() * np.sqrt(n_real / (n_real - 1))),
        scale=_spread(first),
        n_real=n_real,
        n_pseudo=n_pseudo,
    )


def _known(values: Sequence[float | None]) -> Floats:
    """Return the known values in increasing order, so that the order of objects changes nothing."""
    array = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.sort(array[np.isfinite(array)])


def _spread(values: Floats) -> float | None:
    low, high = np.quantile(values, (0.25, 0.75))
    spread = float(high - low) or float(values.std(ddof=1))
    return spread or None


def _resample(objects: int, draws: int, resamples: int, rng: np.random.Generator) -> Floats:
    """Draw (resamples, objects): how often each object is drawn, with replacement."""
    counts = rng.multinomial(draws, np.full(objects, 1 / objects), size=resamples)
    return counts.astype(np.float64)


def _wasserstein(first: Floats, second: Floats, weights: Floats, others: Floats) -> Floats:
    """Return (B,) distances between (n,) and (m,) values with weights (B, n) and (B, m).

    A distance is the area between the two distribution functions. All B are computed at once,
    unlike scipy's.
    """
    values = np.concatenate([first, second])
    order = np.argsort(values, kind="stable")
    steps = np.concatenate(
        [weights / weights.sum(axis=1, keepdims=True), -others / others.sum(axis=1, keepdims=True)],
        axis=1,
    )[:, order]
    gap = np.abs(np.cumsum(steps, axis=1)[:, :-1])  # (B, n + m - 1)
    return np.asarray((gap * np.diff(values[order])).sum(axis=1))
