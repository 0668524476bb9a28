# SPDX-License-Identifier: Apache-2.0
"""Shortcut probes, which ask whether anything but the defect tells normal from defective.

Each probe is one number a test sample. Its AUROC (defective = positive) is taken within each
category and averaged with the number of pairs as weight: 0.5 when the number tells nothing.

Rule. A probe that must be blind fails when its AUROC lies outside [0.45, 0.55] *and* a two-sided
permutation test (labels shuffled within categories, 9,999 times) rejects blindness at 0.02 divided
by the number of blind probes. So an honest file fails with a probability below 2 % in all, however
few samples it has, and a large file does not fail for an effect too small to be of use. The 99 %
interval shown beside the AUROC comes from a bootstrap within categories and kinds.

A defect changes the product, so some numbers differ honestly: a missing part takes away radius and
area, bending moves the centre. The probes that must be blind therefore look at points labelled
normal, relative to the template's surface, or at the cloud as stored, in its random pose. The
naive forms with the pose undone, which no detector gets to see, are reported for information.

So is the area, as any detector that knows the template and the pose can tell it: from the number of
points over their density where no defect is. No rule for the number takes that away, it only must
not show in the number or in the density alone (`geometry.sampling.points_for_area`). All surface is
sampled, also the flanks inside a crack, so that the area alone finds Group 2's cracks at 0.96:
`area` is therefore an information row, never judged, that leaderboards carry as a baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotations.vocabulary import NORMAL
from blender_scripts.portable import norm
from intravariance.dataset.sample_checks import unposed, viewpoints
from intravariance.dataset.schema import Sample
from intravariance.geometry.template_surface import Fit
from intravariance.verification.chance import BOOTSTRAPS, PERMUTATIONS, Chance, chance
from intravariance.verification.density import Coverage, TemplateDensity

FAMILY_ERROR = 0.02
LARGEST_DEVIATION = 0.05
_INTERVAL = 0.99
# Points of a cloud that are looked up; a mean over these is as good as one over all.
_LOOKED_UP = 2_000


@dataclass(frozen=True)
class ProbeKind:
    """blind : must tell nothing. description : what is measured and, when not blind, why it may
    differ honestly."""

    blind: bool
    description: str


PROBES: dict[str, ProbeKind] = {
    "points": ProbeKind(True, "number of points"),
    "order": ProbeKind(True, "place in the file"),
    "pose angle": ProbeKind(True, "angle of the pose's rotation"),
    "pose offset": ProbeKind(True, "length of the pose's translation"),
    "stored centroid": ProbeKind(True, "distance of the centroid from 0, as stored"),
    "stored radius": ProbeKind(True, "largest distance of a point from 0, as stored"),
    "frame shift": ProbeKind(True, "offset of the normal points from the template"),
    "scale": ProbeKind(True, "scale of the normal points against the template"),
    "noise": ProbeKind(True, "spread of the normal points about the template"),
    "spacing": ProbeKind(True, "mean nearest-neighbour distance of the normal points"),
    "density": ProbeKind(True, "points per area far from labels, against the template"),
    "raw distance": ProbeKind(True, "mean distance of the normal points to the training clouds"),
    "viewpoint": ProbeKind(True, "height of the first viewpoint of the scan"),
    "area": ProbeKind(False, "template known: |log(points / density)|; defects change the area"),
    "spacing, relative": ProbeKind(False, "spacing x sqrt(points); defects change the area"),
    "radius": ProbeKind(False, "largest radius, pose undone; defects take away or add extremities"),
    "centroid": ProbeKind(False, "offset of the centroid, pose undone; defects move it"),
    "raw distance, all": ProbeKind(False, "mean over all points; sees the defect itself"),
    "raw distance, max": ProbeKind(False, "largest over all points; sees the defect itself"),
}
# With `--pose canonical` the cloud as stored is the cloud with its pose undone: these see what
# "radius" and "centroid" see.
STORED = ("stored centroid", "stored radius")
# A scan from viewpoints shows defects where it sees squarely, and so densely: what is far from one
# is seen less squarely. This probe knows the labels, and then sees them.
BY_LABELS = ("density",)


@dataclass(frozen=True)
class Measured:
    """A test sample's numbers, one for each probe (NaN where it has none)."""

    category: str
    defective: bool
    values: Mapping[str, float]


@dataclass(frozen=True)
class Probe:
    """auroc with its 99 % interval (low, high), the permutation test's p_value, the AUROC of each
    category; passed : False only for a blind probe that is not blind. reason : why a blind probe
    passed although its interval leaves out 0.5, else ""."""

    name: str
    description: str
    blind: bool
    auroc: float
    low: float
    high: float
    p_value: float
    passed: bool
    reason: str
    categories: dict[str, float]


