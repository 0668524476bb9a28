# SPDX-License-Identifier: Apache-2.0
"""Match the rows of a hand-labelled cloud with the points of the cloud that was given out.

Tools change the order of points, drop some, repeat some (overlapping parts merged), round their
coordinates, and may shift the whole cloud. So rows are matched by coordinates, each to the nearest
point within a tolerance. One shift for the whole cloud is found and taken off.

The tolerance is 1e-5 of the largest coordinate, and at most _COARSE of the distance of neighbours:
of a small cloud far from 0 a share of the coordinates is larger than that, and text with so few
digits does not tell its points apart. It must exceed what writing a file does: the
coarsest is text of six significant digits, as CloudCompare writes ASCII PLY, 0.5e-5 of a coordinate
just above 1. It must be far below the distance of neighbours: 0.005 to 0.03 radii in clouds of
7,000 to 25,000 points. One point in two million has another within 1e-5 in a random sample of
10,000 points on an area of 6 (pi r^2 x density); `Matching.ambiguous` counts these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32] | NDArray[np.float64]
Ints = NDArray[np.int64]

RELATIVE_TOLERANCE = 1e-5
# Fewer rows than this share in their places: the cloud was moved, or is another one.
_ENOUGH = 0.5
_CHOICES = 4  # nearest places looked at for each row
# Rows that vote for a shift, in pairs. One pair of unchanged rows is enough.
_PAIRS = 8
_JUDGES = 200  # rows on which a shift is tried
_LARGEST_CHOICE = 50  # shifts tried for a pair; a random cloud gives one
_COARSE = 0.25  # of the median distance of neighbours: coordinates coarser than that say nothing
_ASKED = 2000  # points whose neighbours are looked at


@dataclass(frozen=True, eq=False)
class Matching:
    """Rows of an edited cloud and the N points that they are.

    point : (M,) int64 index of each row's point, -1 for a row that is none (`extra`). shift : (3,)
    float64, rows = points + shift; zero where the cloud was not moved. tolerance : largest
    distance that counts as the same place, unit of the points. missing : points without a row.
    repeated : rows beyond the first for a point. ambiguous : matched points that could have been
    another row's, because two places lie within the tolerance or two points in one place.
    """

    point: Ints
    count: int
    shift: NDArray[np.float64]
    tolerance: float
    ambiguous: int

    @property
    def known(self) -> NDArray[np.bool_]:
        """Tell which points have a row, (N,)."""
        known = np.zeros(self.count, dtype=bool)
        known[self.point[self.point >= 0]] = True
        return known

    @property
    def matched(self) -> int:
        """Count points that have a row."""
        return int(self.known.sum())

    @property
    def missing(self) -> int:
        """Count points that have none."""
        return self.count - self.matched

    @property
    def extra(self) -> int:
        """Count rows that are no point."""
        return int((self.point < 0).sum())

    @property
    def repeated(self) -> int:
        """Count rows beyond the first for their point."""
        return len(self.point) - self.extra - self.matched

    def belongs(self) -> bool:
        """Tell whether at least half of the rows are points: else it is another cloud."""
        return 2 * self.extra <= len(self.point)

    def carry(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return (N,) uint8 labels of the points from (M,) of the rows: 1 where any row of the
        point has 1, and 0 where it has no row.
        """
        carried = np.zeros(self.count, dtype=np.uint8)
        found = self.point >= 0
        np.maximum.at(carried, self.point[found], labels[found])
        return carried


def match(points: Floats, rows: Floats) -> Matching:
    """Match (M, 3) rows to (N, 3) points, both finite, N and M above 0.

    Where less than half of the rows lie on points, a shift of the whole cloud is looked for. When
    there is none, the result says so: `belongs` is False.
    """
    points, rows = np.asarray(points, dtype=np.float64), np.asarray(rows, dtype=np.float64)
    tolerance = same_place(points, RELATIVE_TOLERANCE)
    plain = _match(points, rows, np.zeros(3), tolerance)
    if len(rows) - plain.extra >= _ENOUGH * len(rows):
        return plain
    # Text and float64 keep shifted coordinates; float32 ones become as coarse as the shift is long.
    coarse = tolerance + 2 * float(np.spacing(np.float32(np.abs(rows).max())))
    for reach in (tolerance, coarse):
        shift = _find_shift(points, rows, reach)
        if shift is not None:
            return _match(points, rows, shift, reach)
    return plain


def same_place(points: Floats, relative: float) -> float:
    """Return how far a row may lie from its point of (N, 3): `relative` of the largest coordinate,
    and at most _COARSE of the distance of neighbours.
    """
    tolerance = relative * float(np.abs(points).max())
    apart = neighbour_distance(points)
    return min(tolerance, _COARSE * apart) if apart else tolerance


