# SPDX-License-Identifier: Apache-2.0
"""Clouds of the user's own, made ready to be looked at: scaled, thinned, with normals.

The frame is that of the dataset as far as it can be known: the centroid is 0 and the largest
radius 1. Up is +z of the file; nobody knows better. Thinning is for display alone, at random from
the cloud's name, so the same file gives the same points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL, UNLABELLED
from intravariance.cloud_files import PointCloud
from intravariance.geometry.normals import estimated_normals, outward_normals
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.splats import Floats
from intravariance.seeds import generator


def scan_cloud(
    scan: PointCloud,
    name: str,
    category: str = "",
    display_points: int | None = None,
    scores: NDArray[np.float32] | None = None,
    force: NDArray[np.float32] | None = None,
) -> tuple[LabelledCloud, list[str]]:
    """Make a cloud of a file ready to be looked at; say in words what was changed for that.

    display_points : larger clouds are thinned to so many. scores : (N,) of a detector, in the
    file's order. force : (N, 3) of a detector, in the unit of the points. The defect is
    "anomalous", "normal", or "unlabelled" without labels. Finite points are expected (`read_cloud`
    gives no others).
    """
    points, radius = to_unit_ball(scan.points)
    notes = [f"scaled for display: 1 is {radius:.6g} in the file; up is +z of the file"]
    keep = np.arange(len(points))
    if display_points is not None and len(points) > display_points:
        rng = generator(0, name, "display")
        keep = np.sort(rng.choice(len(points), display_points, replace=False))
        notes.append(f"{display_points:,} of {len(points):,} points shown, drawn at random")
    points = points[keep]
    if scan.normals is None:
        normals = estimated_normals(points)
        notes.append("normals estimated from neighbours, for shading")
    else:
        normals, turned = outward_normals(points, scan.normals[keep])
        notes += ["normals of the file turned outwards, for shading"] if turned else []
    labels = np.zeros(len(keep), dtype=np.uint8) if scan.labels is None else scan.labels[keep]
    # the whole cloud decides, not what is left of it
    found = "anomalous" if scan.labels is not None and scan.labels.any() else NORMAL
    cloud = LabelledCloud(
        name=name,
        category=category,
        subcategory="",
        defect=UNLABELLED if scan.labels is None else found,
        source="scan",
        points=points.astype(np.float32),
        normals=normals.astype(np.float32),
        labels=labels,
        scores=None if scores is None else scores[keep],
        force=None if force is None else (force[keep] / radius).astype(np.float32),
        labelled=scan.labels is not None,
        whole=len(scan.points) if len(keep) < len(scan.points) else None,
    )
    return cloud, notes


def to_unit_ball(points: Floats) -> tuple[Floats, float]:
    """Move and scale points (N, 3) float64: centroid at 0, largest radius 1.

    Returns them and the largest radius before; 1 where all points coincide.
    """
    centred = points - points.mean(axis=0)
    largest = float(np.abs(centred).max())
    if not largest > 0:
        return centred, 1.0
    centred = centred / largest  # squares of large or tiny numbers leave the range
    radius = float(np.linalg.norm(centred, axis=1).max())
    return centred / radius, largest * radius
