# SPDX-License-Identifier: Apache-2.0
"""The checks of every single sample. Each check returns the problem, or "" when all is well.

`SAMPLE_CHECKS` lists them, and `IMPORTED_CHECKS` those for somebody else's clouds; `verify` runs
them over a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import DISPLACEMENT_THRESHOLD, NORMAL, UNKNOWN_LABEL
from blender_scripts.portable import norm
from intravariance.dataset.schema import ARRAYS, Sample
from intravariance.dataset.specification import Specification
from intravariance.geometry.scanning import LEAST_COSINE, noise_factor

# float32 coordinates near 1 are exact to 6e-8; products of a rotation to a little more.
_ROUNDING = 1e-5
# The noise of one of some million points stays below six standard deviations.
_NOISE_REACH = 6.0
# A defect may bend a part outwards, but no product doubles its size.
_LARGEST_RADIUS = {"normal": 1.0, "defective": 2.0}
_SMALLEST_RADIUS = 0.5
_LARGEST_OFFSET = 100.0
_LARGEST_ANOMALOUS_SHARE = 0.95
# Labelled points in an order as unusual as this come by chance once in 10^9 samples.
_ORDER_LIMIT = 6.1


@dataclass(frozen=True)
class Expected:
    """Hold what the file says that its samples should be."""

    specification: Specification
    noise_sigma: float
    noise_sigmas: Mapping[str, float] = field(default_factory=dict)

    def noise_of(self, product: str) -> float:
        """Return the noise of a "category/subcategory"; `noise_sigma` where all have the same."""
        return self.noise_sigmas.get(product, self.noise_sigma)

    @property
    def noise_growth(self) -> float:
        """By how much noise may be larger where a surface is seen at the largest angle."""
        return float(noise_factor(LEAST_COSINE, self.specification.scan.incidence_noise))


def on_surface(sample: Sample, expected: Expected) -> Sample:
    """Return the sample without its stray points, where the specification asks for some."""
    if not expected.specification.scan.outliers:
        return sample
    kept = sample.normals.any(axis=1)
    return replace(sample, **{name: getattr(sample, name)[kept] for name in ARRAYS})


def unposed(vectors: NDArray[np.float32], pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn (N, 3) points of the stored frame back into the unit-sphere frame."""
    return np.asarray((vectors.astype(np.float64) - pose[:3, 3]) @ pose[:3, :3])


def finite(sample: Sample, expected: Expected) -> str:
    """Check for NaN and infinity; on anomalous points all three of displacement may be NaN."""
    for name in ("points", "normals", "pose"):
        bad = int(np.sum(~np.isfinite(getattr(sample, name))))
        if bad:
            return f"{bad} NaN or infinite values in {name}"
    missing = np.isnan(sample.displacement)
    if np.isinf(sample.displacement).any():
        return "infinite displacement"
    if (missing != missing[:, :1]).any():
        return "displacement with only one or two NaN"
    if missing[sample.labels == 0].any():
        return "NaN displacement on points that are not labelled"
    return ""


def ranges(sample: Sample, expected: Expected) -> str:
    """Check that labels are 0 or 1, normals of length 1, and the numbers of points allowed.

    Stray points have no normal.
    """
    low, high = expected.specification.points
    if not low <= len(sample.labels) <= high:
        return f"{len(sample.labels)} points, expected {low} to {high}"
    if sample.labels.max() > 1 and not (sample.labels == UNKNOWN_LABEL).all():
        return f"label {sample.labels.max()}, expected 0 or 1, or {UNKNOWN_LABEL} on all points"
    surface = on_surface(sample, expected)
    strays = len(sample.labels) - len(surface.labels)
    wanted = round(expected.specification.scan.outliers * len(sample.labels))
    if strays != wanted:
        return f"{strays} points without a normal, which are stray, expected {wanted}"
    worst = float(np.abs(norm(surface.normals) - 1).max())
    return "" if worst < 1e-3 else f"a normal of length {1 + worst:.3f} or {1 - worst:.3f}"


def pose(sample: Sample, expected: Expected) -> str:
    """Check that the pose is a rigid motion."""
    rotation = sample.pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-6 or np.linalg.det(rotation) < 0:
        return "pose is not a proper rotation and a translation"
    if sample.pose[3].tolist() != [0, 0, 0, 1]:
        return "the last row of pose is not 0 0 0 1"
    offset = float(np.abs(sample.pose[:3, 3]).max())
    return "" if offset <= _LARGEST_OFFSET else f"pose moves the product by {offset:.3g}"


def size(sample: Sample, expected: Expected) -> str:
    """Check that the product, with its pose undone, is of about unit radius."""
    points = on_surface(sample, expected).points
    radius = float(norm(unposed(points, sample.pose)).max())
    largest = _LARGEST_RADIUS[NORMAL if sample.defect == NORMAL else "defective"]
    largest += expected.specification.tolerance + _ROUNDING
    largest += _NOISE_REACH * expected.noise_sigma * expected.noise_growth
    if not _SMALLEST_RADIUS <= radius <= largest:
        return f"radius {radius:.3f}, expected {_SMALLEST_RADIUS} to {largest:.3f}"
    return ""


