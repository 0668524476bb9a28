# SPDX-License-Identifier: Apache-2.0
"""The templates of a category, with how clouds without a defect deviate from each.

Shared by the methods that compare a registered cloud with simulated normal ones: the pose of a
cloud, the places (anchors) on each template, and mean and spread of the statistics there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import InputError
from intravariance.seeds import generator
from mc4ad_model.deviation.neighbourhoods import Neighbourhoods
from mc4ad_model.deviation.normal_clouds import registered_normal_clouds
from mc4ad_model.deviation.one_cloud import calibration_of_one_cloud
from mc4ad_model.deviation.statistics import (
    ANCHORS,
    Anchors,
    Calibration,
    calibration_of,
    cylinder_statistics,
    nearest_anchors,
    standardised,
)
from mc4ad_model.methods.templates import (
    TRACKS,
    Template,
    Templates,
    Track,
    check_scale,
    registration_noise,
    registration_points,
    simulated_cloud,
    surface_points,
)
from mc4ad_model.pseudo_anomalies.product import Product
from mc4ad_model.registration.fits import NormalFits, simulate_fits
from mc4ad_model.registration.placing import Placing
from mc4ad_model.registration.poses import Pose, Registration, saved_noise
from mc4ad_model.surfaces.estimated import check_cloud

Floats = NDArray[np.float64]

SIMULATED_CLOUDS = 24
_REMEDY = "Bring the data to this scale; `iv import` does, unless told --normalise none."
_FITS = "fits"
_PARTS = ("points", "normals", "mean", "spread", "wide_mean", "wide_spread")


@dataclass(frozen=True, eq=False)
class TemplateDeviation:
    """How normal clouds deviate from one template.

    narrow : of `cylinder_statistics`, (A, 6). wide : of the z-scores' means over each anchor's
    neighbourhood, (A, 6).
    """

    narrow: Calibration
    wide: Calibration
    neighbourhoods: Neighbourhoods

    @property
    def anchors(self) -> Anchors:
        """The places on the template."""
        return self.narrow.anchors

    def narrow_scores(self, cloud: Floats) -> Floats:
        """Compare a cloud (N, 3) in the template's frame: z-scores (A, 6)."""
        return standardised(self.narrow, cylinder_statistics(self.anchors, cloud))

    def wide_scores(self, narrow: Floats) -> Floats:
        """Compare the neighbourhoods' means of narrow z-scores (A, 6): z-scores (A, 6)."""
        return standardised(self.wide, self.neighbourhoods.mean(narrow))


@dataclass(frozen=True, eq=False)
class Description:
    """A cloud on the template that it was registered to: what methods judge it by.

    pose : what brought it there. cloud : (N, 3), in the template's frame. deviation : how normal
    clouds deviate from the template. narrow : (A, 6), the cloud's z-scores at the anchors. note :
    that it fits no template, where it does not.
    """

    pose: Pose
    cloud: Floats
    deviation: TemplateDeviation
    narrow: Floats
    note: str | None = None

    @cached_property
    def wide(self) -> Floats:
        """The z-scores of the anchors' neighbourhoods, (A, 6)."""
        return self.deviation.wide_scores(self.narrow)

    @cached_property
    def nearest(self) -> NDArray[np.intp]:
        """The anchors nearest to each point, (N, K)."""
        return nearest_anchors(self.deviation.anchors, self.cloud)


