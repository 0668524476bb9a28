# SPDX-License-Identifier: Apache-2.0
"""Samples of a product with a random pseudo-anomaly, or with none, and what is to be learnt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as validated
from scipy.spatial import cKDTree

from annotations.vocabulary import DISPLACEMENT_THRESHOLD, RIM_WIDTH
from mc4ad_model.checked_types import STRICT, Positive, Weight
from mc4ad_model.pseudo_anomalies.added import added_displacement, added_extension
from mc4ad_model.pseudo_anomalies.cuts import Cut, bite, cut
from mc4ad_model.pseudo_anomalies.deformations import swelling, turn
from mc4ad_model.pseudo_anomalies.grooves import groove
from mc4ad_model.pseudo_anomalies.names import KINDS
from mc4ad_model.pseudo_anomalies.product import Product, Vectors

Sizes = tuple[Positive, Positive]


@validated(frozen=True, config=STRICT)
class MixtureConfig:
    """Which pseudo-anomalies are made, and how large. Lengths are in unit-sphere radii.

    Parameters
    ----------
    normal, swelling, turn, bite, cut, groove
        How often each kind is made, and a sample without a defect, in proportion.
    swelling_radius, swelling_height
        Ranges, as all that follow, from which sizes are drawn log-uniformly: from a swelling's
        centre to where nothing moves; how far the centre moves.
    swelling_outward
        How often a swelling is one, and no dent: from 0 to 1.
    turn_distance
        How far the points of a turned part move that move farthest.
    bite_radius
        Radius of the ball that is bitten off.
    cut_depth
        Depth of an end that is cut off, as a share of the product's extent; below 1.
    groove_length, groove_width, groove_depth
        Sizes of a groove, the last two where it is largest.
    added
        Pseudo-anomalies that installed packages add.
    added_weight
        How often each of those is made, in proportion to the others.
    """

    normal: Weight = 0.26
    swelling: Weight = 0.20
    turn: Weight = 0.17
    bite: Weight = 0.16
    cut: Weight = 0.07
    groove: Weight = 0.14
    swelling_radius: Sizes = (0.12, 0.4)
    swelling_height: Sizes = (0.015, 0.15)
    swelling_outward: Weight = 0.6
    turn_distance: Sizes = (0.015, 0.15)
    bite_radius: Sizes = (0.055, 0.26)
    cut_depth: Sizes = (0.04, 0.28)
    groove_length: Sizes = (0.3, 1.8)
    groove_width: Sizes = (0.025, 0.15)
    groove_depth: Sizes = (0.04, 0.28)
    added: tuple[str, ...] = ()
    added_weight: Weight = 0.2

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, tuple) and name != "added" and value[0] > value[1]:
                raise ValueError(
                    f"{name} = [{value[0]}, {value[1]}]: expected the smaller number first"
                )
        if self.cut_depth[1] >= 1:
            raise ValueError(f"cut_depth = {list(self.cut_depth)}: expected numbers below 1")
        if self.swelling_outward > 1:
            raise ValueError(
                f"swelling_outward = {self.swelling_outward}: expected a number from 0 to 1"
            )
        for name in self.added:
            added_extension(name)
        if len(set(self.added)) < len(self.added):
            raise ValueError(f"added = {list(self.added)}: expected different names")
        if not any(self.weights):
            raise ValueError(f"{', '.join(KINDS)} are all 0: expected at least one above 0")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of defects that are made: KINDS, and those that installed packages add."""
        return (*KINDS, *self.added)

    @property
    def weights(self) -> tuple[float, ...]:
        """How often each of `kinds` is made, in proportion."""
        return (*(getattr(self, kind) for kind in KINDS), *len(self.added) * [self.added_weight])


