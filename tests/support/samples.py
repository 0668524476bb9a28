# SPDX-License-Identifier: Apache-2.0
"""Small synthetic datasets, made without Blender: deformed boxes and balls with honest labels.

They follow the plan, the sampling and the poses of the real build; only the defects are simpler.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from numpy.typing import NDArray

from annotations.vocabulary import DISPLACEMENT_THRESHOLD, NORMAL
from intravariance.building.merging import write_index
from intravariance.building.plan import SampleJob, make_plan
from intravariance.building.sweep_index import Member, Sweep, setting
from intravariance.dataset.assembly.sample_files import assemble, write_sample_file
from intravariance.dataset.difficulty import difficulty_of, signal_to_noise
from intravariance.dataset.schema import ARRAYS
from intravariance.dataset.sharding.index import index_path
from intravariance.dataset.sharding.shards import Shard
from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.store import Sample, open_dataset, open_shards
from intravariance.geometry.mesh import Mesh, mesh_from_arrays, to_unit_sphere
from intravariance.geometry.sampling import apply_pose, random_pose, rotate, sample_surface
from intravariance.seeds import generator

Change = Callable[[Sample, np.random.Generator], Sample]


def small_specification(
    points: tuple[int, int] = (300, 500), positives: int = 6, defects: int = 3
) -> Specification:
    """Give two categories of two products each."""
    counts = {"bulge": defects, "missing": defects}
    return Specification(
        name="small",
        title="Small",
        points=points,
        categories=(
            Category("ball", ("round_ball", "long_ball"), 2, positives, counts),
            Category("brick", ("flat_brick", "tall_brick"), 2, positives, counts),
        ),
    )


# Not every category has every defect; one product alone.
BALL = Category("ball", ("round_ball", "long_ball"), 2, 3, {"bulge": 3})
BEAD = Category("bead", ("pearl",), 1, 1, {"bulge": 1, "missing": 2})
UNEVEN = Specification("uneven", "Uneven", (400, 600), (BALL, BEAD))


def sphere_points(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw (count, 3) points uniformly on the unit sphere, which are their own normals."""
    points = rng.normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@cache
def product(subcategory: str) -> Mesh:
    """Return the pristine mesh of a subcategory, unit-sphere frame: a ball where none is known."""
    ball = trimesh.creation.icosphere(subdivisions=3)
    brick = trimesh.creation.box().subdivide().subdivide()
    stretch = {
        "long_ball": (1.0, 1.2, 2.0),
        "flat_brick": (1.0, 0.7, 0.3),
        "tall_brick": (0.5, 0.6, 1.0),
    }.get(subcategory, (1.0, 1.0, 1.0))
    shape = brick if subcategory.endswith("brick") else ball
    return to_unit_sphere(mesh_from_arrays(np.asarray(shape.vertices) * stretch, shape.faces))


def make_sample(
    job: SampleJob, seed: int = 0, sigma: float = 0.0447, source: str = "procedural"
) -> Sample:
    """Return an honest sample. "missing" cuts a cap off and closes it with a flat face."""
    rng = generator(seed, job.id)
    mesh = product(job.subcategory)
    where = sample_surface(mesh, job.n_points, rng)
    points, normals = where.points, where.normals
    displacement = np.zeros_like(points)
    labels = np.zeros(len(points), dtype=np.uint8)
    if job.defect == "bulge":
        centre = points[rng.integers(len(points))]
        distance = np.linalg.norm(points - centre, axis=1)
        displacement = 0.2 * np.exp(-((distance / 0.3) ** 2))[:, None] * points
        labels = (np.linalg.norm(displacement, axis=1) > DISPLACEMENT_THRESHOLD).astype(np.uint8)
        displacement[labels == 0] = 0
        points = points + displacement
    elif job.defect == "missing":
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        depth = points @ direction
        level = np.quantile(depth, 0.9)
        cut = depth > level  # projected on the plane of the cut
        points = points - np.where(cut, depth - level, 0)[:, None] * direction
        normals = np.where(cut[:, None], direction, normals)
        labels = cut.astype(np.uint8)
        displacement[cut] = np.nan
    pose = random_pose("so3" if job.split == "test" else "canonical", rng)
    noise = rng.normal(scale=sigma, size=points.shape)
    return Sample(
        id=job.id,
        category=job.category,
        subcategory=job.subcategory,
        split=job.split,
        defect=job.defect,
        points=(apply_pose(points, pose) + noise).astype(np.float32),
        normals=rotate(normals, pose).astype(np.float32),
        labels=labels,
        displacement=rotate(displacement, pose).astype(np.float32),
        pose=pose,
        parameters={
            "base_mesh": f"{source}:{job.category}/{job.subcategory} sha256:0",
            "seed": seed,
            **_details(job, displacement, sigma),
        },
        mesh=mesh if job.split == "train" else None,
    )


def _details(job: SampleJob, displacement: np.ndarray, sigma: float) -> dict[str, Any]:
    """Say of a defective sample what the build says."""
    if job.severity is None:
        return {}
    moved = displacement[displacement.any(axis=1) & np.isfinite(displacement).all(axis=1)]
    departure = float(np.sqrt(3 * np.square(moved).mean())) if len(moved) else np.nan
    details = {"severity": job.severity, "difficulty": difficulty_of(job.severity)}
    snr = signal_to_noise(departure, sigma) if np.isfinite(departure) else None
    return details | ({} if snr is None else {"snr": snr})


