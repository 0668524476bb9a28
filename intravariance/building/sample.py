# SPDX-License-Identifier: Apache-2.0
"""One job to one sample: a pure function of the job, the base mesh, the settings and the seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL, WRONG_PART
from blender_scripts.portable import normal
from intravariance.building.blender import Defective, ImpossibleDefect
from intravariance.building.plan import SampleJob
from intravariance.building.remembering import MakesDefects
from intravariance.building.scan import Scanned, draw_scanner, glance, scan_surface, shows_defect
from intravariance.dataset.difficulty import difficulty_of, signal_to_noise
from intravariance.dataset.scan import ALL_SIDES, Scan
from intravariance.dataset.store import Sample
from intravariance.geometry.mesh import Mesh
from intravariance.geometry.sampling import (
    PoseKind,
    add_tolerance,
    apply_pose,
    points_for_area,
    random_pose,
    rotate,
)
from intravariance.geometry.scanning import Scanner
from intravariance.seeds import entropy, generator

# Defects drawn for one set of viewpoints, and in all, until the scan shows one.
_DRAWS_A_VIEW = 12
_DRAWS = 5 * _DRAWS_A_VIEW


@dataclass(frozen=True)
class SampleSettings:
    """Hold what all samples of a build have in common.

    pose : of test samples; training samples stay in the canonical frame. noise_sigma : standard
    deviation of the Gaussian noise on each stored coordinate, in unit-sphere radii. tolerance,
    points, scan : see `Specification`. unit : of the base mesh's file, "" where nobody says.
    """

    seed: int
    pose: PoseKind
    noise_sigma: float
    tolerance: float
    points: tuple[int, int]
    scan: Scan = ALL_SIDES
    unit: str = ""


@dataclass(frozen=True)
class Donors:
    """The other products of the category, which may give a part.

    names : of their subcategories. load : reads the mesh (unit-sphere frame) of one of them.
    """

    names: tuple[str, ...] = ()
    load: Callable[[str], Mesh] | None = None


def make_sample(
    job: SampleJob,
    base: Mesh,
    origin: str,
    settings: SampleSettings,
    blender: MakesDefects | None,
    unit_radius: float = np.nan,
    donors: Donors = Donors(),
) -> Sample:
    """Make one sample.

    base : the pristine mesh of the job's subcategory in its unit-sphere frame; origin : where it
    came from; blender : makes defects, None will do for a normal sample; unit_radius : radius of
    the unit sphere in units of that file, NaN where nobody knows; donors : needed for a wrong part.
    Every random number is drawn from a generator derived from the seed, the job's id and a
    purpose. Points, noise and pose are drawn in the same way for normal and defective samples.
    Raises ImpossibleDefect or BlenderCrash (see `BlenderWorker.defect`).
    """
    pristine = base
    if job.split == "test" and settings.tolerance > 0:
        rng = generator(settings.seed, job.id, "tolerance")
        pristine = add_tolerance(base, settings.tolerance, rng)
    make = _DefectMaker(job, pristine, settings, blender, unit_radius, donors)
    defective, scanner, scanned = _scanned(job, base, make, settings)
    pose = random_pose(
        settings.pose if job.split == "test" else "canonical",
        generator(settings.seed, job.id, "pose"),
    )
    rng = generator(settings.seed, job.id, "noise")
    noise = settings.noise_sigma * normal(rng, scanned.points.shape)
    return Sample(
        id=job.id,
        category=job.category,
        subcategory=job.subcategory,
        split=job.split,
        defect=job.defect,
        points=_float32(apply_pose(scanned.points, pose) + noise * scanned.noise_factor),
        normals=_float32(rotate(scanned.normals, pose)),
        labels=scanned.labels,
        displacement=_float32(rotate(scanned.displacement, pose)),
        pose=pose,
        parameters=_parameters(job, origin, settings, defective, unit_radius)
        | ({"viewpoints": scanner.views.tolist()} if len(scanner.views) else {}),
        mesh=base if job.split == "train" else None,
    )


def _scanned(
    job: SampleJob,
    base: Mesh,
    make: _DefectMaker,
    settings: SampleSettings,
) -> tuple[Defective, Scanner, Scanned]:
    """Make the product defective and scan it.

    The viewpoints of defective samples are drawn as those of normal ones. Where they do not show
    the defect it is the defect that is drawn again, so that viewpoints tell nothing of it. Only
    where they show none of many are they drawn again too.
    """
    seed, scan = settings.seed, settings.scan
    if job.split == "train":
        scan = replace(scan, views=0, incidence_noise=0.0)
    rejections: list[str] = []
    for attempt in range(_DRAWS):
        if attempt % _DRAWS_A_VIEW == 0:
            scanner = draw_scanner(base, scan, seed, job.id, attempt // _DRAWS_A_VIEW)
            rng = generator(seed, job.id, "glance")
            whole = glance(_without_defect(base), scanner, rng)
        defective = make.defective(attempt)
        seen = glance(defective, scanner, generator(seed, job.id, "glance"))
        # rounded, so that no last bit decides on a point more
        ratio = round(seen.area / whole.area, 9)
        count = points_for_area(job.n_points, ratio, settings.points)
        scanned = scan_surface(defective, count, scan, scanner, seed, job.id)
        rejections += defective.rejections
        if job.defect == NORMAL or shows_defect(seen, scanned, scan):
            return replace(defective, rejections=rejections), scanner, scanned
        rejections.append(
            "no point lies on it"
            if scan == ALL_SIDES
            else f"the viewpoints see {seen.shown:.0%} of it"
        )
    raise ImpossibleDefect(
        f"{job.defect}: none of {_DRAWS} draws can be seen well enough in the scan; ask for more "
        "points or viewpoints"
    )


@dataclass(frozen=True)
class _DefectMaker:
    """Makes the product of a job defective, as often as the scan asks for another draw."""

    job: SampleJob
    pristine: Mesh
    settings: SampleSettings
    blender: MakesDefects | None
    unit_radius: float
    donors: Donors

    def defective(self, attempt: int) -> Defective:
        """Draw the defect for the given time, the first being 0."""
        again = (f"again {attempt}",) if attempt else ()
        if self.job.defect == NORMAL:
            return _without_defect(self.pristine)
        if self.job.defect != WRONG_PART:
            return self._made(None, *again)
        rng = generator(self.settings.seed, self.job.id, "donor", *again)
        reasons = []
        for name in [str(name) for name in rng.permutation(self.donors.names)]:
            assert self.donors.load is not None
            try:
                made = self._made(self.donors.load(name), *again)
            except ImpossibleDefect as error:
                reasons.append(f"from {name}: {error}")
                continue
            return replace(made, parameters=made.parameters | {"donor": name})
        raise ImpossibleDefect(
            f"no product of {self.job.category} has a part that fits {self.job.subcategory}: "
            + "; ".join(reasons)
        )

    def _made(self, donor: Mesh | None, *again: str) -> Defective:
        assert self.blender is not None
        job, size = self.job, None
        if job.size is not None:
            size = job.size.in_radii(self.unit_radius, self.settings.unit)
        drawn = entropy(self.settings.seed, job.id, "defect", *again)
        try:
            return self.blender.defect(job.defect, self.pristine, drawn, job.severity, size, donor)
        except ImpossibleDefect as error:
            if size is None:
                raise
            raise ImpossibleDefect(
                f"a {job.defect} of {job.size} ({size:.3g} radii) on {job.subcategory}: {error}. "
                "Give a narrower severity, or leave this type out for this product"
            ) from error


def _without_defect(mesh: Mesh) -> Defective:
    return Defective(
        mesh=mesh,
        displacement=np.zeros_like(mesh.vertices),
        cut=np.zeros(len(mesh.faces), dtype=bool),
        rim=np.zeros((0, 3), dtype=np.float32),
        parameters={},
        rejections=[],
    )


def _parameters(
    job: SampleJob,
    origin: str,
    settings: SampleSettings,
    defective: Defective,
    unit_radius: float,
) -> dict[str, Any]:
    parameters: dict[str, Any] = {"base_mesh": origin, "seed": settings.seed}
    if np.isfinite(unit_radius):
        parameters["unit_radius"] = float(unit_radius)
    if defective.severity is None:
        return parameters
    snr = signal_to_noise(defective.parameters["departure"], settings.noise_sigma)
    return parameters | {
        **({} if job.size is None else {"size": str(job.size)}),
        "severity": defective.severity,
        "difficulty": difficulty_of(defective.severity),
        **({} if snr is None else {"snr": snr}),
        "defect": defective.parameters,
        "rejections": defective.rejections,
    }


def _float32(array: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, dtype=np.float32)