def neighbour_distance(points: Floats) -> float:
    """Return the median distance of points, (N, 3), to their nearest; 0 for a single place.

    At most _ASKED points are looked at. Where most points share their place with another, each
    place counts once.
    """
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    if len(points) < 2:
        return 0.0
    tree = cKDTree(points, compact_nodes=False, balanced_tree=False)
    asked = points[np.unique(np.linspace(0, len(points) - 1, _ASKED).astype(int))]
    apart = float(np.median(tree.query(asked, k=2)[0][:, 1]))
    if apart:
        return apart
    places = np.asarray(np.unique(points, axis=0), dtype=np.float64)
    return neighbour_distance(places) if len(places) < len(points) else 0.0


def _match(
    points: NDArray[np.float64],
    rows: NDArray[np.float64],
    shift: NDArray[np.float64],
    tolerance: float,
) -> Matching:
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    # Several points may lie in one place: (P, 3) places, with room for `room` rows each.
    places, place_of, room = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    members = np.argsort(place_of.reshape(-1), kind="stable")
    first = np.concatenate([[0], np.cumsum(room)[:-1]])
    choices = list(range(1, 1 + min(_CHOICES, len(places))))
    distances, wanted = cKDTree(places).query(
        rows - shift, k=choices, distance_upper_bound=np.nextafter(tolerance, np.inf)
    )  # (M, K) each, nearest first; place P where there is no more
    place, seat = _seated(wanted, distances, room)
    point = np.where(place >= 0, members[first[place] + seat], -1)
    unsure = (wanted[:, 1:] < len(places)).any(axis=1) | (room[place] > 1)
    return Matching(
        point=point.astype(np.int64),
        count=len(points),
        shift=shift,
        tolerance=tolerance,
        ambiguous=len(np.unique(point[unsure & (place >= 0)])),
    )


def _seated(wanted: Ints, distances: NDArray[np.float64], room: Ints) -> tuple[Ints, Ints]:
    """Return a place (M,) for each row, -1 without one in reach, and which of its seats (M,).

    In rounds: each row without a place asks for its next choice, the nearest are served first
    while there is room. A row that finds no room at all repeats the first of its nearest place.
    """
    place, seat = np.full(len(wanted), -1), np.zeros(len(wanted), dtype=np.int64)
    taken = np.zeros(len(room), dtype=np.int64)
    for choice in range(wanted.shape[1]):
        asking = np.flatnonzero((place < 0) & (wanted[:, choice] < len(room)))
        order = np.lexsort((distances[asking, choice], wanted[asking, choice]))
        asking = asking[order]
        target = wanted[asking, choice]
        rank = np.arange(len(target)) - np.searchsorted(target, target)
        rank = rank + taken[target]
        served = rank < room[target]
        place[asking[served]], seat[asking[served]] = target[served], rank[served]
        taken += np.bincount(target[served], minlength=len(room))
    repeats = (place < 0) & (wanted[:, 0] < len(room))
    place[repeats] = wanted[repeats, 0]
    return place, seat


def _find_shift(
    points: NDArray[np.float64], rows: NDArray[np.float64], tolerance: float
) -> NDArray[np.float64] | None:
    """Find the shift (3,) that puts at least half of the rows on points; None when there is none.

    The differences of one row to all points hold the shift, those of another row as well, and the
    shift is what both have in common. So no centroid is needed, which deleted points would move.
    """
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    if tolerance > _COARSE * neighbour_distance(points) or len(rows) < 2:
        return None
    tree = cKDTree(points)
    judges = rows[np.unique(np.linspace(0, len(rows) - 1, _JUDGES).astype(int))]
    picks = np.linspace(0, len(rows) - 1, 2 * _PAIRS).astype(int)
    for one, other in zip(rows[picks[:_PAIRS]], rows[picks[_PAIRS:]], strict=True):
        if np.linalg.norm(one - other) <= 4 * tolerance:
            continue
        shifts = one - points
        common, _ = cKDTree(other - points).query(shifts, distance_upper_bound=4 * tolerance)
        for shift in shifts[np.isfinite(common)][:_LARGEST_CHOICE]:
            distance, nearest = tree.query(judges - shift, distance_upper_bound=4 * tolerance)
            hits = np.isfinite(distance)
            if hits.mean() >= _ENOUGH:
                residuals = judges[hits] - shift - points[nearest[hits]]
                return np.asarray(shift + np.median(residuals, axis=0))
    return None
