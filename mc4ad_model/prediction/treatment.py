# SPDX-License-Identifier: Apache-2.0
"""Treatment of new scans: the same as `iv import` gave to a run's training clouds."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from intravariance.errors import InputError
from intravariance.exchange.importing.thinning import Thinning, kept_points
from mc4ad_model.methods.method import Prediction
from mc4ad_model.prediction.clouds import FEWEST_POINTS, Points
from mc4ad_model.runs.run_folder import Run


def training_length(run: Run) -> float | None:
    """Return what `iv import` divided the training clouds by; None where it kept them, or where
    they were built.

    Raises
    ------
    InputError
        Subcategories have lengths of their own.
    """
    lengths = _lengths(run)
    if len(lengths) > 1:
        raise InputError(
            f"{run.folder}: its training clouds were divided by several lengths "
            f"({', '.join(map(str, sorted(lengths, key=str)))}); choose one with --length"
        )
    return next(iter(lengths), None)


def training_thinning(run: Run, length: float | None) -> Thinning:
    """Return how `iv import` thinned the training clouds, for scans that are divided by a length.

    The edge of a voxel is in the unit of the training scans. Where the length is another than
    theirs, the scans have another unit, and the edge is brought to that. None : they are not
    divided, as their coordinates are those of the stored training clouds.
    """
    asked = _imported(run).get("thinning", {})
    thinning = Thinning(asked.get("voxel"), asked.get("max_points"))
    lengths = _lengths(run)
    if thinning.voxel is None or len(lengths) > 1:
        return thinning
    own = next(iter(lengths), None)
    return replace(thinning, voxel=thinning.voxel * ((length or 1.0) / (own or 1.0)))


def kept_scan_points(points: Points, thinning: Thinning) -> NDArray[np.intp]:
    """Return which points (N, 3) of a scan are kept, increasing: the same ones for the same points.

    Raises
    ------
    InputError
        They are too few, or the voxels too small for the scan.
    """
    if not thinning:
        return np.arange(len(points))
    whole = np.ascontiguousarray(points, dtype=np.float64)
    keep = kept_points(whole, thinning, hashlib.sha256(whole.data).hexdigest())
    if len(keep) < FEWEST_POINTS:
        raise InputError(
            f"thinned as the training clouds were (iv import {thinning}), it keeps {len(keep)} of "
            f"{len(points):,} points; expected {FEWEST_POINTS} or more. Is it in their unit? See "
            "--length"
        )
    return keep


def spread(prediction: Prediction, points: Points, keep: NDArray[np.intp]) -> Prediction:
    """Return the prediction of all points (N, 3), from that of the kept ones (M,).

    Each has the score and the force of the nearest kept one.
    """
    nearest = cKDTree(points[keep]).query(points)[1]
    nearest[keep] = np.arange(len(keep))  # also where several lie in one place
    force = None if prediction.force is None else np.asarray(prediction.force)[nearest]
    return replace(prediction, points=np.asarray(prediction.points)[nearest], force=force)


def _imported(run: Run) -> dict[str, Any]:
    imported = run.identity.get("imported")
    return imported if isinstance(imported, dict) else {}


def _lengths(run: Run) -> set[float | None]:
    """Return what the category's training clouds were divided by."""
    return {
        frame.get("length")
        for group, frame in _imported(run).get("frames", {}).items()
        if group == run.category or group.startswith(f"{run.category}/")
    }
