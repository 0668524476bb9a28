# SPDX-License-Identifier: Apache-2.0
"""From the columns of a file to a checked point cloud.

Every parser ends here, so that a PLY property, a PCD field and a column of a table mean the same.
Names are compared without regard to case and without CloudCompare's prefix `scalar_`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import UNKNOWN_LABEL
from intravariance.cloud_files.choices import (
    AS_WRITTEN,
    DROP_NO_RETURN,
    ReadingChoices,
    checked_labels,
    returned,
)
from intravariance.dataset.schema import MAX_ROWS
from intravariance.errors import InputError

Floats = NDArray[np.float64]

# Larger numbers are damage, and their squares must not overflow in what comes after.
LARGEST_COORDINATE = 1e30
AXES = ("x", "y", "z")
_NORMALS = (("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z"))
LABEL_NAMES = (
    "label", "labels", "anomaly", "anomalous", "is_anomaly", "gt", "ground_truth", "groundtruth",
    "mask",
)  # fmt: skip
# CloudCompare's name for the fourth column of a table without names. It may be anything.
_UNNAMED_SCALAR = "scalar_field"


@dataclass(frozen=True, eq=False)
class PointCloud:
    """A cloud as it lies in a file.

    points : (N, 3) float64, N > 0, finite, unit and frame of the file. normals : (N, 3) float64,
    length 1, or None. labels : (N,) uint8, 1 = anomalous, or None where the file has none (a scan
    that is loaded has UNKNOWN_LABEL for each point then, see `labelled`).
    columns : the names of what was used, as the file has them. notes : what was not, and why.
    displacement : (N, 3) float32, how a defect moved each point, NaN where it exposed new surface;
    None where that is not known (only trees that iv exported tell it).
    kept : (M,) which rows of the file are points, None where all are (see `ReadingChoices`).
    """

    points: Floats
    normals: Floats | None = None
    labels: NDArray[np.uint8] | None = None
    columns: tuple[str, ...] = AXES
    notes: tuple[str, ...] = ()
    displacement: NDArray[np.float32] | None = None
    kept: NDArray[np.bool_] | None = None

    @property
    def dropped(self) -> int:
        """Count the rows of the file that are no points."""
        return 0 if self.kept is None else int((~self.kept).sum())

    @property
    def labelled(self) -> bool:
        """Whether its points have labels."""
        return self.labels is not None and not bool((self.labels == UNKNOWN_LABEL).any())


def as_point(row: int) -> str:
    """Return how an error names a row of a binary file: counted from 1."""
    return f"point {row + 1}"


def cloud_from_columns(
    columns: Mapping[str, NDArray[Any]],
    where: Callable[[int], str] = as_point,
    choices: ReadingChoices = AS_WRITTEN,
) -> PointCloud:
    """Make the cloud in named columns, each (N,) numbers. where : names the place of a row in
    errors. choices : which rows are points, and what labels mean.

    Raises InputError without x, y and z, without or with too many points, with coordinates that are
    not finite, or with labels that are not 0 or 1. Normals that have no length or are not finite,
    as tools write them for single points, leave the whole cloud without normals, with a note.
    """
    plain = {_plain(name): name for name in columns}
    missing = [axis for axis in AXES if axis not in plain]
    if missing:
        raise InputError(
            f"it has no column {' '.join(missing)}; found are {', '.join(columns) or 'none'}"
        )
    used = [plain[axis] for axis in AXES]
    check_count(len(columns[used[0]]))
    points = as_floats(columns, used)
    if not len(points):
        raise InputError("it has no points")
    kept = returned(points, LARGEST_COORDINATE) if choices.drop_no_return else None
    if kept is not None and not kept.any():
        raise InputError(f"none of its {len(kept):,} points is one: all are 0 or not finite")
    if kept is not None:
        rows, place = np.flatnonzero(kept), where
        columns, points = {name: values[kept] for name, values in columns.items()}, points[kept]

        def where(row: int) -> str:
            return place(int(rows[row]))

    _check_finite(points, used, where)
    notes: list[str] = []
    normals = None
    for axes in _NORMALS:
        if normals is None and all(axis in plain for axis in axes):
            names = [plain[axis] for axis in axes]
            normals = unit_vectors(as_floats(columns, names))
            used += names if normals is not None else []
            notes += [] if normals is not None else ["normals not used: some have no direction"]
    label, labels = _labels(columns, where, notes, choices)
    kept = None if kept is None or kept.all() else kept
    return PointCloud(points, normals, labels, (*used, *label), tuple(notes), kept=kept)


def check_count(points: int) -> None:
    """Raise InputError for more points than a dataset's sample may have."""
    if points > MAX_ROWS:
        raise InputError(f"it has {points:,} points; at most {MAX_ROWS:,} are read, so thin it out")