@dataclass(frozen=True, eq=False)
class PseudoSample:
    """Points of a product with a pseudo-anomaly, without noise.

    Parameters
    ----------
    points
        (N, 3) float64. N is not the number asked for: material that went took its points along, and
        new surface has its own, with the density of the rest.
    displacement
        (N, 3) float64: where a point is, minus where it was on the pristine surface; for a point
        on new surface, minus the nearest surface point.
    normals
        (N, 3) float64, outward unit normals: of the pristine surface where a point was before it
        moved; of the new surface for a point on it.
    labels
        (N,) bool: moved by more than DISPLACEMENT_THRESHOLD, on new surface, or within RIM_WIDTH of
        a point that went.
    removed
        (R, 3) float64, the sampled surface points that went.
    kind
        One of `MixtureConfig.kinds`. A defect that the product has no room for changes nothing,
        and then no point is labelled.
    """

    points: Vectors
    displacement: Vectors
    normals: Vectors
    labels: NDArray[np.bool_]
    removed: Vectors
    kind: str


def make_sample(
    product: Product,
    count: int,
    config: MixtureConfig,
    rng: np.random.Generator,
    kind: str | None = None,
) -> PseudoSample:
    """Sample a product with a pseudo-anomaly.

    count : of points on the pristine surface, which is the density. kind : drawn when None.
    """
    if kind is None:
        weights = np.array(config.weights)
        kind = config.kinds[rng.choice(len(weights), p=weights / weights.sum())]
    points, normals = product.sample(count, rng)
    match kind:
        case "normal":
            return _moved(points, normals, np.zeros_like(points), kind)
        case "swelling":
            displacement = swelling(
                points, normals, rng, config.swelling_radius, config.swelling_height,
                config.swelling_outward,
            )  # fmt: skip
            return _moved(points, normals, displacement, kind)
        case "turn":
            return _moved(points, normals, turn(points, rng, config.turn_distance), kind)
        case "bite":
            change = bite(product, points, rng, config.bite_radius)
        case "cut":
            change = cut(product, points, rng, config.cut_depth)
        case "groove":
            change = groove(
                product, points, rng, config.groove_length, config.groove_width,
                config.groove_depth,
            )  # fmt: skip
        case _:
            displacement = added_displacement(kind, points, normals, rng)
            return _moved(points, normals, displacement, kind)
    return _cut(product, points, normals, change, kind)


def _moved(points: Vectors, normals: Vectors, displacement: Vectors, kind: str) -> PseudoSample:
    squared = np.einsum("ij,ij->i", displacement, displacement)
    labels = squared > DISPLACEMENT_THRESHOLD**2
    removed = np.zeros((0, 3))
    return PseudoSample(points + displacement, displacement, normals, labels, removed, kind)


def _cut(
    product: Product, points: Vectors, normals: Vectors, change: Cut, kind: str
) -> PseudoSample:
    kept, removed, exposed = points[~change.gone], points[change.gone], change.exposed
    _, below = product.tree.query(exposed)
    return PseudoSample(
        points=np.concatenate([kept, exposed]),
        displacement=np.concatenate([np.zeros_like(kept), exposed - product.points[below]]),
        normals=np.concatenate([normals[~change.gone], change.normals]),
        labels=np.concatenate([_rim(kept, removed), np.ones(len(exposed), dtype=bool)]),
        removed=removed,
        kind=kind,
    )


def _rim(kept: Vectors, removed: Vectors) -> NDArray[np.bool_]:
    """Say which of the points kept (K, 3) lie within RIM_WIDTH of one that went (R, 3)."""
    rim = np.zeros(len(kept), dtype=bool)
    if len(removed) == 0:
        return rim
    low, high = removed.min(axis=0) - RIM_WIDTH, removed.max(axis=0) + RIM_WIDTH
    close = np.flatnonzero(((kept >= low) & (kept <= high)).all(axis=1))
    distance, _ = cKDTree(removed).query(kept[close], distance_upper_bound=RIM_WIDTH)
    rim[close] = np.isfinite(distance)
    return rim
