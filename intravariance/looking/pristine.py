# SPDX-License-Identifier: Apache-2.0
"""The surface that a noisy sample was drawn from, and the product as it was before its defect.

Noise moves points, but a dataset file also holds the noise-free normals, the displacements and the
template's mesh. A point less its displacement lies near the pristine surface; its projection onto
that surface, plus the displacement, is where it was before the noise, but for the shift along the
surface, which cannot be seen. Where a cut exposed the surface, or no mesh is at hand, points are
moved along their normals to the mean of their neighbours, which leaves about a fifth of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.dataset.store import Dataset, Record
from intravariance.geometry.mesh import Mesh
from intravariance.geometry.sampling import sample_surface
from intravariance.looking.cloud import LabelledCloud, PristineSurface
from intravariance.looking.splats import Floats, splat_radius
from intravariance.seeds import generator

# For `render`: what is drawn without noise has only that of averages, around cuts.
NOISE_FREE_LAYER = 0.01

_SURFACE_POINTS = 30_000
_SPARSE = 4  # every 4th of them shows what was taken away
# Neighbours are sought by place and normal together: a normal that is turned by 60 degrees counts
# as much as this distance, in radii. So the other side of a thin wall is no neighbour.
_TURNED = 0.15
_NEIGHBOURS = 25
_MEAN_OF = 8
# Pristine surface with no point of the sample so near, in such distances, was taken away.
_AWAY = 0.12


@dataclass(frozen=True, eq=False)
class Change:
    """A sample's surface, and what was there before its defect, both without noise.

    points, normals : (N, 3) float64 of the sample as it is. before, normals_before : (M, 3) of the
    product as it was, where that differs: unmoved points are not repeated.
    """

    points: Floats
    normals: Floats
    before: Floats
    normals_before: Floats


def pristine_surface(mesh: Mesh, rng: np.random.Generator) -> PristineSurface:
    """Sample the mesh of a template."""
    where = sample_surface(mesh, _SURFACE_POINTS, rng)
    return PristineSurface(where.points, where.normals, _tree(where.points, where.normals))


def template_of(dataset: Dataset, record: Record) -> Record | None:
    """Return the first template of a sample's subcategory."""
    same = (record.category, record.subcategory, "train")
    return next((r for r in dataset if (r.category, r.subcategory, r.split) == same), None)


def surface_of(template: Record | None) -> PristineSurface | None:
    """Load a template's mesh and sample it; None where there is no template, or it has no mesh, or
    it is imported: then nobody knows how other samples lie to it."""
    known = template is not None and "imported" not in template.parameters
    mesh = template.load().mesh if known and template is not None else None
    if template is None or mesh is None:
        return None
    return pristine_surface(mesh, generator(0, template.id, "display"))


def change(cloud: LabelledCloud) -> Change:
    """Find the noise-free surface of a sample, and what it was before the defect.

    It is unknown what a cut took away from a cloud without its pristine surface: `before` then has
    the moved points alone.
    """
    surface = cloud.pristine
    points, normals = cloud.points.astype(np.float64), cloud.normals.astype(np.float64)
    moved = cloud.displacement
    shift = np.zeros_like(points) if moved is None else moved.astype(np.float64)
    known = np.isfinite(shift).all(axis=1)
    origin, origin_normals = points - np.where(known[:, None], shift, 0.0), normals
    if surface is None:
        origin = averaged(origin, normals)
    else:
        origin, origin_normals = _projected(origin, normals, surface)
        origin[~known] = averaged(points[~known], normals[~known])
    now = origin + np.where(known[:, None], shift, 0.0)
    different = known & (np.abs(shift) > 1e-9).any(axis=1)
    before, normals_before = origin[different], origin_normals[different]
    if surface is not None and known.any() and not known.all():
        there, normals_there = surface.points[::_SPARSE], surface.normals[::_SPARSE]
        taken = _taken_away(origin[known], normals[known], there, normals_there)
        before = np.concatenate([before, there[taken]])
        normals_before = np.concatenate([normals_before, normals_there[taken]])
    return Change(now, normals, before, normals_before)


