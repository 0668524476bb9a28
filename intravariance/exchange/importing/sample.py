# SPDX-License-Identifier: Apache-2.0
"""Samples of foreign clouds, one of each: the part of an import that its worker processes do.

Coordinates are kept as they are, or a cloud is moved so that its centroid is 0 and divided by a
length that all clouds of its group share (`ImportFrame`). Labels are those of the cloud. Unless its
layout holds one, its displacement is 0 on normal points and NaN on all others, also where nobody
says which points are anomalous: how far they were moved is unknown.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files import PointCloud
from intravariance.cloud_files.choices import DROP_NO_RETURN
from intravariance.dataset.assembly.sample_files import Finished, finished, sample_bytes
from intravariance.dataset.schema import MAX_ROWS, Sample
from intravariance.errors import InputError
from intravariance.exchange.importing.thinning import KEEP_ALL, Thinning, thinned
from intravariance.exchange.layouts import Scan
from intravariance.executors import Portable
from intravariance.executors.limited import limited_memory
from intravariance.geometry.mesh import mesh_from_arrays
from intravariance.geometry.normals import estimated_normals
from intravariance.geometry.sampling import (
    PoseKind,
    apply_pose,
    random_pose,
    rotate,
    sample_surface,
)
from intravariance.seeds import generator
from intravariance.sources.finding import Up
from intravariance.sources.isolation import read_and_repair
from intravariance.sources.repair import Repaired

Floats = NDArray[np.float64]

FEWEST_POINTS = 16  # that a specification allows
# float32 keeps 24 bits: a cloud this many of its radii away from 0 loses a thousandth of a radius.
_FAR_AWAY = 1e4


@dataclass(frozen=True)
class ImportFrame:
    """length : what coordinates are divided by, once the cloud is centred; None keeps them."""

    length: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-able form."""
        return {"coordinates": "kept"} if self.length is None else {
            "coordinates": "each cloud's centroid moved to 0, then divided by the length",
            "length": self.length,
        }  # fmt: skip


@dataclass(frozen=True)
class Treatment:
    """Changes to a cloud besides those of its frame; by default none.

    n_points : how many are drawn where it has more, None keeps all. up : the axis that points up in
    the file; "y" turns the cloud so that it is z. pose, noise_sigma : as in `SampleSettings`.
    """

    n_points: int | None = None
    up: Up = "z"
    pose: PoseKind = "canonical"
    noise_sigma: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class ImportJob(Portable):
    """A scan and the sample that it becomes. group : of the clouds that share a `ImportFrame`.
    thinning : before anything else. mesh_points : how many are drawn on a mesh that is a template,
    None where the file is a cloud."""

    scan: Scan
    id: str
    category: str
    subcategory: str
    defect: str
    group: str
    frame: ImportFrame = ImportFrame()
    treatment: Treatment = Treatment()
    thinning: Thinning = KEEP_ALL
    mesh_points: int | None = None

    @property
    def title(self) -> str:
        return self.id

    def packed(self) -> ImportJob:
        return replace(self, scan=self.scan.carried())


@dataclass(frozen=True)
class BadScan:
    """Why a scan cannot be used."""

    reason: str


@dataclass(frozen=True)
class CloudExtent:
    """radius : largest distance of a point from the centroid; reach : from 0. points : how many."""

    radius: float
    reach: float
    points: int


def cloud_extent(job: ImportJob) -> CloudExtent | BadScan:
    """Measure how large a cloud, or a template's mesh, is in the unit of its file."""
    try:
        if job.mesh_points is not None:
            _, vertices, centre = _read_mesh(job.scan)
            count = job.mesh_points
            return CloudExtent(_largest_norm(vertices), _largest_norm(vertices + centre), count)
        points = _load(job)[0].points
    except InputError as error:
        return BadScan(str(error))
    centred = points - points.mean(axis=0)
    return CloudExtent(_largest_norm(centred), _largest_norm(points), len(points))


def state_of(job: ImportJob) -> str:
    """Return a short digest of what makes a sample besides the settings, so that none of another
    scan, an older file or another frame is taken for it when an import carries on.
    """
    tree = job.scan.tree.path
    words = [job.scan.id, job.defect, repr(job.frame), repr(job.treatment), repr(job.scan.choices)]
    words += [repr(job.thinning), repr(job.mesh_points)]
    for path in job.scan.paths:
        state = os.stat(tree if tree.is_file() else path)
        words.append(f"{path.name} {state.st_size} {state.st_mtime_ns}")
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def make_sample_file(job: ImportJob) -> tuple[bytes, Finished] | BadScan:
    """Make the sample of a job: the content of its file, and what there is to know of it."""
    try:
        sample = imported_sample(job)
    except InputError as error:
        return BadScan(str(error))
    return sample_bytes(sample), finished(sample)