class TemplateDeviations:
    """The templates of a category.

    Parameters
    ----------
    points
        (S, 3) float32 points of each template's surface, by its id, to register clouds to.
    each
        What normal clouds do on each template, in the order of the sorted ids.
    noise_sigma
        Standard deviation of the clouds' noise on each coordinate.
    track
        "meshes": the points are without noise. "clouds": they have it.
    fits
        How likely normal clouds are on their template; None of runs that were saved without it,
        see `Placing`.
    """

    def __init__(
        self,
        points: Mapping[str, NDArray[np.float32]],
        each: Sequence[TemplateDeviation],
        noise_sigma: float,
        track: Track = "meshes",
        fits: NormalFits | None = None,
    ) -> None:
        self.ids = sorted(points)
        self.points, self.noise_sigma, self.track = dict(points), noise_sigma, track
        noise = registration_noise(noise_sigma, track)
        self.registration = Registration([points[name] for name in self.ids], noise)
        self.placing = Placing(self.registration, noise, fits)
        self.each = list(each)

    @classmethod
    def fit(cls, templates: Templates, seed: int) -> TemplateDeviations:
        """Simulate clouds of each template, and measure them.

        Raises
        ------
        InputError
            As `check_templates`.
        """
        check_templates(templates)
        points = registration_points(templates, seed)
        found = cls(points, [], templates.noise_sigma, templates.track)
        found.placing.fits = _normal_fits(found, templates, seed)
        by_id = {template.id: template for template in templates.templates}
        for index, name in enumerate(found.ids):
            rng = generator(seed, "deviation", name)
            found.each.append(_measured(found.registration, index, by_id[name], templates, rng))
        return found

    def register(self, points: NDArray[Any]) -> tuple[Pose, Floats]:
        """Find the pose of a cloud (N, 3), and move it there: (N, 3), the template's frame.

        Raises
        ------
        InputError
            As `Placing.place`.
        """
        placed = self.placing.place(points)
        return placed.pose, placed.points

    def describe(self, points: NDArray[Any]) -> Description:
        """Register a cloud (N, 3) and compare it with normal ones. Errors as of `register`."""
        placed = self.placing.place(points)
        pose, cloud = placed.pose, placed.points
        deviation = self.each[pose.template]
        return Description(pose, cloud, deviation, deviation.narrow_scores(cloud), placed.note)

    def normal_clouds(
        self, index: int, templates: Templates, count: int, rng: np.random.Generator
    ) -> list[Floats]:
        """Simulate clouds of a template without a defect, in its frame, registered."""
        template = next(t for t in templates.templates if t.id == self.ids[index])
        return _simulated(self.registration, index, template, templates, count, rng)

    @property
    def description(self) -> dict[str, Any]:
        """Plain values that `from_arrays` needs."""
        return {"noise_sigma": self.noise_sigma, "track": self.track}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all that `from_arrays` needs besides the description."""
        fits = self.placing.fits
        arrays: dict[str, NDArray[Any]] = {_FITS: np.stack([fits.mean, fits.spread])}
        for name, one in zip(self.ids, self.each, strict=True):
            own = (
                one.anchors.points, one.anchors.normals, one.narrow.mean, one.narrow.spread,
                one.wide.mean, one.wide.spread,
            )  # fmt: skip
            arrays[f"{name}/surface"] = self.points[name]
            arrays |= {f"{name}/{part}": a for part, a in zip(_PARTS, own, strict=True)}
        return arrays

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], description: Mapping[str, Any], where: Path
    ) -> TemplateDeviations:
        """Take up what `arrays` and `description` gave. Runs of version 0.1.0 lack track and fits.

        Raises
        ------
        InputError
            An array is missing or of another shape, or a value is none; the file is named.
        """
        noise_sigma, track = saved_noise(description, where), description.get("track", "meshes")
        if track not in TRACKS:
            raise InputError(f"{where}.json: track = {track!r}, expected {' or '.join(TRACKS)}")
        ids = sorted({name.rpartition("/")[0] for name in arrays if name != _FITS})
        fits = arrays.get(_FITS)
        if fits is not None and fits.shape != (2, len(ids)):
            raise InputError(f"{where}.json: expected the fits of {len(ids)} templates")
        points, each = {}, []
        for name in ids:
            own = [arrays.get(f"{name}/{part}") for part in ("surface", *_PARTS)]
            shapes = [None if a is None or a.ndim != 2 else a.shape[1] for a in own]
            rows = {len(a) for a in own[1:] if a is not None}
            if shapes != [3, 3, 3, 6, 6, 6, 6] or len(rows) != 1:
                raise InputError(
                    f"{where}.json: expected surface and statistics of template {name!r}"
                )
            surface, places, normals, *rest = own
            points[name] = surface
            each.append(_assembled(Anchors.at(places, normals), *rest))  # type: ignore[arg-type]
        if not ids:
            raise InputError(f"{where}.json: expected at least one template")
        usual = None if fits is None else NormalFits(*fits)
        return cls(points, each, noise_sigma, track, usual)  # type: ignore[arg-type]


def check_templates(templates: Templates) -> None:
    """Check that the products have the scale that registration expects, and a surface.

    Raises
    ------
    InputError
        One has not; it is named.
    """
    check_scale(templates, _REMEDY)
    for template in templates.templates:
        if template.mesh is None:
            check_cloud(template.points, f"category {templates.category}: template {template.id}")


def product_of(templates: Templates, name: str, seed: int) -> Product:
    """Make a template's surface ready for pseudo-anomalies."""
    template = next(template for template in templates.templates if template.id == name)
    rng = generator(seed, "product", name)
    if template.mesh is not None:
        return Product.from_mesh(template.mesh, rng)
    surface = templates.surfaces[name]
    return Product.from_cloud(surface.points, surface.normals)