def as_floats(columns: Mapping[str, NDArray[Any]], names: list[str]) -> Floats:
    """Return (N, len(names)) float64 of the named columns."""
    with np.errstate(all="ignore"):  # a damaged file may hold signalling NaNs
        return np.stack([columns[name].astype(np.float64) for name in names], axis=1)


def unit_vectors(vectors: Floats) -> Floats | None:
    """Return (N, 3) with length 1; None when a vector has no length or is not finite.

    Those whose length is 1 to single precision already stay bit for bit.
    """
    if not (np.abs(vectors) <= LARGEST_COORDINATE).all():
        return None
    if (np.abs(np.einsum("ij,ij->i", vectors, vectors) - 1) < 1e-6).all():
        return vectors
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
    if (largest < 1e-30).any():
        return None
    scaled = vectors / largest  # squares of tiny components would vanish
    return np.asarray(scaled / np.linalg.norm(scaled, axis=1, keepdims=True))


def _plain(name: str) -> str:
    name = name.strip().casefold().replace(" ", "_")
    return name if name == _UNNAMED_SCALAR else name.removeprefix("scalar_")


def _check_finite(points: Floats, names: list[str], where: Callable[[int], str]) -> None:
    good = np.abs(points) <= LARGEST_COORDINATE
    if good.all():
        return
    rows = np.flatnonzero(~good.all(axis=1))
    axis = int(np.flatnonzero(~good[rows[0]])[0])
    raise InputError(
        f"{where(int(rows[0]))}: {names[axis]} is {points[rows[0], axis]:g}; {len(rows):,} of "
        f"{len(points):,} points are no finite numbers of at most "
        f"{LARGEST_COORDINATE:g}. Remove them from the file; `iv import` and `iv predict` leave "
        f"out such points with {DROP_NO_RETURN}."
    )


def _labels(
    columns: Mapping[str, NDArray[Any]],
    where: Callable[[int], str],
    notes: list[str],
    choices: ReadingChoices,
) -> tuple[tuple[str, ...], NDArray[np.uint8] | None]:
    """Return the label column's name (or none) and its values; add to `notes`."""
    found = [name for name in columns if _plain(name) in LABEL_NAMES]
    if len(found) > 1:
        raise InputError(f"the columns {' and '.join(found)} may all be labels; keep one of them")
    if found:
        return (found[0],), checked_labels(columns[found[0]], found[0], where, choices)
    scalar = [name for name in columns if _plain(name) in (_UNNAMED_SCALAR, "scalar_scalar_field")]
    if len(scalar) == 1:
        values = columns[scalar[0]]
        if choices.anomalous is not None:
            return (scalar[0],), checked_labels(values, scalar[0], where, choices)
        if ((values == 0) | (values == 1)).all():
            notes.append(f"{scalar[0]} holds 0 and 1 alone and is taken as the label")
            return (scalar[0],), values.astype(np.uint8)
        notes.append(f"{scalar[0]} not used: it holds more than 0 and 1, so it is no label")
    return (), None
