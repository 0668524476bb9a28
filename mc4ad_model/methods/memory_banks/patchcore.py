# SPDX-License-Identifier: Apache-2.0
"""PatchCore on points: coresets of FPFH, of raw coordinates, of Point-MAE's features.

Paper. Roth et al., Towards Total Recall in Industrial Anomaly Detection, CVPR 2022; for point
clouds in the benchmark Real3D-AD (Liu et al., NeurIPS 2023), whose rows "PatchCore (FPFH)",
"PatchCore (FPFH+Raw)" and "PatchCore (PointMAE)" this is.

Followed. FPFH with the benchmark's radii; a greedy coreset of 10,000 entries, which starts from the
mean distance from ten random ones; a point's score is the squared distance from the nearest entry,
the object's is the largest, not weighed. FPFH+Raw is the mean of two branches with a bank each,
each branch's scores brought to 0 to 1 by their smallest and largest value. `frame = "first"`
registers every cloud to the first template by FPFH and RANSAC, as the source does; here RANSAC has
a fixed seed, and normals are oriented.

Different. Lengths are in radii of the product (0.056 and 0.141 for the source's 1.0 and 2.5 of 17.7
units). Where a category has several products the first template is wrong for most of its clouds, so
`frame` is "own" by default, or "registered", to the best template, which no paper does. The
source's random map to 128 dimensions is left out: it would add dimensions to 33 and to 3, and takes
some from Point-MAE's. That has 16,384 centres in the source, each point the score of the nearest;
here `centres`, and of the three nearest, by inverse squared distance. The source never puts that
network into evaluation mode, see `point_mae.network`. Smallest and largest value are those of the
test set in the source (`normalisation = "test_set"`); by default they are those of the templates'
own points, each compared with all entries but itself.

Licence of the source. PatchCore's is Apache-2.0; Real3D-AD has no licence file. Nothing of either
is used: this is written from the method and its parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as validated

from intravariance.errors import InputError
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods.memory_banks.bank_method import Arrays
from mc4ad_model.methods.memory_banks.coreset import greedy_coreset, mean_distance
from mc4ad_model.methods.memory_banks.fpfh import DIMENSIONS, Features, Neighbourhood, fpfh
from mc4ad_model.methods.memory_banks.frames import Floats, Frame
from mc4ad_model.methods.memory_banks.nearest import nearest
from mc4ad_model.methods.memory_banks.point_features import (
    CENTRES,
    GROUP_SIZE,
    PointMAEBank,
    encoder_label,
)
from mc4ad_model.methods.memory_banks.spreading import spread
from mc4ad_model.methods.method import Prediction
from mc4ad_model.methods.settings import STRICT, Count, Positive, Settings

_BRANCHES = {"fpfh": ("fpfh",), "fpfh_raw": ("fpfh", "raw"), "point_mae": ("point_mae",)}
_WIDTHS = {"fpfh": DIMENSIONS, "raw": 3}
RANGE = "/range"


@validated(frozen=True, config=STRICT)
class PatchCoreSettings(Settings):
    """Settings of PatchCore: the features, how scores are combined, and the bank.

    Parameters
    ----------
    features
        "fpfh"; "fpfh_raw": the mean of FPFH and coordinates; or "point_mae".
    frame
        "own" (the default), "first" (as published) or "registered".
    normalisation
        What the scores of the two branches are divided by: their range in the "training" clouds,
        or, as published, in the "test_set", which is then looked at as a whole before it is scored.
    bank_size
        Entries of a bank.
    starts
        Random entries from which the coreset's first distances are.
    normal_radius, normal_neighbours, feature_radius, feature_neighbours
        Neighbourhoods of normals and of FPFH, lengths in radii of the product.
    encoder
        For "point_mae": folder of `iv pretrain`.
    centres, group_size
        For "point_mae": groups of a cloud, and points of one.
    """

    features: Literal["fpfh", "fpfh_raw", "point_mae"] = "fpfh"
    frame: Frame = "own"
    normalisation: Literal["training", "test_set"] = "training"
    bank_size: Count = 10_000
    starts: Count = 10
    normal_radius: Positive = 0.056
    normal_neighbours: Count = 30
    feature_radius: Positive = 0.141
    feature_neighbours: Count = 100
    encoder: str = ""
    centres: Count = CENTRES
    group_size: Count = GROUP_SIZE

    @property
    def label(self) -> str:
        """The features, the frame unless it is the default, and whether the test set is seen."""
        point_mae = self.features == "point_mae"
        words = ["patchcore", encoder_label(self.encoder) if point_mae else self.features]
        words += [] if self.frame == "own" else [self.frame]
        return "-".join(words + (["test_set"] if self.transductive else []))

    @property
    def transductive(self) -> bool:
        """Whether scores depend on the test set as a whole."""
        return self.normalisation == "test_set" and self.features == "fpfh_raw"


@dataclass(frozen=True)
class Described:
    """Features of a cloud by one branch. features : (M, C); centres : (M, 3) places that they
    describe, None for the cloud's points."""

    features: Features
    centres: Floats | None = None