def imported_sample(job: ImportJob) -> Sample:
    """Load a scan and make its sample. Raises InputError when the scan cannot be used.

    Where it is a mesh, points are drawn on it, with its normals, and the mesh is kept. Normals are
    those of the file, or estimated from all of the cloud's points. Which points are drawn, the pose
    and the noise are random from the treatment's seed and the job's id, in the same way for normal
    and defective samples.
    """
    if job.mesh_points is not None:
        return _mesh_sample(job, job.mesh_points)
    scan, (cloud, whole) = job.scan, _load(job)
    assert cloud.labels is not None
    centre, length = np.zeros(3), 1.0
    points, notes = cloud.points, list(cloud.notes)
    if job.frame.length is not None:
        centre, length = points.mean(axis=0), job.frame.length
        points = (points - centre) / length
    normals, displacement = _normals(cloud, points), _displacement(cloud, notes) / length
    if job.treatment.up == "y":  # a quarter turn about x
        points, normals, displacement = (
            a[:, [0, 2, 1]] * (1, -1, 1) for a in (points, normals, displacement)
        )
    keep = _drawn(job, len(points))
    points, normals, displacement = points[keep], normals[keep], displacement[keep]
    pose = np.eye(4)
    if scan.split == "test":
        rng = generator(job.treatment.seed, job.id, "pose")
        pose = random_pose(job.treatment.pose, rng)
    if (pose != np.eye(4)).any():
        points = apply_pose(points, pose)
        normals, displacement = rotate(normals, pose), rotate(displacement, pose)
    if job.treatment.noise_sigma:
        rng = generator(job.treatment.seed, job.id, "noise")
        points = points + rng.normal(scale=job.treatment.noise_sigma, size=points.shape)
    if _largest_norm(points) > _FAR_AWAY * _largest_norm(points - points.mean(axis=0)):
        notes.append("it lies so far from 0 that float32 rounds its coordinates noticeably")
    return Sample(
        id=job.id,
        category=job.category,
        subcategory=job.subcategory,
        split=scan.split,
        defect=job.defect,
        points=np.ascontiguousarray(points, dtype=np.float32),
        normals=np.ascontiguousarray(normals, dtype=np.float32),
        labels=np.ascontiguousarray(cloud.labels[keep], dtype=np.uint8),
        displacement=np.ascontiguousarray(displacement, dtype=np.float32),
        pose=pose,
        parameters=_parameters(job, cloud, whole, centre, length, notes),
    )


def _mesh_sample(job: ImportJob, count: int) -> Sample:
    """Draw the points of a template on its mesh, evenly by area, in the frame of the scans."""
    made, vertices, centre = _read_mesh(job.scan)
    length, shift = job.frame.length or 1.0, np.zeros(3)
    if job.frame.length is None:
        shift, centre = centre, np.zeros(3)
    mesh = mesh_from_arrays(vertices / length + shift, made.mesh.faces)
    where = sample_surface(mesh, count, generator(job.treatment.seed, job.scan.id, "surface"))
    cloud = PointCloud(where.points, where.normals, np.zeros(count, dtype=np.uint8))
    parameters = _parameters(job, cloud, count, centre, length, [])
    parameters["imported"] |= {
        "normals": "of the mesh",
        "mesh": {"repair": made.repair, "surface_error": made.surface_error},
    }
    return Sample(
        id=job.id,
        category=job.category,
        subcategory=job.subcategory,
        split=job.scan.split,
        defect=job.defect,
        points=where.points.astype(np.float32),
        normals=where.normals.astype(np.float32),
        labels=np.zeros(count, dtype=np.uint8),
        displacement=np.zeros((count, 3), dtype=np.float32),
        pose=np.eye(4),
        parameters=parameters,
        mesh=mesh,
    )


