# SPDX-License-Identifier: Apache-2.0
"""One job to one sample: a pure function of the job, the base mesh, the settings and the seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL
from intravariance.building.blender import BlenderWorker, Defective
from intravariance.building.plan import SampleJob
from intravariance.dataset.difficulty import difficulty_of, signal_to_noise
from intravariance.dataset.store import Sample
from intravariance.geometry.mesh import Mesh
from intravariance.geometry.sampling import (
    PoseKind,
    add_tolerance,
    apply_pose,
    interpolate,
    label_points,
    random_pose,
    rotate,
    sample_surface,
)
from intravariance.seeds import entropy, generator


@dataclass(frozen=True)
class SampleSettings:
    """Hold what all samples of a build have in common.

    pose : of test samples; training samples stay in the canonical frame. noise_sigma : standard
    deviation of the Gaussian noise on each stored coordinate, in unit-sphere radii. tolerance :
    see `Specification`.
    """

    seed: int
    pose: PoseKind
    noise_sigma: float
    tolerance: float


def make_sample(
    job: SampleJob,
    base: Mesh,
    origin: str,
    settings: SampleSettings,
    blender: BlenderWorker,
    unit_radius: float = np.nan,
) -> Sample:
    """Make one sample.

    base : the pristine mesh of the job's subcategory in its unit-sphere frame; origin : where it
    came from; unit_radius : radius of the unit sphere in units of that file, NaN where nobody
    knows. Every random number is drawn from a generator derived from the seed, the job's id and a
    purpose. Points, noise and pose are drawn in the same way for normal and defective samples.
    Raises ImpossibleDefect or BlenderCrash (see `BlenderWorker.defect`).
    """
    pristine = base
    if job.split == "test" and settings.tolerance > 0:
        rng = generator(settings.seed, job.id, "tolerance")
        pristine = add_tolerance(base, settings.tolerance, rng)
    defective = _without_defect(pristine)
    if job.defect != NORMAL:
        assert job.severity is not None
        defective = blender.defect(
            job.defect, pristine, entropy(settings.seed, job.id, "defect"), job.severity
        )
    rng = generator(settings.seed, job.id, "surface")
    where = sample_surface(defective.mesh, job.n_points, rng)
    displacement = interpolate(defective.displacement, defective.mesh, where)
    newly_exposed = defective.cut[where.face]
    labels = label_points(where.points, displacement, newly_exposed, defective.rim)
    displacement[labels == 0] = 0
    displacement[newly_exposed] = np.nan

    pose = random_pose(
        settings.pose if job.split == "test" else "canonical",
        generator(settings.seed, job.id, "pose"),
    )
    noise = generator(settings.seed, job.id, "noise").normal(
        scale=settings.noise_sigma, size=where.points.shape
    )
    return Sample(
        id=job.id,
        category=job.category,
        subcategory=job.subcategory,
        split=job.split,
        defect=job.defect,
        points=_float32(apply_pose(where.points, pose) + noise),
        normals=_float32(rotate(where.normals, pose)),
        labels=labels,
        displacement=_float32(rotate(displacement, pose)),
        pose=pose,
        parameters=_parameters(job, origin, settings, defective, unit_radius),
        mesh=base if job.split == "train" else None,
    )


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
    if job.severity is None:
        return parameters
    snr = signal_to_noise(defective.parameters["departure"], settings.noise_sigma)
    return parameters | {
        "severity": job.severity,
        "difficulty": difficulty_of(job.severity),
        **({} if snr is None else {"snr": snr}),
        "defect": defective.parameters,
        "rejections": defective.rejections,
    }


def _float32(array: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, dtype=np.float32)
