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
from intravariance.dataset.store import Sample
from intravariance.geometry.mesh import Mesh, triangle_areas
from intravariance.geometry.sampling import (
    PoseKind,
    add_tolerance,
    apply_pose,
    interpolate,
    label_points,
    points_for_area,
    random_pose,
    rotate,
    sample_surface,
)
from intravariance.seeds import entropy, generator


@dataclass(frozen=True)
class SampleSettings:
    """Hold what all samples of a build have in common.

    pose : of test samples; training samples stay in the canonical frame. noise_sigma : standard
    deviation of the Gaussian noise on each stored coordinate, in unit-sphere radii. tolerance,
    points : see `Specification`.
    """

    seed: int
    pose: PoseKind
    noise_sigma: float
    tolerance: float
    points: tuple[int, int]


def make_sample(
    job: SampleJob, base: Mesh, origin: str, settings: SampleSettings, blender: BlenderWorker
) -> Sample:
    """Make one sample.

    base : the pristine mesh of the job's subcategory in its unit-sphere frame; origin : where it
    came from. Every random number is drawn from a generator derived from the seed, the job's id
    and a purpose. Points, noise and pose are drawn in the same way for normal and defective
    samples. Raises ImpossibleDefect or BlenderCrash (see `BlenderWorker.defect`).
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
    # rounded, so that no last bit decides on a point more
    ratio = round(float(triangle_areas(defective.mesh).sum() / triangle_areas(base).sum()), 9)
    count = points_for_area(job.n_points, ratio, settings.points)
    where = sample_surface(defective.mesh, count, rng)
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
        parameters=_parameters(job, origin, settings, defective),
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
    job: SampleJob, origin: str, settings: SampleSettings, defective: Defective
) -> dict[str, Any]:
    parameters: dict[str, Any] = {"base_mesh": origin, "seed": settings.seed}
    if job.defect != NORMAL:
        parameters |= {
            "severity": job.severity,
            "defect": defective.parameters,
            "rejections": defective.rejections,
        }
    return parameters


def _float32(array: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, dtype=np.float32)