def _read_mesh(scan: Scan) -> tuple[Repaired, Floats, Floats]:
    """Read a mesh, closed and repaired: also its vertices (V, 3) about its centre, in the unit of
    the file, and the centre (3,) there. Raises InputError naming the file."""
    path = scan.paths[0]
    try:
        made = _repaired(scan.tree.read(scan.cloud), path.suffix.lower().lstrip("."))
    except InputError as error:
        raise InputError(f"{path}: as a template's mesh: {error}") from error
    vertices = made.mesh.vertices.astype(np.float64) * made.unit_radius
    return made, vertices, np.array(made.centre)


def _drawn(job: ImportJob, count: int) -> NDArray[np.intp]:
    """Choose which of a cloud's points become the sample, in their order."""
    wanted = job.treatment.n_points
    if wanted is None or wanted >= count:
        return np.arange(count)
    rng = generator(job.treatment.seed, job.id, "surface")
    return np.sort(rng.choice(count, wanted, replace=False)).astype(np.intp)


@lru_cache(maxsize=2)  # for its size, and again for its points
def _repaired(data: bytes, file_format: str) -> Repaired:
    return read_and_repair(data, file_format)


def _load(job: ImportJob) -> tuple[PointCloud, int]:
    """Load the cloud, thinned, and count its points before that.

    It is refused when it is too small, too large, or a single point many times, or when several of
    its points are (0, 0, 0), which is how scans without NaN say "nothing here".
    """
    scan = job.scan
    with limited_memory(f"{scan.paths[0]}: it"):  # all that a layout reads for a scan
        cloud = scan.load()
    missing = int((cloud.points == 0).all(axis=1).sum())
    if missing > 1:
        raise InputError(
            f"{scan.paths[0]}: {missing:,} of {len(cloud.points):,} points are (0, 0, 0), as "
            f"sensors write places without a return. {DROP_NO_RETURN} leaves them out"
        )
    whole = len(cloud.points)
    if job.thinning:
        try:
            cloud = thinned(cloud, job.thinning, scan.id, job.treatment.seed)
        except InputError as error:
            raise InputError(f"{scan.paths[0]}: {error}") from error
    count = len(cloud.points)
    if not FEWEST_POINTS <= count <= MAX_ROWS:
        raise InputError(
            f"{scan.paths[0]}: it has {count:,} points, expected {FEWEST_POINTS} to {MAX_ROWS:,}"
        )
    if not np.ptp(cloud.points, axis=0).any():
        raise InputError(f"{scan.paths[0]}: all of its points coincide")
    return cloud, whole


def _normals(cloud: PointCloud, points: Floats) -> Floats:
    if cloud.normals is not None:
        return cloud.normals
    return estimated_normals(points)


def _displacement(cloud: PointCloud, notes: list[str]) -> Floats:
    """Return the displacement of the file, (N, 3), or what is known without one.

    Adds to `notes` when that of the file cannot be used.
    """
    assert cloud.labels is not None
    labelled = cloud.labels != 0  # or nobody says whether they are
    given = cloud.displacement
    if not cloud.labelled:
        given = None
    if given is not None and not given[~labelled].any() and not np.isinf(given).any():
        return given.astype(np.float64)
    if given is not None:
        notes.append("displacement of the file not used: points that are not labelled have some")
    unknown = np.zeros(cloud.points.shape)
    unknown[labelled] = np.nan
    return unknown


def _largest_norm(points: Floats) -> float:
    largest = float(np.abs(points).max())
    if not largest > 0:
        return 0.0
    # squares of large or tiny numbers leave the range
    return largest * float(np.linalg.norm(points / largest, axis=1).max())


def _parameters(
    job: ImportJob,
    cloud: PointCloud,
    points: int,
    centre: Floats,
    length: float,
    notes: list[str],
) -> dict[str, Any]:
    scan = job.scan
    files = {"cloud": scan.cloud, "truth": scan.truth, "displacement": scan.displacement}
    record: dict[str, Any] = {
        "scan": scan.id,
        "files": {kind: name for kind, name in files.items() if name},
        "sha256": {
            kind: hashlib.sha256(scan.tree.read(name)).hexdigest()
            for kind, name in files.items()
            if name
        },
        "points": points,
        "centre": centre.tolist(),
        "length": length,
        "normals": "estimated" if cloud.normals is None else "of the file",
        "displacement": "unknown" if cloud.displacement is None else "of the file",
    }
    if job.thinning:
        record["thinning"] = job.thinning.to_dict()
    record |= {"dropped": cloud.dropped} if cloud.dropped else {}
    return {"imported": record | ({"notes": notes} if notes else {})}