def split(sample: Sample, expected: Expected) -> str:
    """Check that training samples are normal templates with a mesh, and test samples have none."""
    if sample.split == "train" and sample.defect != NORMAL:
        return f"a training sample with the defect {sample.defect}"
    if (sample.split == "train") != (sample.mesh is not None):
        return f"a {sample.split} sample {'without' if sample.mesh is None else 'with'} a mesh"
    return ""


def split_of_import(sample: Sample, expected: Expected) -> str:
    """Check that training samples are normal, and that only templates have a mesh."""
    if sample.split == "train" and sample.defect != NORMAL:
        return f"a training sample with the defect {sample.defect}"
    return "a test sample with a mesh" if sample.split == "test" and sample.mesh else ""


def labels(sample: Sample, expected: Expected) -> str:
    """Check that labels agree with the kind of sample and with the displacement."""
    if not sample.labelled:
        return "points without labels in a sample that was built"
    labelled = sample.labels == 1
    size = norm(sample.displacement.astype(np.float64))  # NaN where cut open
    share = float(labelled.mean())
    if sample.defect == NORMAL:
        return "" if not labelled.any() and not size.any() else "labels or displacement on a normal"
    kind = expected.specification.defect_type(sample.defect)
    if kind is None:
        return f"unknown defect {sample.defect!r}"
    if not 0 < share <= _LARGEST_ANOMALOUS_SHARE:
        return f"{share:.1%} of the points labelled, expected some, not nearly all"
    unlabelled_moved = int(np.sum(size[~labelled] > DISPLACEMENT_THRESHOLD + _ROUNDING))
    if unlabelled_moved:
        return f"{unlabelled_moved} points moved by the defect are not labelled"
    if kind.kind == "deformation":
        unmoved = int(np.sum(~(size[labelled] > DISPLACEMENT_THRESHOLD - _ROUNDING)))
        if unmoved:
            return f"{unmoved} labelled points were not moved by the {sample.defect}"
    return ""


def labels_of_import(sample: Sample, expected: Expected) -> str:
    """Check that a normal sample has no labels, and only labelled points have displacement."""
    labelled = sample.labels == 1
    if not sample.labelled:
        if sample.defect == NORMAL:
            return "a normal sample without labels"
        known = int(np.isfinite(sample.displacement).any(axis=1).sum())
        return f"{known} points with a displacement and without a label" if known else ""
    if sample.defect == NORMAL and labelled.any():
        return "labels on a normal sample"
    if sample.displacement[~labelled].any():
        return "displacement on points that are not labelled"
    return ""


def point_order(sample: Sample, expected: Expected) -> str:
    """Check that a point's place in the arrays says nothing of its label (rank-sum test)."""
    count, total = int(sample.labels.sum()), len(sample.labels)
    if not 0 < count < total:
        return ""
    ranks = np.flatnonzero(sample.labels).sum()
    mean, variance = count * (total - 1) / 2, count * (total - count) * (total + 1) / 12
    score = float((ranks - mean) / np.sqrt(variance))
    if abs(score) <= _ORDER_LIMIT:
        return ""
    return f"labelled points are not in random order (z = {score:.1f})"


def viewpoints(sample: Sample) -> NDArray[np.float64]:
    """Return the (K, 3) viewpoints that a sample was scanned from, unit-sphere frame.

    None where it was not scanned so, or where what is recorded is no such list.
    """
    try:
        found = np.asarray(sample.parameters.get("viewpoints", []), dtype=np.float64)
        return found.reshape(-1, 3)
    except (TypeError, ValueError):
        return np.zeros((0, 3))


def scan(sample: Sample, expected: Expected) -> str:
    """Check that a test sample has as many viewpoints as the specification asks for."""
    found = len(viewpoints(sample))
    wanted = expected.specification.scan.views if sample.split == "test" else 0
    return "" if found == wanted else f"{found} viewpoints recorded, expected {wanted}"


SampleCheck = Callable[[Sample, Expected], str]
SAMPLE_CHECKS: dict[str, SampleCheck] = {
    "finite values": finite,
    "ranges": ranges,
    "pose": pose,
    "size": size,
    "scan": scan,
    "split": split,
    "labels": labels,
    "point order": point_order,
}
# The size of foreign clouds, the order of their points and how much is labelled are their own.
IMPORTED_CHECKS: dict[str, SampleCheck] = {
    "finite values": finite,
    "ranges": ranges,
    "pose": pose,
    "split": split_of_import,
    "labels": labels_of_import,
}
# Without these the geometry of a sample cannot be looked at.
ESSENTIAL = ("finite values", "pose")