def noise_of(templates: Templates, name: str, points: Floats, rng: np.random.Generator) -> Floats:
    """Draw the noise (N, 3) of a cloud of a template; points : (N, 3) on its pristine surface."""
    if name in templates.surfaces:
        return templates.surfaces[name].noise(points)
    return rng.normal(scale=templates.noise_sigma, size=points.shape)


def _normal_fits(found: TemplateDeviations, templates: Templates, seed: int) -> NormalFits:
    """Simulate how likely normal clouds are on their templates.

    Without meshes, points of the stored clouds would fit these too well: the points that a drawn
    cloud lacks are registered to it.
    """
    rng = generator(seed, "fits", templates.category)
    if templates.track == "meshes":
        return simulate_fits(found.registration, templates.noise_sigma, templates.points, rng)
    drawn, others = [], []
    for stored in found.registration.templates:
        rows = rng.integers(len(stored), size=len(stored))
        drawn.append(stored[rows])
        others.append(np.delete(stored, rows, axis=0))
    return simulate_fits(Registration(drawn, 0.0), 0.0, templates.points, rng, surfaces=others)


def _simulated(
    registration: Registration,
    index: int,
    template: Template,
    templates: Templates,
    count: int,
    rng: np.random.Generator,
) -> list[Floats]:
    return registered_normal_clouds(
        lambda rng: simulated_cloud(templates, template, rng), registration, index, count, rng
    )


def _measured(
    registration: Registration,
    index: int,
    template: Template,
    templates: Templates,
    rng: np.random.Generator,
) -> TemplateDeviation:
    """Place anchors on a template and measure normal clouds there."""
    if template.mesh is None:
        surface = templates.surfaces[template.id]
        points, normals = surface.points, surface.normals  # in random order
    else:
        points, normals = surface_points(template, (ANCHORS, ANCHORS), rng)
    anchors = Anchors.at(points[:ANCHORS], normals[:ANCHORS])
    clouds = _simulated(registration, index, template, templates, SIMULATED_CLOUDS, rng)
    measured = np.stack([cylinder_statistics(anchors, cloud) for cloud in clouds])
    around = Neighbourhoods(anchors)
    if template.mesh is None:
        narrow = calibration_of_one_cloud(anchors, measured)
    else:
        narrow = calibration_of(anchors, measured)
    wide = calibration_of(
        anchors, np.stack([around.mean(standardised(narrow, m)) for m in measured])
    )
    return TemplateDeviation(narrow, wide, around)


def _assembled(
    anchors: Anchors, mean: Floats, spread: Floats, wide_mean: Floats, wide_spread: Floats
) -> TemplateDeviation:
    return TemplateDeviation(
        Calibration(anchors, mean, spread),
        Calibration(anchors, wide_mean, wide_spread),
        Neighbourhoods(anchors),
    )
