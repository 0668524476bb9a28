# SPDX-License-Identifier: Apache-2.0
"""From a choice to a base mesh in the cache: read once, repaired once, the same ever after."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
import zlib
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from intravariance.dataset.provenance import code_digest
from intravariance.errors import InputError, IntegrityError
from intravariance.files.atomic import write_whole
from intravariance.geometry.densify import subdivide_long_edges
from intravariance.geometry.mesh import Mesh, digest_arrays, mesh_from_arrays, to_unit_sphere
from intravariance.geometry.topology import MAX_EDGE, closed_problem
from intravariance.sources.choosing import Choice, origin
from intravariance.sources.finding import Candidate, Source
from intravariance.sources.isolation import read_and_repair
from intravariance.sources.repair import KEPT, LARGEST_ERROR, Repaired

# Errors in reading a damaged .npz file; zipfile takes some damage for encryption (RuntimeError).
_DAMAGE = (
    *(OSError, EOFError, KeyError, ValueError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, InputError),
)

_ARITHMETIC = "blender_scripts/portable.py"
_DESIGNS = ("blender_scripts/designs", "blender_scripts/meshes.py", _ARITHMETIC)
# The code that a prepared mesh depends on; the cache forgets what other code made.
_PREPARATION = (
    _ARITHMETIC,
    "intravariance/sources",
    "intravariance/cloud_files/ply_format.py",
    *(f"intravariance/geometry/{name}.py" for name in ("densify", "mesh", "topology")),
)


@dataclass(frozen=True)
class BaseMesh:
    """A prepared base mesh: closed, in the unit-sphere frame, edges of at most MAX_EDGE.

    origin : where it comes from, e.g. "folder:bowl/soup.obj". sha256 : of its arrays.
    surface_error : 95th percentile of the distance from the surface in the file to it (unit-sphere
    radii, see `repair.surface_error`); 0 where the surface was kept. unit_radius : radius of the
    unit sphere in units of the file, None for embedded designs. repair : what was done to close it,
    and how finely. path : its file in the cache.
    """

    category: str
    subcategory: str
    origin: str
    sha256: str
    surface_error: float
    unit_radius: float | None
    repair: str
    path: Path


class DesignMaker(Protocol):
    """The methods of the Blender worker that are needed here."""

    def versions(self) -> dict[str, str]: ...

    def design(self, category: str, subcategory: str) -> tuple[NDArray[Any], NDArray[Any]]: ...


def prepare(
    choice: Choice, cache: Path, skip_bad: bool, blender: DesignMaker
) -> tuple[BaseMesh, list[str]]:
    """Return the base mesh of a choice, from the cache when it is there, and warnings for the user.

    With `skip_bad` a file that cannot be used is left out, with a warning, and the next reserve
    taken. Raises InputError naming the file and the reason when none can be used, or when the
    cache folder cannot be written.
    """
    skipped: list[str] = []
    for source, candidate in choice.offers:
        try:
            path = _prepared_file(source, candidate, cache, blender)
        except InputError as error:
            skipped.append(f"{origin(source, candidate)}: {error}")
            if not skip_bad or isinstance(error, _CacheError):
                break
            continue
        made = _load(path)
        name = origin(source, candidate)
        warnings = [f"skipped base mesh {reason}" for reason in skipped]
        if made.surface_error > LARGEST_ERROR:
            warnings.append(
                f"repairing base mesh {name} ({made.repair}) moved its surface by "
                f"{made.surface_error:.2f}"
            )
        base = BaseMesh(
            category=choice.category,
            subcategory=choice.subcategory,
            origin=name,
            sha256=digest_arrays(vertices=made.mesh.vertices, faces=made.mesh.faces),
            surface_error=made.surface_error,
            unit_radius=made.unit_radius if math.isfinite(made.unit_radius) else None,
            repair=made.repair,
            path=path,
        )
        return base, warnings
    tried = "\n".join(f"  {reason}" for reason in skipped)
    advice = "Leave bad files out with --skip-bad, or add other meshes."
    if skip_bad:
        advice = "None is left to try: add meshes, or use --fill procedural."
    raise InputError(
        f"no usable base mesh for {choice.category}/{choice.subcategory}:\n{tried}\n{advice}"
    )


def load_base_mesh(file: Path | bytes) -> Mesh:
    """Read a prepared mesh, of a file in the cache or of the content of one.

    Raises IntegrityError when it is damaged.
    """
    return _load(file).mesh


def keep_prepared(cache: Path, name: str, content: bytes) -> Path:
    """Put a file that was prepared elsewhere into the cache; return its path.

    Raises InputError when the cache folder cannot be written.
    """
    path = cache / name
    _write(path, content)
    return path


class _CacheError(InputError):
    """The cache folder cannot be used; another mesh would not help."""


def _prepared_file(source: Source, candidate: Candidate, cache: Path, blender: DesignMaker) -> Path:
    """Return the cache file of a candidate, made when it is missing or damaged."""
    data, file_format = b"", ""
    if source.kind == "procedural":
        identity = [code_digest(*_DESIGNS)]
        identity += [f"{name} {version}" for name, version in sorted(blender.versions().items())]
        identity += [candidate.category, candidate.product]
    else:
        data = source.read(candidate.name)
        up = source.up_axis(candidate.name)
        file_format = source.file_format(candidate.name)
        identity = [hashlib.sha256(data).hexdigest(), file_format, f"up {up}"]
        identity += [f"point-cloud-utils {version('point-cloud-utils')}"]
    identity += [f"numpy {version('numpy')}", code_digest(*_PREPARATION)]
    key = hashlib.sha256("\n".join(identity).encode()).hexdigest()
    path = cache / f"{key}.npz"
    try:
        load_base_mesh(path)
    except IntegrityError:
        if source.kind == "procedural":
            made = Repaired(_design(candidate, blender), 0.0, float("nan"), KEPT)
        else:
            made = read_and_repair(data, file_format)
            if up == "y":
                made = replace(made, mesh=y_up_to_z_up(made.mesh))
        _store(path, made)
    return path


def y_up_to_z_up(mesh: Mesh) -> Mesh:
    """Return the mesh turned by 90 degrees about x: y becomes z, and z (the front) becomes -y."""
    x, y, z = mesh.vertices.T
    return mesh_from_arrays(np.stack([x, -z, y], axis=1), mesh.faces)


def _design(candidate: Candidate, blender: DesignMaker) -> Mesh:
    arrays = blender.design(candidate.category, candidate.product)
    mesh = subdivide_long_edges(to_unit_sphere(mesh_from_arrays(*arrays)), MAX_EDGE)
    if problem := closed_problem(mesh):
        raise IntegrityError(f"the embedded design {candidate.name} has {problem}; report this")
    return mesh


def _store(path: Path, made: Repaired) -> None:
    """Write a cache file whole or not at all."""
    archive = io.BytesIO()
    np.savez(archive, sha256=np.array(_file_digest(made)), **_arrays(made))
    _write(path, archive.getvalue())


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise _CacheError(
            f"the folder for prepared meshes {path.parent} cannot be written ({error.strerror}); "
            "choose another with --cache"
        ) from error


def _load(given: Path | bytes) -> Repaired:
    path = "the prepared mesh" if isinstance(given, bytes) else given
    try:
        with (
            io.BytesIO(given) if isinstance(given, bytes) else open(given, "rb") as file,
            np.load(file, allow_pickle=False) as arrays,
        ):
            surface_error, unit_radius = map(float, arrays["figures"])
            mesh = mesh_from_arrays(arrays["vertices"], arrays["faces"])
            repair = arrays["repair"].tobytes().decode()
            made = Repaired(mesh, surface_error, unit_radius, repair)
            expected = str(arrays["sha256"])
    except _DAMAGE as error:
        raise IntegrityError(f"{path} is missing or damaged ({error}); build again") from error
    if _file_digest(made) != expected:
        raise IntegrityError(f"{path} is damaged (its SHA-256 differs); build again")
    return made


def _file_digest(made: Repaired) -> str:
    return digest_arrays(**_arrays(made))


def _arrays(made: Repaired) -> dict[str, NDArray[Any]]:
    return {
        "vertices": made.mesh.vertices,
        "faces": made.mesh.faces,
        "figures": np.array([made.surface_error, made.unit_radius]),
        "repair": np.frombuffer(made.repair.encode(), dtype=np.uint8),
    }
