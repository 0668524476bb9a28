# SPDX-License-Identifier: Apache-2.0
"""The user's choices where cloud files do not tell: which numbers are labels, what is no point.

By default a file means what it says: every row is a point, and labels are 0 or 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError

ANOMALOUS_LABELS = "--anomalous-labels"
DROP_NO_RETURN = "--drop-no-return"

_NUMBER = r"-?(?:\d{1,15}\.?\d{0,15}|\.\d{1,15})"
_RANGE = re.compile(rf"({_NUMBER})(?:-({_NUMBER}))?")
_MOST_SHOWN = 8  # different labels in a message


@dataclass(frozen=True)
class AnomalousLabels:
    """Numbers that mark a point as anomalous; all others mark it as normal.

    text : as the user wrote it. ranges : first and last number of each, both included. nonzero :
    all but 0.
    """

    text: str
    ranges: tuple[tuple[float, float], ...] = ()
    nonzero: bool = False

    @classmethod
    def parse(cls, text: str) -> AnomalousLabels:
        """Read "255", "1-3", "1,4-6" or "nonzero". Raises InputError for all else."""
        if text.strip().casefold() == "nonzero":
            return cls("nonzero", nonzero=True)
        ranges = []
        for part in text.split(","):
            match = _RANGE.fullmatch(part.strip())
            first, last = (float(end or match[1]) for end in match.groups()) if match else (1.0, 0)
            if first > last:
                raise InputError(
                    f"{ANOMALOUS_LABELS} {text}: expected a number (255), a range (1-3), several "
                    "with commas between them (1,4-6), or nonzero"
                )
            ranges.append((first, last))
        return cls(text, tuple(ranges))

    def of(self, values: NDArray[Any], name: str, where: Callable[[int], str]) -> NDArray[np.uint8]:
        """Return (N,) uint8 labels, 1 for an anomalous point. Raises InputError for NaN."""
        wrong = np.flatnonzero(np.isnan(values.astype(np.float64)))
        if len(wrong):
            raise InputError(f"{where(int(wrong[0]))}: the label ({name}) is no number")
        anomalous = (values != 0) if self.nonzero else np.zeros(len(values), dtype=bool)
        for first, last in self.ranges:
            anomalous |= (values >= first) & (values <= last)
        return np.asarray(anomalous, dtype=np.uint8)


@dataclass(frozen=True)
class ReadingChoices:
    """drop_no_return : points that are not finite or (0, 0, 0), as organised scans write places
    where the sensor got no return, are left out with their labels. anomalous : what labels mean;
    None takes 0 and 1 alone."""

    drop_no_return: bool = False
    anomalous: AnomalousLabels | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what was chosen, {} for the defaults; JSON-able."""
        chosen: dict[str, Any] = {"drop_no_return": True} if self.drop_no_return else {}
        return chosen | ({"anomalous_labels": self.anomalous.text} if self.anomalous else {})


AS_WRITTEN = ReadingChoices()


def checked_labels(
    values: NDArray[Any],
    name: str,
    where: Callable[[int], str],
    choices: ReadingChoices = AS_WRITTEN,
) -> NDArray[np.uint8]:
    """Return (N,) uint8 of label values. Raises InputError where one is not as `choices` say."""
    if choices.anomalous is not None:
        return choices.anomalous.of(values, name, where)
    wrong = np.flatnonzero(~((values == 0) | (values == 1)))
    if len(wrong):
        raise InputError(
            f"{where(int(wrong[0]))}: the label ({name}) is {values[wrong[0]]:g}; expected is 0 "
            f"(normal) or 1 (anomalous), and {len(wrong):,} of {len(values):,} are neither. "
            f"Found are {found_labels(values)}. If the column is a label, `iv import` takes "
            f"{ANOMALOUS_LABELS} {_proposal(values)}; if it is none, name the columns in a header "
            "line, or rename it."
        )
    return values.astype(np.uint8)


def found_labels(values: NDArray[Any]) -> str:
    """Show the different numbers of a column, and how often each is there."""
    numbers, counts = np.unique(values, return_counts=True)
    shown = [
        f"{number:g} ({count:,} points)"
        for number, count in zip(numbers[:_MOST_SHOWN], counts, strict=False)
    ]
    more = len(numbers) - len(shown)
    return ", ".join(shown) + (f" and {more:,} other numbers" if more else "")


def _proposal(values: NDArray[Any]) -> str:
    """Return what the option may be given: the only number beside 0, else its form."""
    others = np.unique(values[values != 0])
    return f"{others[0]:g}" if len(others) == 1 else "with the anomalous numbers (2, 1-3, nonzero)"


def returned(points: NDArray[np.float64], largest: float) -> NDArray[np.bool_]:
    """Tell which rows of (N, 3) are points, finite up to `largest` and not (0, 0, 0)."""
    finite = (np.abs(points) <= largest).all(axis=1)
    return np.asarray(finite & (points != 0).any(axis=1))