def without_noise(cloud: LabelledCloud) -> LabelledCloud:
    """Return the surface that the cloud was drawn from, as far as it is known, as another cloud.

    With the template's surface it is made of that, moved by the mean displacement of the nearest
    points, and in and around a cut of the cloud's own points, with their noise averaged; scores
    are left out. Without it, it is the cloud's own points with their noise averaged.
    """
    found, surface = change(cloud), cloud.pristine
    own = replace(cloud, points=found.points.astype(np.float32), noise=0.0)
    if surface is None or cloud.displacement is None or cloud.exposed.all():
        return own
    known = np.flatnonzero(~cloud.exposed)
    origin = found.points[known] - cloud.displacement[known]
    places = _places(surface.points, surface.normals)
    distance, index = _tree(origin, own.normals[known].astype(np.float64)).query(
        places, min(_MEAN_OF, len(known))
    )
    distance, index = (values.reshape(len(places), -1) for values in (distance, known[index]))
    labels = cloud.labels[index] > 0  # (S, K)
    cut = bool(cloud.exposed.any())
    kept = (distance[:, 0] < _AWAY) & ~labels.any(axis=1) if cut else np.full(len(places), True)
    own = _denser(own, np.flatnonzero(cloud.labels > 0) if cut else known[:0])
    index, anomalous = index[kept], labels[kept].mean(axis=1) > 0.5
    shift = cloud.displacement[index].mean(axis=1)
    moved = (np.abs(shift) > 1e-6).any(axis=1)
    normals = np.where(moved[:, None], cloud.normals[index].mean(axis=1), surface.normals[kept])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    shifts = shift if own.displacement is None else np.concatenate([shift, own.displacement])
    return replace(
        cloud,
        points=np.concatenate([surface.points[kept] + shift, own.points]).astype(np.float32),
        normals=np.concatenate([normals, own.normals]).astype(np.float32),
        labels=np.concatenate([anomalous, own.labels]).astype(np.uint8),
        displacement=shifts.astype(np.float32),
        scores=None,
        noise=0.0,
    )


def _denser(cloud: LabelledCloud, keep: NDArray[np.intp]) -> LabelledCloud:
    """Return the points to keep, each with six more around it in its tangent plane.

    So they cover the surface that they lie in as densely as the template's samples do theirs.
    """
    points, normals = cloud.points[keep], cloud.normals[keep]
    other = np.where(np.abs(normals[:, :1]) < 0.8, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    right = np.cross(normals, other)
    right /= np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-9)
    down = np.cross(normals, right)
    reach = 0.6 * splat_radius(cloud.points, cloud.normals)
    around = [0.0 * right]
    around += [
        reach * (np.cos(angle) * right + np.sin(angle) * down)
        for angle in np.deg2rad(np.arange(0, 360, 60))
    ]
    again = np.tile(keep, len(around))
    return replace(
        cloud,
        points=np.concatenate([points + step for step in around]),
        normals=cloud.normals[again],
        labels=cloud.labels[again],
        displacement=None if cloud.displacement is None else cloud.displacement[again],
    )


def averaged(points: Floats, normals: Floats) -> Floats:
    """Return points (N, 3) moved along their normals (N, 3) to the mean of 25 neighbours."""
    if len(points) < 2:
        return points
    for _ in range(2):  # the second time among neighbours that noise did not choose
        places = _places(points, normals)
        _, index = _tree(points, normals).query(places, min(_NEIGHBOURS, len(points)))
        above = ((points[index] - points[:, None]) * normals[:, None]).sum(axis=2)  # (N, K)
        points = points + normals * above.mean(axis=1, keepdims=True)
    return points


def _projected(points: Floats, normals: Floats, surface: PristineSurface) -> tuple[Floats, Floats]:
    """Return the points (N, 3) projected onto the surface, and its normals there."""
    _, index = surface.tree.query(_places(points, normals))
    turned = surface.normals[index]
    off = ((points - surface.points[index]) * turned).sum(axis=1, keepdims=True)
    return points - off * turned, turned


def _taken_away(
    points: Floats, normals: Floats, there: Floats, normals_there: Floats
) -> NDArray[np.intp]:
    """Find which points of the pristine surface no point of the sample is near to."""
    places = _places(there, normals_there)
    distance, _ = _tree(points, normals).query(places, distance_upper_bound=_AWAY)
    return np.flatnonzero(np.isinf(distance))


def _places(points: Floats, normals: Floats) -> Floats:
    return np.concatenate([points, _TURNED * normals], axis=1)  # (N, 6)


def _tree(points: Floats, normals: Floats) -> Any:
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    return cKDTree(_places(points, normals))
