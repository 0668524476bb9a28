# SPDX-License-Identifier: Apache-2.0
"""Labels in a file of their own: one for each point, or rows `x y z label` in any order.

The community's ground truth comes in rows whose order is not the cloud's (Anomaly-ShapeNet), and
sometimes with a row more than the cloud has points, so rows are matched by their coordinates.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotations.matching import same_place
from intravariance.cloud_files.choices import (
    AS_WRITTEN,
    ReadingChoices,
    checked_labels,
    returned,
)
from intravariance.cloud_files.cloud import LARGEST_COORDINATE, Floats, as_point
from intravariance.cloud_files.npy import parse_array
from intravariance.cloud_files.reading import read_bytes
from intravariance.cloud_files.text import parse_cells
from intravariance.errors import InputError

# A point and its row may differ by this share of the largest coordinate (see `same_place`): text of
# six significant digits is off by half of it, in each coordinate.
MATCH_TOLERANCE = 1e-5
# Rows that belong to no point, as a share of the points (but one is always allowed).
SPARE_ROWS = 1e-3


def read_labels(path: Path, points: Floats) -> NDArray[np.uint8]:
    """Read (N,) uint8 labels of `points`, (N, 3), from a .txt, .csv or .npy file beside the cloud.

    The file has one column, labels in the order of the points, or four, `x y z label` in any order:
    a point takes the label of the nearest row, within MATCH_TOLERANCE; of rows in one place, one
    that is anomalous makes the point anomalous. Raises InputError naming the file and both counts
    when they do not match, and the line of a label that is not 0 or 1.
    """
    return parse_labels(read_bytes(path), str(path), points)


def parse_labels(
    data: bytes,
    name: str,
    points: Floats,
    choices: ReadingChoices = AS_WRITTEN,
    kept: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Read labels as `read_labels` does, from the bytes of the file `name`.

    choices : what labels mean. kept : (M,) which rows of the cloud's file are its points; labels in
    the order of that file may be of these rows, or of the points.
    """
    try:
        if PurePosixPath(name).suffix.lower() == ".npy":
            values: NDArray[Any] = parse_array(data)
            values = values[:, None] if values.ndim == 1 else values
            where: Callable[[int], str] = as_point
        else:
            values, where = parse_cells(data)
        if values.ndim != 2 or values.shape[1] not in (1, 4):
            raise InputError(
                f"its shape is {values.shape}; expected are 1 column, or 4: x y z label"
            )
        if kept is not None:
            values, where = _of_points(values, where, kept)
        labels = checked_labels(values[:, -1], "last column", where, choices)
        if values.shape[1] == 1:
            if len(labels) != len(points):
                raise InputError(f"it has {len(labels):,} labels for {len(points):,} points")
            return labels
        return match_labels(values[:, :3].astype(np.float64), labels, points)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _of_points(
    values: NDArray[Any], where: Callable[[int], str], kept: NDArray[np.bool_]
) -> tuple[NDArray[Any], Callable[[int], str]]:
    """Leave out the rows of a label file that belong to no point of the cloud."""
    if values.shape[1] == 1:
        rows = np.flatnonzero(kept) if len(values) == len(kept) else np.arange(len(values))
    else:
        rows = np.flatnonzero(returned(values[:, :3].astype(np.float64), LARGEST_COORDINATE))
    return values[rows], lambda row: where(int(rows[row]))


def match_labels(
    rows: Floats, labels: NDArray[np.uint8], points: Floats, tolerance: float = MATCH_TOLERANCE
) -> NDArray[np.uint8]:
    """Return (N,) labels of `points`, (N, 3), from those of `rows`, (M, 3), by coordinates.

    Raises InputError when a point has no row within `tolerance` times the largest coordinate, or
    within a quarter of the distance of neighbours where that is less, or when more than a share of
    SPARE_ROWS, and more than one, of the rows have no point.
    """
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    if not np.isfinite(rows).all() or not len(rows):
        raise InputError("its coordinates are not finite numbers, or there are none")
    reach = same_place(points, tolerance)
    if rows.shape == points.shape and (np.abs(rows - points) <= reach).all():
        return labels  # in the same order
    order = np.lexsort(rows.T)
    rows_sorted = rows[order]
    first = np.flatnonzero(np.append(True, (rows_sorted[1:] != rows_sorted[:-1]).any(axis=1)))
    places, strongest = rows_sorted[first], np.maximum.reduceat(labels[order], first)
    near = np.nextafter(reach, np.inf)
    nearest = cKDTree(places).query(points, distance_upper_bound=near)[1]
    unmatched = int((nearest == len(places)).sum())
    if unmatched:
        raise InputError(
            f"{unmatched:,} of {len(points):,} points have no row within {reach:.3g}; the file has "
            f"{len(rows):,} rows. Do both belong together, in the same unit, and with enough "
            "digits to tell neighbours apart?"
        )
    others = places[np.bincount(nearest, minlength=len(places)) == 0]  # nearest to no point
    spare = int((cKDTree(points).query(others)[0] > reach).sum()) if len(others) else 0
    if spare > max(1, SPARE_ROWS * len(points)):
        raise InputError(
            f"{spare:,} of its {len(rows):,} rows belong to none of {len(points):,} points"
        )
    return np.asarray(strongest[nearest])
