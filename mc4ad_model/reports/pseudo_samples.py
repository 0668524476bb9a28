# SPDX-License-Identifier: Apache-2.0
"""Pseudo-anomalies as samples: made like the dataset's own, but with a defect of a generator.

Each is the counterpart of a sample of the dataset file: the same product, tolerance, density of
points and noise, so that only the defect can differ. The generators that displace patches
(`anomalies`) all get the same random numbers: one counterpart has the same patch, magnitude, sign
and axis with each. The mixture's kinds (`mc4ad_model.pseudo_anomalies`) have their own. Everything
is in the upright unit-sphere frame.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import DISPLACEMENT_THRESHOLD, NORMAL
from intravariance.dataset.store import Dataset, Record
from intravariance.errors import InputError
from intravariance.geometry.mesh import Mesh
from intravariance.geometry.sampling import add_tolerance, sample_surface
from intravariance.looking.cloud import LabelledCloud
from intravariance.seeds import generator
from mc4ad_model.methods.mc4ad.anomalies import Vectors, deform, draw_frozen
from mc4ad_model.methods.mc4ad.configuration import AnomalyConfig
from mc4ad_model.pseudo_anomalies.mixture import MixtureConfig, make_sample
from mc4ad_model.pseudo_anomalies.names import GENERATOR_NAMES, KINDS
from mc4ad_model.pseudo_anomalies.product import Product

# All that is made beside real defects where none is named: the mixture's kinds last.
PSEUDO_NAMES: tuple[str, ...] = (*GENERATOR_NAMES, *(k for k in KINDS if k != NORMAL))

# Neighbours that a deformed point's normal is fitted to: enough to average the sampling, few enough
# to follow a patch of a few hundred points.
_NEIGHBOURS = 24

_TRIES = 20  # to make a defect that a sparse cloud shows


def template_of(record: Record, dataset: Dataset) -> Record:
    """Find the template of a test sample's product.

    It is the one whose mesh the sample was made from, if that is known, and one with a mesh rather
    than one without, as imported scans are.

    Raises
    ------
    InputError
        There is no template of its category and subcategory.
    """
    own = dataset.filter(category=record.category, subcategory=record.subcategory)
    templates = [other for other in own if other.split == "train"]
    if not templates:
        raise InputError(
            f"{dataset.path}: no template of {record.category}, {record.subcategory}, and "
            "pseudo-anomalies are made on templates"
        )
    origin = record.parameters.get("base_mesh")

    def unfit(other: Record) -> tuple[bool, bool]:
        return other.mesh is None, other.parameters.get("base_mesh") != origin

    return min(templates, key=unfit)


@lru_cache(maxsize=1)
def pristine_counterpart(
    record: Record, template: Record, noise_sigma: float, seed: int
) -> LabelledCloud:
    """Make the product of a sample without its defect: as many points, same noise, no tolerance.

    A template without a mesh gives its stored points, with the noise that they have, and no more
    than there are. It is made once for all that is compared with it in turn.
    """
    rng = generator(seed, "inspection", record.id, "pristine")
    points, normals = _surface(record, template, 0.0, seed, rng)
    points = points + rng.normal(scale=noise_sigma, size=points.shape)
    labels, displacement = np.zeros(len(points), dtype=bool), np.zeros_like(points)
    cloud = _labelled(record, NORMAL, points, normals, labels, displacement, noise_sigma)
    return replace(cloud, name=f"{record.id}_pristine", source="dataset")


def pseudo_counterpart(
    record: Record,
    template: Record,
    config: AnomalyConfig,
    name: str,
    noise_sigma: float,
    tolerance: float,
    seed: int,
) -> LabelledCloud:
    """Return the product of a sample with a pseudo-anomaly instead of its defect.

    Parameters
    ----------
    record
        Gives identity and number of points; its arrays are not read.
    template
        From `template_of`; without a mesh as in `pristine_counterpart`.
    config
        Settings of the generators that displace patches. `generator` and `deformed` are not used:
        `name` deforms one patch.
    name
        One of PSEUDO_NAMES, or what an installed package adds. For kinds of the mixture see
        `mixture_counterpart`.
    noise_sigma, tolerance
        Values of the dataset file, in radii.

    Returns
    -------
    Labelled like the dataset: 1 where a point moved by more than the vocabulary's threshold.
    `normals` are of the deformed surface. `defect` is the generator's name.
    """
    if name in KINDS:
        return mixture_counterpart(record, template, name, noise_sigma, tolerance, seed)
    config = replace(config, generator=name, deformed=1)
    rng = generator(seed, "inspection", record.id, "surface")
    points, normals = _surface(record, template, tolerance, seed, rng)
    frozen = draw_frozen(config, generator(seed, "inspection", "frozen"))
    patch = generator(seed, "inspection", record.id, "patch")
    displacement = deform(points, normals, config, patch, frozen)
    labels = np.linalg.norm(displacement, axis=1) > DISPLACEMENT_THRESHOLD
    displacement[~labels] = 0
    noise = rng.normal(scale=noise_sigma, size=points.shape)
    normals = deformed_normals(points, normals, displacement)
    points = points + displacement + noise
    return _labelled(record, name, points, normals, labels, displacement, noise_sigma)


def mixture_counterpart(
    record: Record,
    template: Record,
    kind: str,
    noise_sigma: float,
    tolerance: float,
    seed: int,
) -> LabelledCloud:
    """Return the product of a sample with a defect of the mixture, of the mixture's default sizes.

    Parameters are those of `pseudo_counterpart`. The number of points is the record's times the
    share of the area that the defect leaves or adds. `displacement` is NaN on exposed surface, as
    in the dataset.

    Raises
    ------
    InputError
        The cloud is too sparse to show such a defect.
    """
    rng = generator(seed, "inspection", record.id, kind)
    product, count = _product(record, template, tolerance, seed, rng)
    for _ in range(_TRIES):
        sample = make_sample(product, count, MixtureConfig(), rng, kind)
        if sample.labels.any():
            break
    else:
        raise InputError(
            f"{record.id}: none of {_TRIES} defects of the kind {kind} shows in {count} points; "
            "expected a denser cloud, or other kinds (--generator)"
        )
    before = sample.points - sample.displacement
    displacement = np.where(sample.labels[:, None], sample.displacement, 0)
    normals = sample.normals
    if kind in ("swelling", "turn"):
        normals = deformed_normals(before, normals, displacement)
    else:
        displacement[count - len(sample.removed) :] = np.nan
    noise = rng.normal(scale=noise_sigma, size=sample.points.shape)
    points = sample.points + noise
    return _labelled(record, kind, points, normals, sample.labels, displacement, noise_sigma)


def _labelled(
    record: Record,
    name: str,
    points: Vectors,
    normals: Vectors,
    labels: NDArray[np.bool_],
    displacement: Vectors,
    noise_sigma: float,
) -> LabelledCloud:
    """Return the counterpart of a sample with the defect `name`, made by a generator."""
    return LabelledCloud(
        name=f"{record.id}_{name}",
        category=record.category,
        subcategory=record.subcategory,
        defect=name,
        source="generator",
        points=points.astype(np.float32),
        normals=normals.astype(np.float32),
        labels=labels.astype(np.uint8),
        displacement=displacement.astype(np.float32),
        noise=noise_sigma,
    )


def _product(
    record: Record, template: Record, tolerance: float, seed: int, rng: np.random.Generator
) -> tuple[Product, int]:
    """Return the product of a sample, of this sample's form, and how many points it is to have."""
    mesh = _form(record, template, tolerance, seed)
    if mesh is None:
        points, normals = template.points.astype(np.float64), template.normals.astype(np.float64)
        return Product.from_cloud(points, normals), min(record.n_points, template.n_points)
    return Product.from_mesh(mesh, rng), record.n_points


