# SPDX-License-Identifier: Apache-2.0
"""Meshes of the user's own, drawn as `iv build` takes them: closed, repaired, in the unit sphere.

They are read by the readers of `sources`, in a child process with their limits of memory and time,
and shown by points drawn on their surface, so that pictures and pages are those of clouds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from annotations.vocabulary import NORMAL
from intravariance.cloud_files.reading import read_bytes
from intravariance.errors import InputError, IVError
from intravariance.executors import Executor
from intravariance.geometry.mesh import Mesh, to_unit_sphere, triangle_areas
from intravariance.geometry.sampling import sample_surface
from intravariance.looking.cloud import LabelledCloud
from intravariance.looking.pictures import Tile, TileRow, draw_sheet, paint
from intravariance.progress import say, track
from intravariance.seeds import generator
from intravariance.sources import Up
from intravariance.sources.isolation import read_and_repair
from intravariance.sources.mesh_files import MESH_SUFFIXES, has_faces, may_be_cloud, may_be_mesh
from intravariance.sources.preparing import y_up_to_z_up

__all__ = ["MESH_SUFFIXES", "MeshTask", "is_mesh", "mesh_cloud", "mesh_sheet", "mesh_tile"]

_POINTS = 60_000  # so dense that a picture shows edges
_ACROSS = 8  # tiles in a row of a sheet


@dataclass(frozen=True)
class MeshTask:
    """A mesh file that is to be drawn.

    name : of the cloud. up : axis that points up in the file; None takes y in glb files, else z.
    """

    path: Path
    name: str
    size: int = 320
    up: Up | None = None


def is_mesh(path: Path) -> bool:
    """Tell whether a file is a mesh: by its suffix, .ply and .obj by whether they have faces."""
    if not may_be_mesh(path.name):
        return False
    return has_faces(read_bytes(path) if may_be_cloud(path.name) else b"", path.name)


def mesh_cloud(path: Path, name: str, up: Up | None = None) -> tuple[LabelledCloud, list[str]]:
    """Read a mesh file and draw points on its surface; say in words what was read.

    The cloud is in the unit-sphere frame, without noise and without a defect. Raises InputError
    naming the file when it cannot be read or repaired within the limits (see
    `sources.isolation`).
    """
    suffix = path.suffix.lower()
    try:
        made = read_and_repair(read_bytes(path), suffix.lstrip("."))
    except InputError as problem:
        named = str(problem).startswith(str(path))
        raise problem if named else InputError(f"{path}: {problem}") from problem
    up = up or ("y" if suffix == ".glb" else "z")
    mesh = to_unit_sphere(y_up_to_z_up(made.mesh) if up == "y" else made.mesh)
    where = sample_surface(mesh, _POINTS, generator(0, name, "display"))
    cloud = LabelledCloud(
        name=name,
        category=path.name,
        subcategory="",
        defect=NORMAL,
        source="dataset",
        points=where.points.astype(np.float32),
        normals=where.normals.astype(np.float32),
        labels=np.zeros(_POINTS, dtype=np.uint8),
    )
    return cloud, [_described(mesh, made.surface_error, up)]


def mesh_sheet(
    tasks: Sequence[MeshTask], title: str, executor: Executor, quiet: bool = True
) -> Image.Image:
    """Draw a tile for each mesh, in the order of `tasks`, which has to hold one at least.

    A file that cannot be read has an empty tile that says so, and is named on stderr. Raises
    InputError when no file can be read.
    """
    drawn: dict[str, Tile] = {}
    failures = []
    for task, result in track(executor.run(mesh_tile, tasks), len(tasks), "meshes", quiet):
        if isinstance(result, InputError):
            failures.append(result)
            say(f"left out: {result}")
            blank = np.full((task.size, task.size, 3), 255, dtype=np.uint8)
            drawn[task.name] = Tile(blank, f"{task.name}: cannot be read", _reason(task, result))
        elif isinstance(result, IVError):
            raise result
        else:
            drawn[task.name] = result
    if len(failures) == len(tasks):
        raise failures[0] if len(failures) == 1 else InputError(f"{title}: no mesh can be read")
    rows = [tasks[start : start + _ACROSS] for start in range(0, len(tasks), _ACROSS)]
    tiles = [TileRow([drawn[task.name] for task in row]) for row in rows]
    read = (
        f"{len(tasks) - len(failures)} of {len(tasks)} meshes, closed and repaired as for a build"
    )
    return draw_sheet(tiles, tasks[0].size, title, [read])


def mesh_tile(task: MeshTask) -> Tile:
    """Draw one mesh, in a worker process perhaps. Raises InputError as `mesh_cloud` does."""
    cloud, notes = mesh_cloud(task.path, task.name, task.up)
    return Tile(paint(cloud, "surface", task.size), task.name, notes[0].partition(";")[0])


def _reason(task: MeshTask, error: InputError) -> str:
    return str(error).removeprefix(f"{task.path}: ")


def _described(mesh: Mesh, error: float, up: Up) -> str:
    moved = f"moved by {error:.3f} in repair" if error else "kept as it is"
    area = triangle_areas(mesh).sum()
    return (
        f"{len(mesh.faces):,} faces, {moved}; area {area:.2f}; closed and repaired as for a build; "
        f"lengths in radii; up is +{up} of the file"
    )
