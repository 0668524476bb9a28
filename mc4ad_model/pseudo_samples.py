# SPDX-License-Identifier: Apache-2.0
"""Pseudo-anomalies as samples: made like the dataset's own, but deformed by a generator.

Each is the counterpart of a sample of the dataset file: the same product, tolerance, number of
points and noise, so that only the defect can differ. All generators get the same random numbers:
one counterpart has the same patch, magnitude, sign and axis with each. Everything is in the upright
unit-sphere frame.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import DISPLACEMENT_THRESHOLD, NORMAL
from intravariance.errors import InputError
from intravariance.inspection.cloud import LabelledCloud
from intravariance.mesh import Mesh
from intravariance.pointcloud import SurfacePoints, add_tolerance, sample_surface
from intravariance.seeds import generator
from intravariance.store import Dataset, Record
from mc4ad_model.anomalies import deform, draw_frozen
from mc4ad_model.configuration import AnomalyConfig, GeneratorName

# Neighbours that a deformed point's normal is fitted to: enough to average the sampling, few enough
# to follow a patch of a few hundred points.
_NEIGHBOURS = 24


def template_of(record: Record, dataset: Dataset) -> Record:
    """The template with the mesh that a test sample was made from.

    Raises
    ------
    InputError
        No template of its category and subcategory has a mesh.
    """
    own = dataset.filter(category=record.category, subcategory=record.subcategory)
    templates = [other for other in own if other.split == "train" and other.mesh is not None]
    if not templates:
        raise InputError(
            f"{dataset.path}: no template of {record.category}, {record.subcategory} has a mesh, "
            "and pseudo-anomalies are made on it"
        )
    origin = record.parameters.get("base_mesh")
    same = [other for other in templates if other.parameters.get("base_mesh") == origin]
    return (same or templates)[0]


def pristine_counterpart(
    record: Record, mesh: Mesh, noise_sigma: float, seed: int
) -> LabelledCloud:
    """The product of a sample without its defect: as many points, the same noise, no tolerance."""
    rng = generator(seed, "inspection", record.id, "pristine")
    where = sample_surface(mesh, record.n_points, rng)
    points = where.points + rng.normal(scale=noise_sigma, size=where.points.shape)
    return LabelledCloud(
        name=f"{record.id}_pristine",
        category=record.category,
        subcategory=record.subcategory,
        defect=NORMAL,
        source="dataset",
        points=points.astype(np.float32),
        normals=where.normals.astype(np.float32),
        labels=np.zeros(len(points), dtype=np.uint8),
        displacement=np.zeros(points.shape, dtype=np.float32),
    )


def pseudo_counterpart(
    record: Record,
    mesh: Mesh,
    config: AnomalyConfig,
    name: GeneratorName,
    noise_sigma: float,
    tolerance: float,
    seed: int,
) -> LabelledCloud:
    """The product of a sample with one deformed patch instead of its defect.

    Parameters
    ----------
    record
        Gives identity and number of points; its arrays are not read.
    mesh
        Of its template, unit-sphere frame.
    config
        Sizes and magnitudes. `generator` and `deformed` are not used: `name` deforms one patch.
    noise_sigma, tolerance
        Of the dataset file, in radii.

    Returns
    -------
    Labelled like the dataset: 1 where a point moved by more than the vocabulary's threshold.
    `normals` are of the deformed surface. `defect` is the generator's name.
    """
    config = replace(config, generator=name, deformed=1)
    if tolerance > 0:
        mesh = add_tolerance(mesh, tolerance, generator(seed, "inspection", record.id, "tolerance"))
    rng = generator(seed, "inspection", record.id, "surface")
    where = sample_surface(mesh, record.n_points, rng)
    frozen = draw_frozen(config, generator(seed, "inspection", "frozen"))
    patch = generator(seed, "inspection", record.id, "patch")
    displacement = deform(where.points, where.normals, config, patch, frozen)
    labels = np.linalg.norm(displacement, axis=1) > DISPLACEMENT_THRESHOLD
    displacement[~labels] = 0
    noise = rng.normal(scale=noise_sigma, size=where.points.shape)
    return LabelledCloud(
        name=f"{record.id}_{name}",
        category=record.category,
        subcategory=record.subcategory,
        defect=name,
        source="generator",
        points=(where.points + displacement + noise).astype(np.float32),
        normals=deformed_normals(where, displacement).astype(np.float32),
        labels=labels.astype(np.uint8),
        displacement=displacement.astype(np.float32),
    )


def deformed_normals(
    where: SurfacePoints, displacement: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, 3) unit normals of the surface after the displacement (N, 3) of its points.

    Where nothing moved near a point it keeps its own. Elsewhere a plane is fitted to the moved
    positions of the nearest points on the same side of the wall, and faces as the surface did.
    """
    from scipy.spatial import cKDTree

    normals = where.normals.copy()
    count = min(_NEIGHBOURS, len(normals))
    tree = cKDTree(where.points)
    moved = np.flatnonzero(displacement.any(axis=1))
    if len(moved) == 0 or count < 3:
        return normals
    _, near = tree.query(where.points[moved], k=count)
    chosen = np.unique(near)  # the rim's neighbours too
    _, near = tree.query(where.points[chosen], k=count)  # (C, K)
    weights = (normals[near] * normals[chosen, None]).sum(axis=2) > 0.5  # (C, K)
    weights = weights.astype(np.float64) / weights.sum(axis=1, keepdims=True)
    positions = (where.points + displacement)[near]  # (C, K, 3)
    offsets = positions - (weights[:, :, None] * positions).sum(axis=1, keepdims=True)
    covariance = np.einsum("ck,cki,ckj->cij", weights, offsets, offsets)
    values, vectors = np.linalg.eigh(covariance)
    fitted = vectors[:, :, 0]
    fitted *= np.where((fitted * normals[chosen]).sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    flat = values[:, 1] > 1e-12  # else the neighbours lie on a line, and say nothing
    normals[chosen[flat]] = fitted[flat]
    return normals