def _surface(
    record: Record, template: Record, tolerance: float, seed: int, rng: np.random.Generator
) -> tuple[Vectors, Vectors]:
    """Return points and normals (N, 3) of a sample's product without a defect.

    They are drawn from the template's mesh, varied by the tolerance, or are some of its stored
    points where it has no mesh.
    """
    mesh = _form(record, template, tolerance, seed)
    if mesh is not None:
        where = sample_surface(mesh, record.n_points, rng)
        return where.points, where.normals
    chosen = rng.permutation(template.n_points)[: record.n_points]
    return template.points[chosen].astype(np.float64), template.normals[chosen].astype(np.float64)


@lru_cache(maxsize=2)
def _form(record: Record, template: Record, tolerance: float, seed: int) -> Mesh | None:
    """Return the template's mesh in the form that a sample has; None where it has no mesh.

    It is read once for all that is made beside the sample in turn.
    """
    mesh = template.mesh
    if mesh is None or tolerance == 0:
        return mesh
    return add_tolerance(mesh, tolerance, generator(seed, "inspection", record.id, "tolerance"))


def deformed_normals(points: Vectors, normals: Vectors, displacement: Vectors) -> Vectors:
    """(N, 3) unit normals of a surface (points, normals: (N, 3)) after a displacement (N, 3).

    Where nothing moved near a point it keeps its own. Elsewhere a plane is fitted to the moved
    positions of the nearest points on the same side of the wall, and faces as the surface did.
    """
    from scipy.spatial import cKDTree  # noqa: PLC0415 - weight

    normals = normals.copy()
    count = min(_NEIGHBOURS, len(normals))
    tree = cKDTree(points)
    moved = np.flatnonzero(displacement.any(axis=1))
    if len(moved) == 0 or count < 3:
        return normals
    _, near = tree.query(points[moved], k=count)
    chosen = np.unique(near)  # the rim's neighbours too
    _, near = tree.query(points[chosen], k=count)  # (C, K)
    weights = (normals[near] * normals[chosen, None]).sum(axis=2) > 0.5  # (C, K)
    weights = weights.astype(np.float64) / weights.sum(axis=1, keepdims=True)
    positions = (points + displacement)[near]  # (C, K, 3)
    offsets = positions - (weights[:, :, None] * positions).sum(axis=1, keepdims=True)
    covariance = np.einsum("ck,cki,ckj->cij", weights, offsets, offsets)
    values, vectors = np.linalg.eigh(covariance)
    fitted = vectors[:, :, 0]
    fitted *= np.where((fitted * normals[chosen]).sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    flat = values[:, 1] > 1e-12  # else the neighbours lie on a line, and say nothing
    normals[chosen[flat]] = fitted[flat]
    return normals
