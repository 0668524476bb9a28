# SPDX-License-Identifier: Apache-2.0
"""How far two labellings of the same points agree: IoU, Cohen's kappa, precision, recall.

The truth is the construction labels, the other is the hand's; 1 = anomalous is the positive class.
A figure that is not defined (0 / 0) is None, never 0 or 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Agreement:
    """Numbers of points. both : labelled 1 by both; hand_only, truth_only; neither."""

    both: int
    hand_only: int
    truth_only: int
    neither: int

    @property
    def points(self) -> int:
        """Count all points."""
        return self.both + self.hand_only + self.truth_only + self.neither

    @property
    def iou(self) -> float | None:
        """Return intersection over union of the anomalous points; None when nobody labelled any."""
        return _ratio(self.both, self.both + self.hand_only + self.truth_only)

    @property
    def precision(self) -> float | None:
        """Return the share of the hand's anomalous points that are anomalous."""
        return _ratio(self.both, self.both + self.hand_only)

    @property
    def recall(self) -> float | None:
        """Return the share of the anomalous points that the hand labelled."""
        return _ratio(self.both, self.both + self.truth_only)

    @property
    def kappa(self) -> float | None:
        """Return Cohen's kappa, 1 - observed / expected disagreement: agreement beyond chance.

        Cohen, A coefficient of agreement for nominal scales, 1960. None when one labelling has a
        single class and the other the same one: chance alone agrees.
        """
        hand, truth = self.both + self.hand_only, self.both + self.truth_only
        expected = hand * (self.points - truth) + (self.points - hand) * truth
        found = _ratio((self.hand_only + self.truth_only) * self.points, expected)
        return None if found is None else 1.0 - found


def agreement(truth: NDArray[np.uint8], hand: NDArray[np.uint8]) -> Agreement:
    """Count (N,) labels, each 0 or 1. Raises ValueError when the lengths differ."""
    if truth.shape != hand.shape:
        raise ValueError(f"labels of {truth.shape} and {hand.shape} points")
    true, marked = truth == 1, hand == 1
    return Agreement(
        both=int((true & marked).sum()),
        hand_only=int((~true & marked).sum()),
        truth_only=int((true & ~marked).sum()),
        neither=int((~true & ~marked).sum()),
    )


def pooled(parts: Iterable[Agreement]) -> Agreement:
    """Count all points of several objects together."""
    rows = [(p.both, p.hand_only, p.truth_only, p.neither) for p in parts]
    return Agreement(*(sum(column) for column in zip(*rows, strict=True))) if rows else _NONE


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of those that are defined; None when none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


_NONE = Agreement(0, 0, 0, 0)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
