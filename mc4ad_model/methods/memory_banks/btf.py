# SPDX-License-Identifier: Apache-2.0
"""BTF: handcrafted features of points against a memory bank (FPFH, or raw coordinates).

Paper. Horwitz and Hoshen, Back to the Feature: Classical 3D Features are (Almost) All You Need for
3D Anomaly Detection, CVPR workshops 2023.

Followed. The version for point clouds of the benchmark Real3D-AD (Liu et al., NeurIPS 2023), whose
figures are those of the tables that print "BTF (Raw)" and "BTF (FPFH)": clouds are centred and not
registered; the bank has points of all templates and no coreset; a point's score is its Euclidean
distance from the nearest entry; the object's is the largest, weighed by how far the neighbours of
that entry are.

Different. Lengths are in radii of the product: radius 1.0 for normals and 2.5 for FPFH of clouds
that span 17.7 units are 0.056 and 0.141 here. Every point of a template is in the bank and every
point of a cloud is looked up, where the source takes each 100th and each 500th of scans of up to
millions of points; `bank_step` and `query_step` set that. The object's weight depends on the unit
of raw coordinates, so there they are in the source's. The frame can be the registered one.

Compared. On the radios of a file, with the source's steps, points and objects have the scores of
the official script to seven digits (Raw), or as nearly as FPFH's histograms bear a rounding of the
coordinates (docs/rivals.md).

Licence of the source. 3D-ADS, the paper's own, is under the MIT licence; Real3D-AD has no licence
file. Nothing of either is used: this is written from the method and its parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as validated
from scipy.spatial import cKDTree

from mc4ad_model.methods.memory_banks.bank_method import Arrays, BankMethod
from mc4ad_model.methods.memory_banks.fpfh import DIMENSIONS, Features, Neighbourhood, fpfh
from mc4ad_model.methods.memory_banks.frames import Floats, UnregisteredFrame
from mc4ad_model.methods.memory_banks.nearest import nearest
from mc4ad_model.methods.method import Prediction
from mc4ad_model.methods.settings import STRICT, Count, Positive, Settings

_NEIGHBOURS = 3  # of the bank's entry, itself among them
_UNITS = 17.7  # of Real3D-AD's clouds in a radius of the product


@validated(frozen=True, config=STRICT)
class BTFSettings(Settings):
    """Settings of BTF: which features of which points are compared.

    Parameters
    ----------
    features
        "fpfh", the method that the paper proposes, or "raw", coordinates.
    frame
        "own", as published, or "registered".
    bank_step, query_step
        The first of each so many points of a template, or of a cloud, is taken; other points of a
        cloud, and those that are left over at its end, have the score of the nearest that was.
    normal_radius, normal_neighbours, feature_radius, feature_neighbours
        Neighbourhoods of normals and of FPFH, lengths in radii of the product.
    """

    features: Literal["fpfh", "raw"] = "fpfh"
    frame: UnregisteredFrame = "own"
    bank_step: Count = 1
    query_step: Count = 1
    normal_radius: Positive = 0.056
    normal_neighbours: Count = 30
    feature_radius: Positive = 0.141
    feature_neighbours: Count = 100

    @property
    def label(self) -> str:
        """The features, and the frame unless it is the published one."""
        return f"btf-{self.features}" + ("" if self.frame == "own" else f"-{self.frame}")


class BTF(BankMethod):
    """Score points by the distance of their features from those of the templates' points."""

    title: ClassVar[str] = "BTF"
    Settings: ClassVar[type[Settings]] = BTFSettings
    settings: BTFSettings

    @property
    def seeded(self) -> bool:
        """Whether the seed matters: it draws the points that clouds are registered to."""
        return self.frame == "registered"

    @property
    def fewest(self) -> int:
        """As many as the neighbourhood of a feature may have; one for coordinates."""
        return 1 if self.settings.features == "raw" else self.settings.feature_neighbours

    @property
    def widths(self) -> Mapping[str, int]:
        """The features of the bank."""
        return {"features": 3 if self.settings.features == "raw" else DIMENSIONS}

    def learn(self, clouds: list[Floats], rng: np.random.Generator) -> Arrays:
        """Describe the templates' points."""
        step = self.settings.bank_step
        described = [_thinned(self._described(cloud), step) for cloud in clouds]
        return {"features": np.concatenate(described)}

    def compare(self, cloud: Floats) -> Prediction:
        """Score each point by its nearest entry, and the object by the largest score."""
        step, bank = self.settings.query_step, self.bank["features"]
        queries = _thinned(self._described(cloud), step)
        scores, found = nearest(queries, bank)
        worst = int(scores.argmax())
        units = _UNITS if self.settings.features == "raw" else 1.0
        weighed = weighed_score(
            float(scores[worst]), queries[worst], bank, int(found[worst]), units
        )
        if step > 1:
            scores = scores[cKDTree(_thinned(cloud, step)).query(cloud)[1]]
        return Prediction(scores.astype(np.float32), weighed)

    def _described(self, cloud: Floats) -> Features:
        settings = self.settings
        if settings.features == "raw":
            return cloud.astype(np.float32)
        normals = Neighbourhood(settings.normal_neighbours, settings.normal_radius)
        around = Neighbourhood(settings.feature_neighbours, settings.feature_radius)
        return fpfh(cloud, normals, [around])[0]


def _thinned(rows: NDArray[Any], step: int) -> NDArray[Any]:
    """Return the first of each `step` rows; what is left over at the end has none, as published."""
    return rows[::step][: max(len(rows) // step, 1)]


def weighed_score(
    score: float,
    query: Features,
    bank: Features,
    entry: int,
    units: float = 1.0,
    constant: float = 0.0,
) -> float:
    """Weigh an object's largest point score, as PatchCore does (Roth et al. 2022, Eq. 7).

    A score counts less where the entry that was found has neighbours which are about as near to the
    query. BTF's version: of the three entries nearest to that one, the first, which is itself, is
    left out of the sum.

    Parameters
    ----------
    score
        Distance of the query from its nearest entry.
    query : (C,)
    bank : (M, C)
    entry
        Index of that nearest entry.
    units
        What a distance is multiplied by in exponents.
    constant
        Added to the sum of exponentials (M3DM's is 1e-5).
    """
    others = bank.astype(np.float64)
    gaps = ((others - others[entry]) ** 2).sum(axis=1)
    gaps[entry] = -1.0  # it comes first, whatever lies on it
    neighbours = np.argsort(gaps, kind="stable")[1:_NEIGHBOURS]
    if not len(neighbours):
        return score
    distances = np.sqrt(((others[neighbours] - query) ** 2).sum(axis=1))
    # e^score over a sum of e^distance, each exponent divided by sqrt(C); by e^largest throughout
    scale = units / np.sqrt(len(query))
    largest = float(distances.max()) * scale
    total = np.exp(distances * scale - largest).sum() + constant * np.exp(-largest)
    return float(score * (1 - np.exp(score * scale - largest) / total))