def metadata(
    specification: Specification,
    seed: int = 0,
    sigma: float = 0.0447,
    source: str = "procedural",
) -> dict[str, Any]:
    """Return what the build records."""
    return {
        "identity": {
            "specification": specification.to_dict(),
            "source": source,
            "seed": seed,
            "pose": "so3",
            "noise_sigma": sigma,
        },
        "software": {"iv": "0.1.0"},
    }


def make_dataset(
    path: Path,
    specification: Specification | None = None,
    *,
    seed: int = 0,
    sigma: float = 0.0447,
    source: str = "procedural",
    change: Change | None = None,
    order: Callable[[Sample], Any] | None = None,
) -> Path:
    """Write a dataset file. source : of the base meshes. change : tampers with a sample (defective
    ones as well as normal). order : key by which the samples are sorted in the file instead of the
    plan's order."""
    specification = specification or small_specification()
    folder = path.with_suffix(".files")
    folder.mkdir()
    files = []
    samples = (make_sample(job, seed, sigma, source) for job in make_plan(specification, seed))
    for sample in samples if order is None else sorted(samples, key=order):
        if change is not None:
            sample = change(sample, generator(seed, sample.id, "change"))
        files.append(folder / f"{sample.id}.h5")
        write_sample_file(files[-1], sample)
    assemble(path, files, metadata(specification, seed, sigma, source))
    return path


MADE_WITH = {"code": "abc", "base_meshes": {"cup/mug": "procedural 0"}}


def runs_folder(data: Path, label: str, seed: int = 0) -> str:
    """Name the folder where `iv train` puts the runs of a file if it is not told."""
    with open_dataset(data) as dataset:
        return f"runs/{dataset.specification.name}-{dataset.digest[:8]}-{label}-{seed}"


def make_shard(
    path: Path,
    shard: Shard,
    content: Mapping[str, Any] | None = None,
    made_with: Mapping[str, Any] = MADE_WITH,
    change: Callable[[Sample], Sample] = lambda sample: sample,
) -> Path:
    """Write one shard of what `make_dataset` writes to `path`. content : the whole's metadata."""
    folder = path.parent / f"{shard}.files"
    folder.mkdir(parents=True)
    files = []
    for job in shard.part(make_plan(small_specification(), 0)):
        files.append(folder / f"{job.id}.h5")
        write_sample_file(files[-1], change(make_sample(job)))
    found = shard.path(path)
    assemble(found, files, shard.mark(content or metadata(small_specification()), made_with))
    shutil.rmtree(folder)
    return found


def split_dataset(file: Path, of: int) -> Path:
    """Write the shards of a dataset file beside it, and their index, which is returned."""
    paths = [Shard(number, of).path(file) for number in range(of)]
    with open_dataset(file) as dataset:
        for number, path in enumerate(paths):
            shard, folder = Shard(number, of), path.with_suffix(".files")
            folder.mkdir()
            files = []
            for record in shard.part(list(dataset)):
                files.append(folder / f"{record.id}.h5")
                write_sample_file(files[-1], record.load())
            assemble(path, files, shard.mark(dataset.metadata, MADE_WITH))
            shutil.rmtree(folder)
    with open_shards(paths) as whole:
        write_index(index_path(file), whole, force=True)
    return index_path(file)


def make_sweep(
    folder: Path, specification: Specification | None = None, *, sigmas: Sequence[float]
) -> Sweep:
    """Write a sweep over the noise: dataset files of the same products, and their index."""
    members = []
    for sigma in sigmas:
        values = {"noise_sigma": sigma}
        path = make_dataset(folder / f"small-{setting(values)}.h5", specification, sigma=sigma)
        shutil.rmtree(path.with_suffix(".files"))
        with open_dataset(path) as dataset:
            members.append(Member(path.name, values, dataset.digest))
    sweep = Sweep(folder, {"noise_sigma": tuple(sigmas)}, tuple(members))
    sweep.write()
    return sweep


def assert_same(first: Sample, second: Sample) -> None:
    """Check that two samples are the same to the last bit."""
    for name in (*ARRAYS, "pose"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert getattr(first, name).dtype == getattr(second, name).dtype
    assert (first.mesh is None) == (second.mesh is None)
    if first.mesh is not None and second.mesh is not None:
        np.testing.assert_array_equal(first.mesh.vertices, second.mesh.vertices)
        np.testing.assert_array_equal(first.mesh.faces, second.mesh.faces)
    for name in ("id", "category", "subcategory", "split", "defect", "parameters", "digest"):
        assert getattr(first, name) == getattr(second, name)


def only_defective(change: Change) -> Change:
    """Apply the change to defective samples alone: a shortcut."""
    return lambda sample, rng: sample if sample.defect == NORMAL else change(sample, rng)


def with_points(sample: Sample, points: np.ndarray) -> Sample:
    """Return the sample with other points (N, 3)."""
    return replace(sample, points=np.ascontiguousarray(points, dtype=np.float32))
