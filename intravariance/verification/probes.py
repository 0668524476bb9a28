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
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL
from intravariance.auroc import auroc
from intravariance.dataset.sample_checks import unposed, viewpoints
from intravariance.dataset.schema import Sample
from intravariance.geometry.template_surface import Fit
from intravariance.verification.density import Coverage, TemplateDensity

FAMILY_ERROR = 0.02
LARGEST_DEVIATION = 0.05
_PERMUTATIONS = 9_999
_BOOTSTRAPS = 1_999
_INTERVAL = 0.99
# Points of a cloud that are looked up; a mean over these is as good as one over all.
_LOOKED_UP = 2_000

# Which samples are called positive, by category and the numbers of positives and negatives.
Deals = dict[tuple[str, int, int], NDArray[np.int32]]


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
    tree = cKDTree(points)
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
        "stored radius": float(np.linalg.norm(sample.points, axis=1).max()),
        "frame shift": fitted.shift if fitted else np.nan,
        "scale": fitted.scale if fitted else np.nan,
        "noise": fitted.residual if fitted else np.nan,
        "spacing": spacing,
        "density": coverage.far,
        "viewpoint": float(views[0, 2]) if len(views) else np.nan,
        "area": abs(float(np.log(len(points) / coverage.median))),
        "raw distance": float(to_training[normal_some].mean()) if normal_some.any() else np.nan,
        "spacing, relative": float(neighbours.mean() * np.sqrt(len(points))),
        "radius": float(np.linalg.norm(points, axis=1).max()),
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
    tables = {name: table for name in PROBES if (table := _by_category(measured, name))}
    blind = max(sum(must_be_blind[name] for name in tables), 1)
    deals: Deals = {}  # the same ones for every probe
    probes = []
    for name, table in tables.items():
        kind = PROBES[name]
        pairs = np.array([len(pos) * len(neg) for pos, neg in table.values()], dtype=np.float64)
        weights = pairs / pairs.sum()
        each = [
            auroc(np.arange(len(pos) + len(neg)) < len(pos), np.concatenate([pos, neg]))
            for pos, neg in table.values()
        ]
        value = float(weights @ each)
        low, high = _interval(table, weights, rng)
        p_value = _p_value(value, table, weights, deals, rng)
        seen = abs(value - 0.5) > LARGEST_DEVIATION and p_value < FAMILY_ERROR / blind
        passed = not (must_be_blind[name] and seen)
        excluded = must_be_blind[name] and not low <= 0.5 <= high
        probes.append(
            Probe(
                name=name,
                description=kind.description,
                blind=must_be_blind[name],
                auroc=value,
                low=low,
                high=high,
                p_value=p_value,
                passed=passed,
                reason=_reason(value, p_value, blind) if passed and excluded else "",
                categories=dict(zip(table, each, strict=True)),
            )
        )
    return probes


def _interval(
    table: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    weights: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return the ends of the interval of an AUROC, from a bootstrap within categories and kinds."""
    drawn = sum(w * _bootstrap(*pair, rng) for w, pair in zip(weights, table.values(), strict=True))
    low, high = np.quantile(drawn, [(1 - _INTERVAL) / 2, (1 + _INTERVAL) / 2])
    return float(low), float(high)


def _reason(value: float, p_value: float, blind: int) -> str:
    """Say why a probe is called blind although its interval leaves out 0.5."""
    if abs(value - 0.5) <= LARGEST_DEVIATION:
        return f"0.5 is outside, but not by more than {LARGEST_DEVIATION} from the AUROC"
    chance = 1 - _INTERVAL**blind
    return (
        f"0.5 is outside, as for one of {blind} probes in {chance:.0%} of honest files; "
        f"shuffled labels are as far with p = {p_value:.4f}, not below {FAMILY_ERROR / blind:.4f}"
    )


def _p_value(
    value: float,
    table: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    weights: NDArray[np.float64],
    deals: Deals,
    rng: np.random.Generator,
) -> float:
    """Test an AUROC by permutation, two-sided: labels are shuffled within categories."""
    shuffled = np.zeros(_PERMUTATIONS)
    for weight, (category, pair) in zip(weights, table.items(), strict=True):
        key = category, len(pair[0]), len(pair[1])
        if key not in deals:
            deals[key] = _deals(key[1], key[2], rng)
        shuffled += weight * _shuffled(*pair, deals[key])
    # 1e-12: equal statistics must count as equal after rounding
    as_far = int(np.sum(np.abs(shuffled - 0.5) >= abs(value - 0.5) - 1e-12))
    return (1 + as_far) / (1 + _PERMUTATIONS)


def _wins(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compare all pairs (P, Q): 1 where the positive is above, 0.5 where they are equal, else 0."""
    difference = positive[:, None] - negative[None, :]
    return np.asarray((np.sign(difference) + 1) / 2)


def _by_category(
    measured: Sequence[Measured], name: str
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Collect the numbers of defective and of normal samples of each category that has both."""
    table: dict[str, tuple[list[float], list[float]]] = {}
    for item in measured:
        value = item.values[name]
        if np.isfinite(value):
            table.setdefault(item.category, ([], []))[0 if item.defective else 1].append(value)
    return {c: (np.array(p), np.array(n)) for c, (p, n) in table.items() if p and n}


def _bootstrap(
    positive: NDArray[np.float64], negative: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Compute (R,) AUROC of samples redrawn with replacement, defective and normal apart."""
    wins = _wins(positive, negative)
    shares = [rng.multinomial(n, np.full(n, 1 / n), size=_BOOTSTRAPS) / n for n in wins.shape]
    return np.asarray(((shares[0] @ wins) * shares[1]).sum(axis=1))


def _deals(positives: int, negatives: int, rng: np.random.Generator) -> NDArray[np.int32]:
    """Draw (R, P) which samples are called positive when the labels are dealt out anew."""
    # a random subset: the places of the smallest of as many random numbers
    order = rng.random((_PERMUTATIONS, positives + negatives)).argpartition(positives - 1, axis=1)
    return order[:, :positives].astype(np.int32)


def _shuffled(
    positive: NDArray[np.float64], negative: NDArray[np.float64], deals: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Compute (R,) AUROC with the labels dealt out anew, from rank sums."""
    from scipy.stats import rankdata  # noqa: PLC0415 - weight

    ranks = rankdata(np.concatenate([positive, negative]))
    smallest = len(positive) * (len(positive) + 1) / 2
    return np.asarray((ranks[deals].sum(axis=1) - smallest) / (len(positive) * len(negative)))
