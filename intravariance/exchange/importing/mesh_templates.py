# SPDX-License-Identifier: Apache-2.0
"""Training files that are meshes, beside scans: points are drawn on them, and the mesh is kept.

The mesh is closed and repaired as a base mesh of a build is. It has the unit of the scans: all
coordinates of a category are divided by one length. Its centre is that of its surface, which the
centroid of an even scan tends to.

A densely triangulated scan is a mesh as well, and its vertices are the cloud. By the rule "auto" a
mesh is taken for one where it has at least half as many vertices as the category's scans have
points (the median), and a .ply or .obj file may be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Literal

from intravariance.errors import InputError
from intravariance.exchange.importing.sample import (
    BadScan,
    ImportJob,
    cloud_extent,
)
from intravariance.executors import Executor, run_all
from intravariance.progress import say
from intravariance.sources.mesh_files import has_faces, vertex_count

MeshRule = Literal["auto", "sample", "vertices"]
MESH_RULES: tuple[MeshRule, ...] = ("auto", "sample", "vertices")
_DENSE = 0.5  # of the median number of points of the scans: so many vertices are a scan's


@dataclass(frozen=True)
class MeshTemplates:
    """rule : what is done with a mesh; points : how many are drawn on one, None for the median
    of the category's scans."""

    rule: MeshRule = "auto"
    points: int | None = None


BY_THE_RULE = MeshTemplates()


def with_mesh_points(
    jobs: Sequence[ImportJob], chosen: MeshTemplates, executor: Executor, quiet: bool
) -> list[ImportJob]:
    """Return the jobs, those of meshes with the number of points to draw; say what is done.

    Raises InputError where nothing says how many.
    """
    meshes = {
        job.id: data
        for job in jobs
        if job.scan.may_be_mesh
        and has_faces(data := job.scan.tree.read(job.scan.cloud), job.scan.cloud)
    }
    if not meshes or chosen.rule == "vertices":
        return list(jobs)
    vertices = {job.id: vertex_count(meshes[job.id], job.scan.cloud)
                for job in jobs if job.id in meshes}  # fmt: skip
    scans = _points_of_scans(jobs, meshes.keys(), executor, quiet)
    result = []
    for job in jobs:
        if job.id not in meshes:
            result.append(job)
            continue
        usual, own = scans.get(job.group), vertices[job.id]
        name = job.scan.paths[0]
        if chosen.rule == "auto" and own is not None and usual and own >= _DENSE * usual:
            say(f"{name}: a mesh of {own:,} vertices, which are taken as a scan's points", quiet)
            result.append(job)
            continue
        count = chosen.points or usual
        if count is None:
            raise InputError(
                f"{name}: it is a mesh, and there are no scans of {job.category} that say how many "
                "points to draw on it; give --template-points"
            )
        of = "" if own is None else f" of {own:,} vertices"
        say(f"{name}: a mesh{of}; {count:,} points drawn on it, and the mesh kept", quiet)
        result.append(replace(job, mesh_points=count))
    return result


def _points_of_scans(
    jobs: Sequence[ImportJob], meshes: Any, executor: Executor, quiet: bool
) -> dict[str, int]:
    """Return the median number of points of the scans of each group that has a mesh."""
    groups = {job.group for job in jobs if job.id in meshes}
    scans = [job for job in jobs if job.group in groups and job.id not in meshes]
    counts: dict[str, list[int]] = defaultdict(list)
    for job, found in run_all(executor, cloud_extent, scans, "points of scans", quiet):
        if not isinstance(found, BadScan):
            counts[job.group].append(found.points)
    return {group: round(median(own)) for group, own in counts.items()}
