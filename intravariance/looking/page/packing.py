# SPDX-License-Identifier: Apache-2.0
"""Data of a cloud in a page: some of its points, quantised, and how they are to be drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.colours import score_ends
from intravariance.looking.splats import surface_spacing
from intravariance.seeds import generator

# A cloud thinned for display keeps at least so many of its labelled and of its normal points.
_KEPT = 200
_LEVELS = 65535  # of 16 bits
_SIGNED_LEVELS = 32767
_EXPOSED = 65535  # as a displacement; the largest one is 65534
_NAMES = ("name", "category", "subcategory", "defect", "source")
# Diameter of a point on display as a multiple of the spacing on the surface: discs that just close
# it where there is no noise, and that stay apart where noise leaves no surface to be closed.
_CLOSED, _APART = 2.2, 1.5
_LARGEST = 0.1  # diameter, in radii of what the camera frames: points of sparse clouds stay points


def display_choice(cloud: LabelledCloud, display_points: int, seed: int) -> NDArray[np.intp]:
    """Choose the points that are shown: all, or about `display_points`; ascending numbers."""
    total = len(cloud.points)
    if total <= display_points:
        return np.arange(total)
    rng = generator(seed, cloud.name, "display")
    anomalous = np.flatnonzero(cloud.labels > 0)
    normal = np.flatnonzero(cloud.labels == 0)
    wanted = max(round(display_points * len(anomalous) / total), _KEPT)
    wanted = min(wanted, len(anomalous), max(display_points // 2, 1))
    rest = min(display_points - wanted, len(normal))
    wanted = min(display_points - rest, len(anomalous))
    parts = (
        rng.choice(anomalous, wanted, replace=False),
        rng.choice(normal, rest, replace=False),
    )
    return np.sort(np.concatenate(parts))


def pack_cloud(cloud: LabelledCloud, chosen: NDArray[np.intp]) -> tuple[dict[str, Any], bytes]:
    """Pack the chosen points of a cloud for the page: what it is, and its data quantised.

    The bytes are these arrays one after the other, M points; of those of 16 bits all low bytes come
    first, then all high ones, which compresses better: positions (3, M) uint16, all x first,
    `origin + step * value` along each axis; where displacements are known, their length (M,)
    uint16, times `displacement_step`, 65535 on exposed surface; where there are scores, (M,)
    uint16, `score_low + score_step * value`; where there are forces, (3, M) int16, times
    `force_step`; normals (3, M) int8, times 1/127; labels (M,) uint8. Errors are at most half a
    step: of positions and scores 1/131070 of their span in this cloud, of displacements 1/131068 of
    the largest, of forces 1/65534 of the largest coordinate, of normals 1/254 a coordinate.
    """
    points = cloud.points[chosen].astype(np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    step = (high - low) / _LEVELS
    parts = [_planes(_quantise(points - low, step).T)]
    displacement_step = score_low = score_step = score_range = force_step = None
    largest = strongest = None
    if cloud.displacement is not None:
        moved, exposed = cloud.moved, cloud.exposed
        largest = float(moved[~exposed].max(initial=0.0))
        displacement_step = largest / (_EXPOSED - 1)
        levels = _quantise(np.where(exposed, 0.0, moved)[chosen], displacement_step)
        parts.append(_planes(np.where(exposed[chosen], _EXPOSED, levels)))
    if cloud.scores is not None:
        scores = cloud.scores[chosen].astype(np.float64)
        score_low = float(scores.min())
        score_step = (float(scores.max()) - score_low) / _LEVELS
        score_range = score_ends(cloud.scores)
        parts.append(_planes(_quantise(scores - score_low, score_step)))
    if cloud.force is not None:
        force = cloud.force[chosen].astype(np.float64)
        strongest = float(np.linalg.norm(force, axis=1).max())
        force_step = float(np.abs(force).max()) / _SIGNED_LEVELS
        parts.append(_planes(_quantise(force, force_step).T))
    parts.append(np.rint(127 * cloud.normals[chosen].T.astype(np.float64)).astype(np.int8))
    parts.append((cloud.labels[chosen] > 0).astype(np.uint8))
    centre, radius = _ball(cloud)
    entry = {
        **{key: getattr(cloud, key) for key in _NAMES},
        "points": cloud.whole or len(cloud.points),
        "shown": len(chosen),
        "anomalous": int(np.count_nonzero(cloud.labels)),
        "labelled": cloud.labelled,
        "exposed": int(np.count_nonzero(cloud.exposed)),
        "largest": largest,
        "origin": low.tolist(),
        "step": step.tolist(),
        "displacement_step": displacement_step,
        "score_low": score_low,
        "score_step": score_step,
        "score_range": score_range,
        "force_step": force_step,
        "strongest": strongest,
        "diameter": point_diameter(points, cloud.normals[chosen], cloud.noise, radius),
        "centre": centre.tolist(),
        "radius": radius,
        "reach": float(np.linalg.norm(points - centre, axis=1).max()) / radius,
    }
    return entry, b"".join(np.ascontiguousarray(part).tobytes() for part in parts)


def _planes(levels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the low bytes, then the high ones, of whole numbers of 16 bits (two's complement)."""
    words = np.ascontiguousarray(levels).astype("<i4").view(np.uint8).reshape(-1, 4)
    return np.ascontiguousarray(words[:, :2].T)


def _quantise(values: NDArray[np.float64], step: NDArray[np.float64] | float) -> NDArray[Any]:
    """Round values to whole numbers of steps; 0 where the step is 0."""
    step = np.asarray(step)
    return np.asarray(np.rint(values / np.where(step > 0, step, 1.0)))


def point_diameter(
    points: NDArray[np.float64], normals: NDArray[np.float32], noise: float, radius: float
) -> float:
    """Return how large the points (M, 3) are drawn, in their unit.

    It follows from their mean spacing and from the noise (standard deviation on each coordinate).
    radius : of the ball that the camera frames.
    """
    spacing = surface_spacing(points, normals, noise)
    if not spacing < np.inf:
        return _LARGEST * radius
    open_share = noise / (noise + spacing)
    return min((_CLOSED + (_APART - _CLOSED) * open_share) * spacing, _LARGEST * radius)


def _ball(cloud: LabelledCloud) -> tuple[NDArray[np.float64], float]:
    """Return centre and radius of the ball that the cameras frame.

    It is the unit ball, so that a defective product lies over its template; scans come in any
    place and size and get the ball around their box.
    """
    if cloud.source != "scan":
        return np.zeros(3), 1.0
    points = cloud.points.astype(np.float64)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = float(np.linalg.norm(points - centre, axis=1).max())
    return centre, radius if radius > 0 else 1.0
