# SPDX-License-Identifier: Apache-2.0
"""A dataset file of spheres with bulges and bites, made in a moment and without Blender."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intravariance.mesh import mesh_from_arrays
from intravariance.pointcloud import apply_pose, random_pose, rotate
from intravariance.specification import Category, Specification
from intravariance.store import Sample, assemble, write_shard

OCTAHEDRON = mesh_from_arrays(
    np.concatenate([np.eye(3), -np.eye(3)]),
    np.array(
        [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)]
    ),
)
BALL = Category("ball", ("football", "marble"), templates=2, positives=3, defects={"bulge": 3})
BEAD = Category("bead", ("pearl",), templates=1, positives=1, defects={"bulge": 1, "missing": 2})
SPHERES = Specification("spheres", "Spheres", (400, 600), (BALL, BEAD))


def sphere_points(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(count, 3) points drawn uniformly on the unit sphere, which are their own normals."""
    points = rng.normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def write_spheres(
    path: Path,
    specification: Specification = SPHERES,
    sigma: float = 0.002,
    origin: str = "procedural:{category}/{subcategory} sha256:0",
    points: tuple[int, int] = (400, 600),
) -> Path:
    """Write the dataset file; each defect sits at +y, so that only the back shows it.

    origin : of the base meshes. points : range of the number of points.
    """
    shards = []
    for category in specification.categories:
        number = 0
        for (split, defect), count in category.counts().items():
            for _ in range(count):
                rng = np.random.default_rng([len(shards), len(category.name)])
                subcategory = category.subcategories[number % len(category.subcategories)]
                name = f"{category.name}_{split}_{number:03d}"
                parameters = {
                    "base_mesh": origin.format(category=category.name, subcategory=subcategory)
                }
                words = (name, category.name, subcategory, split, defect)
                shards.append(path.with_name(f"{name}.shard"))
                write_shard(shards[-1], _sample(words, points, sigma, rng, parameters))
                number += 1
    identity = {
        "specification": specification.to_dict(),
        "source": "procedural",
        "seed": 7,
        "pose": "so3",
        "noise_sigma": sigma,
    }
    assemble(path, shards, {"identity": identity, "software": {"iv": "0.0.test"}})
    return path


def _sample(
    words: tuple[str, ...],
    points_range: tuple[int, int],
    sigma: float,
    rng: np.random.Generator,
    parameters: dict[str, str],
) -> Sample:
    _, _, _, split, defect = words
    points = sphere_points(int(rng.integers(*points_range, endpoint=True)), rng)
    width = rng.uniform(0.5, 0.9)
    height = 0.2 * np.clip(1 - np.linalg.norm(points - (0, 1, 0), axis=1) / width, 0, 1)
    displacement = np.zeros_like(points)
    if defect == "bulge":
        displacement = points * height[:, None]
    elif defect == "missing":
        displacement[height > 0] = np.nan
    labels = (height > 0) & (defect != "normal")
    displacement[~labels] = 0
    pose = np.eye(4) if split == "train" else random_pose("so3", rng)
    moved = apply_pose(points + np.nan_to_num(displacement), pose)
    arrays = {
        "points": moved + sigma * rng.normal(size=points.shape),
        "normals": rotate(points, pose),
        "displacement": rotate(displacement, pose),
    }
    return Sample(
        *words,
        labels=labels.astype(np.uint8),
        pose=pose,
        parameters=parameters,
        mesh=OCTAHEDRON if split == "train" else None,
        **{name: array.astype(np.float32) for name, array in arrays.items()},
    )