def measure(
    sample: Sample,
    place: int,
    fitted: Fit | None,
    density: TemplateDensity | None,
    training_tree: Any,
) -> Measured:
    """Measure one test sample.

    place : its place in the file. fitted : its normal points against its template, density : how
    densely points lie on its template, None when that cannot be known. training_tree : k-d tree of
    the unposed training clouds of the category.
    """
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    points = unposed(sample.points, sample.pose)
    normal = sample.labels == 0
    some = np.linspace(0, len(points) - 1, min(len(points), _LOOKED_UP)).astype(int)
    normal_some = normal[some]
    tree = cKDTree(points, balanced_tree=False, compact_nodes=False)  # made in half of the time
    neighbours = tree.query(points[some], k=2)[0][:, 1]
    views = viewpoints(sample)
    coverage = density.coverage(points, sample.labels, tree) if density else Coverage()
    to_training = training_tree.query(points[some])[0]
    spacing = float(neighbours[normal_some].mean()) if normal_some.any() else np.nan
    cosine = np.clip((np.trace(sample.pose[:3, :3]) - 1) / 2, -1, 1)
    values = {
        "points": len(points),
        "order": place,
        "pose angle": float(np.arccos(cosine)),
        "pose offset": float(np.linalg.norm(sample.pose[:3, 3])),
        "stored centroid": float(np.linalg.norm(sample.points.mean(axis=0, dtype=np.float64))),
        "stored radius": float(norm(sample.points).max()),
        "frame shift": fitted.shift if fitted else np.nan,
        "scale": fitted.scale if fitted else np.nan,
        "noise": fitted.residual if fitted else np.nan,
        "spacing": spacing,
        "density": coverage.far,
        "viewpoint": float(views[0, 2]) if len(views) else np.nan,
        "area": abs(float(np.log(len(points) / coverage.median))),
        "raw distance": float(to_training[normal_some].mean()) if normal_some.any() else np.nan,
        "spacing, relative": float(neighbours.mean() * np.sqrt(len(points))),
        "radius": float(norm(points).max()),
        "centroid": float(np.linalg.norm(points.mean(axis=0))),
        "raw distance, all": float(to_training.mean()),
        "raw distance, max": float(to_training.max()),
    }
    return Measured(sample.category, sample.defect != NORMAL, values)


def evaluate(
    measured: Sequence[Measured], rng: np.random.Generator, judged: bool = True
) -> list[Probe]:
    """Compute the AUROC of each probe, and judge whether it is as blind as it must be.

    judged : whether any must be; foreign data is as it is.
    """
    posed = any(item.values["pose angle"] or item.values["pose offset"] for item in measured)
    scanned = any(np.isfinite(item.values["viewpoint"]) for item in measured)
    must_be_blind = {
        name: judged
        and kind.blind
        and (posed or name not in STORED)
        and not (scanned and name in BY_LABELS)
        for name, kind in PROBES.items()
    }
    pooled = _pooled(measured, rng)
    blind = max(sum(must_be_blind[name] for name in pooled), 1)
    return [_judged(name, found, must_be_blind[name], blind) for name, found in pooled.items()]


class _Pooled:
    """One probe over all categories: their AUROCs, and sums weighted by their pairs."""

    def __init__(self) -> None:
        self.categories: dict[str, float] = {}
        self.pairs = 0
        self.found = 0.0
        self.shuffled = np.zeros(PERMUTATIONS)
        self.redrawn = np.zeros(BOOTSTRAPS)

    def add(self, category: str, pairs: int, of_category: Chance, column: int) -> None:
        """Add a category, whose numbers are in a column."""
        self.categories[category] = float(of_category.found[column])
        self.pairs += pairs
        self.found += pairs * float(of_category.found[column])
        self.shuffled += pairs * of_category.shuffled[:, column]
        self.redrawn += pairs * of_category.redrawn[:, column]


def _pooled(measured: Sequence[Measured], rng: np.random.Generator) -> dict[str, _Pooled]:
    """Pool each probe over the categories where samples of both kinds have its number."""
    pooled = {name: _Pooled() for name in PROBES}
    for category in dict.fromkeys(item.category for item in measured):
        items = [item for item in measured if item.category == category]
        values = np.array([[item.values[name] for name in PROBES] for item in items])
        defective = np.array([item.defective for item in items])
        known = np.isfinite(values)
        alike: dict[bytes, list[int]] = {}  # probes that the same samples have
        for column in range(len(PROBES)):
            alike.setdefault(known[:, column].tobytes(), []).append(column)
        for columns in alike.values():
            rows = known[:, columns[0]]
            positives = int(defective[rows].sum())
            if pairs := positives * (int(rows.sum()) - positives):
                found = chance(values[np.ix_(rows, columns)], defective[rows], rng)
                for place, column in enumerate(columns):
                    pooled[list(PROBES)[column]].add(category, pairs, found, place)
    return {name: found for name, found in pooled.items() if found.pairs}


def _judged(name: str, found: _Pooled, must_be_blind: bool, blind: int) -> Probe:
    """Judge a probe, one of so many that must be blind."""
    value = found.found / found.pairs
    shuffled, redrawn = found.shuffled / found.pairs, found.redrawn / found.pairs
    low, high = np.quantile(redrawn, [(1 - _INTERVAL) / 2, (1 + _INTERVAL) / 2])
    # 1e-12: equal statistics must count as equal after rounding
    as_far = int(np.sum(np.abs(shuffled - 0.5) >= abs(value - 0.5) - 1e-12))
    p_value = (1 + as_far) / (1 + PERMUTATIONS)
    seen = abs(value - 0.5) > LARGEST_DEVIATION and p_value < FAMILY_ERROR / blind
    passed = not (must_be_blind and seen)
    excluded = must_be_blind and not low <= 0.5 <= high
    return Probe(
        name=name,
        description=PROBES[name].description,
        blind=must_be_blind,
        auroc=value,
        low=float(low),
        high=float(high),
        p_value=p_value,
        passed=passed,
        reason=_reason(value, p_value, blind) if passed and excluded else "",
        categories=found.categories,
    )


def _reason(value: float, p_value: float, blind: int) -> str:
    """Say why a probe is called blind although its interval leaves out 0.5."""
    if abs(value - 0.5) <= LARGEST_DEVIATION:
        return f"0.5 is outside, but not by more than {LARGEST_DEVIATION} from the AUROC"
    chance_of_one = 1 - _INTERVAL**blind
    return (
        f"0.5 is outside, as for one of {blind} probes in {chance_of_one:.0%} of honest files; "
        f"shuffled labels are as far with p = {p_value:.4f}, not below {FAMILY_ERROR / blind:.4f}"
    )
