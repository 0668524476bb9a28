# SPDX-License-Identifier: Apache-2.0
"""Checks of each base mesh, and of the defects it can have, before a long build stumbles over them.

Each mesh is read and repaired as the build does it, and each defect type of its category is tried
once at a middle severity, in Blender.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import point_cloud_utils

from annotations.vocabulary import WRONG_PART
from blender_scripts.portable import norm
from intravariance.building.blender import ImpossibleDefect, blender_worker
from intravariance.dataset.specification import Category, Specification
from intravariance.errors import InputError, IVError
from intravariance.executors import BLENDER, Executor, Portable
from intravariance.geometry.mesh import Mesh, triangle_areas
from intravariance.geometry.parts import components
from intravariance.lengths import UNITS, Length
from intravariance.progress import track
from intravariance.seeds import entropy
from intravariance.sources import BaseMesh, Choice, load_base_mesh, prepare
from intravariance.sources.choosing import RESERVES_SENT

_RAYS = 1000  # for the thickness


@dataclass(frozen=True)
class MeshCheck:
    """Findings about a product's base mesh.

    problem : why it cannot be used; all else is empty then. repair : "kept", or what closed it.
    size : extents along x, y, z, and thickness : how far the middle and the thinnest 5 % of the
    surface lie from the other side; in radii. millimetres : in a radius, NaN where not known.
    impossible : reason by defect type that does not fit.
    """

    product: str
    origin: str
    problem: str = ""
    repair: str = ""
    surface_error: float = 0.0
    faces: int = 0
    parts: int = 0
    size: tuple[float, ...] = ()
    thickness: tuple[float, float] = (math.nan, math.nan)
    millimetres: float = math.nan
    defects: tuple[str, ...] = ()
    impossible: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class _Task(Portable):
    choice: Choice
    category: Category
    severity: float | None
    sizes: tuple[Length, Length] | None
    donors: tuple[Choice, ...]
    seed: int
    cache: Path | None  # None on another machine
    skip_bad: bool
    blender: Path | None

    needs = BLENDER

    @property
    def title(self) -> str:
        return f"{self.choice.category}/{self.choice.subcategory}"

    def packed(self) -> _Task:
        choice, *donors = (c.carried(RESERVES_SENT) for c in (self.choice, *self.donors))
        return replace(self, choice=choice, donors=tuple(donors), cache=None)


def check_meshes(
    specification: Specification,
    choices: Sequence[Choice],
    seed: int,
    cache: Path,
    skip_bad: bool,
    blender: Path | None,
    executor: Executor,
    quiet: bool,
) -> list[MeshCheck]:
    """Check the base mesh of each choice, in their order. Raises what stops all: no Blender."""
    categories = {category.name: category for category in specification.categories}
    middle = None if specification.sizes else sum(specification.severity) / 2
    tasks = [
        _Task(
            choice, categories[choice.category], middle, specification.sizes,
            tuple(c for c in choices if c.category == choice.category and c != choice),
            seed, cache, skip_bad, blender,
        )
        for choice in choices
    ]  # fmt: skip
    found = {}
    for task, result in track(executor.run(_check, tasks), len(tasks), "base meshes", quiet):
        if isinstance(result, IVError):
            raise result
        found[task.choice] = result
    return [found[choice] for choice in choices]


def thickness(mesh: Mesh) -> tuple[float, float]:
    """Return the median and 5th percentile of the way through the solid, straight inwards.

    From points uniform over the surface; NaN where no ray comes out again.
    """
    rng = np.random.default_rng(0)
    areas = triangle_areas(mesh)
    faces = mesh.faces[rng.choice(len(areas), _RAYS, p=areas / areas.sum())]
    vertices = mesh.vertices.astype(np.float64)
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    normals = np.cross(b - a, c - a)
    normals /= norm(normals)[:, None]
    _, _, ways = point_cloud_utils.ray_mesh_intersection(
        vertices, mesh.faces.astype(np.int64), (a + b + c) / 3 - 1e-4 * normals, -normals
    )
    through = ways[np.isfinite(ways)]
    if not len(through):
        return math.nan, math.nan
    middle, thin = np.percentile(through, [50, 5]) + 1e-4
    return float(middle), float(thin)


def _check(task: _Task) -> MeshCheck:
    """Check one; runs in a worker process."""
    if task.cache is None:
        with TemporaryDirectory() as own:
            return _check(replace(task, cache=Path(own)))
    choice, category = task.choice, task.category
    product = f"{choice.category}/{choice.subcategory}"
    blender = blender_worker(task.blender)
    blender.versions()  # without Blender there is nothing to check
    try:
        base, _ = prepare(choice, task.cache, task.skip_bad, blender)
    except InputError as error:
        return MeshCheck(product, choice.origin, " ".join(str(error).splitlines()[1:2]).strip())
    mesh = load_base_mesh(base.path)
    impossible = tuple(_impossible(task, base, mesh, product))
    scale = UNITS.get(category.unit, math.nan)
    return MeshCheck(
        product=product,
        origin=base.origin,
        repair=base.repair,
        surface_error=base.surface_error,
        faces=len(mesh.faces),
        parts=int(components(mesh).max()) + 1,
        size=tuple(float(extent) for extent in np.ptp(mesh.vertices, axis=0)),
        thickness=thickness(mesh),
        millimetres=(base.unit_radius or math.nan) * scale,
        defects=tuple(category.defects),
        impossible=impossible,
    )


def _impossible(task: _Task, base: BaseMesh, mesh: Mesh, product: str) -> Iterator[tuple[str, str]]:
    """Yield each kind that does not fit, and why; of sizes, the smallest and largest are tried."""
    radius, unit = base.unit_radius or math.nan, task.category.unit
    sizes = [size.in_radii(radius, unit) for size in task.sizes] if task.sizes else [None]
    for kind in task.category.defects:
        drawn = entropy(task.seed, "check", product, base.sha256, kind)
        for size in sizes:
            if reason := _reason(task, mesh, kind, drawn, size):
                yield kind, reason
                break


def _reason(task: _Task, mesh: Mesh, kind: str, drawn: list[int], size: float | None) -> str:
    """Say why a defect cannot be made; "" where it can."""
    reasons = []
    for donor in _donors(task) if kind == WRONG_PART else [None]:
        try:
            blender_worker(task.blender).defect(kind, mesh, drawn, task.severity, size, donor)
        except ImpossibleDefect as error:
            reasons.append(str(error).partition(" attempts: ")[2] or str(error))
        else:
            return ""
    return "; ".join(reasons) or "no other product of the category can be used"


def _donors(task: _Task) -> Iterator[Mesh]:
    """Read the meshes of the category's other products, without those that cannot be used."""
    for choice in task.donors:
        assert task.cache is not None
        try:
            base, _ = prepare(choice, task.cache, task.skip_bad, blender_worker(task.blender))
        except InputError:
            continue  # the row of that product says so
        yield load_base_mesh(base.path)