class PatchCore(PointMAEBank):
    """Score points by the squared distance of their features from a coreset of the templates'."""

    title: ClassVar[str] = "PatchCore"
    Settings: ClassVar[type[Settings]] = PatchCoreSettings
    settings: PatchCoreSettings

    def __init__(self, settings: Any, machine: Machine | None = None) -> None:
        super().__init__(settings, machine)
        # of each branch, over the test set: (2,) of points, (2,) of objects
        self._seen: dict[str, tuple[Floats, Floats]] | None = None

    @property
    def branches(self) -> tuple[str, ...]:
        """The features whose scores are averaged."""
        return _BRANCHES[self.settings.features]

    @property
    def encodes(self) -> bool:
        """Whether these settings need an encoder."""
        return "point_mae" in self.branches

    @property
    def fewest(self) -> int:
        """As many as the neighbourhood of a feature may have, or a group."""
        settings = self.settings
        return settings.group_size if self.encodes else settings.feature_neighbours

    @property
    def widths(self) -> Mapping[str, int]:
        """A bank for each branch, and the range of its scores."""
        own = {**_WIDTHS, **({"point_mae": self.channels} if self.encodes else {})}
        return {b + r: 2 if r else own[b] for b in self.branches for r in ("", RANGE)}

    def learn(self, clouds: list[Floats], rng: np.random.Generator) -> Arrays:
        """Choose a coreset for each branch, and measure the templates' points against it."""
        described = [self.described(cloud) for cloud in clouds]
        bank: Arrays = {}
        for branch in self.branches:
            features = np.concatenate([each[branch].features for each in described])
            count = min(self.settings.starts, len(features))
            starts = rng.choice(len(features), count, replace=False)
            covered = mean_distance(features, starts)
            chosen = greedy_coreset(features, self.settings.bank_size, covered)
            place = np.full(len(features), -1, dtype=np.intp)
            place[chosen] = np.arange(len(chosen))
            distances, _ = nearest(features, features[chosen], skipped=place)
            bank[branch] = features[chosen]
            bank[branch + RANGE] = np.array([_range(distances**2)], dtype=np.float32)
        return bank

    def look_at(self, clouds: Iterable[NDArray[np.float32]]) -> None:
        """Take the ranges of the branches' scores from a test set, if the settings say so."""
        if not self.settings.transductive:
            return
        points: dict[str, list[Floats]] = {branch: [] for branch in self.branches}
        objects: dict[str, list[float]] = {branch: [] for branch in self.branches}
        for cloud in clouds:
            for branch, scores in self._scores(self.placed(cloud)[0]).items():
                points[branch].append(_range(scores))
                objects[branch].append(float(scores.max()))
        self._seen = {
            b: (_range(np.array(points[b])), _range(np.array(objects[b]))) for b in self.branches
        }

    def compare(self, cloud: Floats) -> Prediction:
        """Average the branches' scores of points, and their largest ones for the object."""
        scores = self._scores(cloud)
        if len(scores) == 1:
            (alone,) = scores.values()
            return Prediction(alone.astype(np.float32), float(alone.max()))
        if self.settings.transductive and self._seen is None:
            raise InputError(
                'normalisation = "test_set": scores depend on the whole test set, which only '
                '`iv evaluate` shows; set normalisation = "training" to score single clouds'
            )
        on_points, of_object = [], []
        for branch, own in scores.items():
            trained = self.bank[branch + RANGE][0].astype(np.float64)
            points, objects = self._seen[branch] if self._seen else (trained, trained)
            on_points.append(_normalised(own, points))
            of_object.append(_normalised(own.max(), objects))
        return Prediction(np.mean(on_points, axis=0).astype(np.float32), float(np.mean(of_object)))

    def _scores(self, cloud: Floats) -> dict[str, Floats]:
        """Return the squared distances (N,) of a cloud's points for each branch."""
        scores = {}
        for branch, described in self.described(cloud).items():
            own = nearest(described.features, self.bank[branch])[0] ** 2
            centres = described.centres
            scores[branch] = own if centres is None else spread(own, centres, cloud)
        return scores

    def described(self, cloud: Floats) -> dict[str, Described]:
        """Return the features of a cloud (N, 3) for each branch."""
        found = {}
        for branch in self.branches:
            if branch == "point_mae":
                centres, features = self.encoded(cloud)
                found[branch] = Described(features, centres)
            elif branch == "raw":
                found[branch] = Described(cloud.astype(np.float32))
            else:
                found[branch] = Described(self.histograms(cloud))
        return found

    def histograms(self, cloud: Floats) -> Features:
        """Return (N, 33) FPFH of a cloud (N, 3), by the radii of the settings."""
        settings = self.settings
        normals = Neighbourhood(settings.normal_neighbours, settings.normal_radius)
        around = Neighbourhood(settings.feature_neighbours, settings.feature_radius)
        return fpfh(cloud, normals, [around])[0]


def _range(values: NDArray[np.floating]) -> Floats:  # type: ignore[type-arg]
    """Return (2,) the smallest and the largest finite value; 0 and 1 where there is none."""
    finite = values[np.isfinite(values)]
    return np.array([finite.min(), finite.max()] if len(finite) else [0.0, 1.0])


def _normalised(values: Floats, limits: Floats) -> Floats:
    low, high = limits
    return np.asarray((values - low) / max(high - low, 1e-12))
