# SPDX-License-Identifier: Apache-2.0
"""The templates of a category, as methods get them: plain arrays, so that no method needs a file.

Frame and units are the file's: templates stand upright, in radii of the unit-sphere frame unless
the file was imported with another unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intravariance.dataset.store import Dataset
from intravariance.errors import InputError
from intravariance.geometry.mesh import Mesh
from intravariance.geometry.sampling import sample_surface
from intravariance.seeds import generator
from mc4ad_model.registration.even_points import even_points

# Points of a template's surface that clouds are registered to.
REGISTRATION_POINTS = 40_000


@dataclass(frozen=True)
class Template:
    """A training sample of a file.

    Parameters
    ----------
    points, normals : (N, 3) float32
        As they are stored, the points with the file's noise.
    mesh
        The pristine surface; None where the file has none, as imported scans.
    """

    id: str
    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    mesh: Mesh | None


@dataclass(frozen=True)
class Templates:
    """What a method may learn from: the normal products of one category.

    Parameters
    ----------
    category
        Its name.
    templates
        In the file's order, at least one.
    points
        Smallest and largest number of points of a sample, both included.
    noise_sigma
        Standard deviation of the file's noise on each coordinate, in its units.
    data_digest
        Content digest of the file.
    learn_from
        The categories that are learnt from where the settings name some (`Settings.learn_from`),
        by name; this one may be among them.
    """

    category: str
    templates: tuple[Template, ...]
    points: tuple[int, int]
    noise_sigma: float
    data_digest: str = ""
    learn_from: tuple[Templates, ...] = ()


def read_templates(dataset: Dataset, category: str, learn_from: Sequence[str] = ()) -> Templates:
    """Read the templates of a category, and those of the categories that are learnt from.

    learn_from : their names; ["all"] is every category of the file.

    Raises
    ------
    InputError
        The file has no such category, or no template of it.
    """
    names = sorted(dataset.categories) if "all" in learn_from else sorted(set(learn_from))
    if unknown := [name for name in names if name not in dataset.categories]:
        raise InputError(
            f"data.learn_from: {dataset.path} has no category {', '.join(unknown)}; expected some "
            f"of {', '.join(dataset.categories)}, or all"
        )
    chosen = [r for r in dataset.filter(category=category) if r.split == "train"]
    if not chosen:
        raise InputError(
            f"{dataset.path}: category {category} has no templates (samples of the split train), "
            "and training needs at least one"
        )
    return Templates(
        category=category,
        templates=tuple(Template(r.id, r.points, r.normals, r.mesh) for r in chosen),
        points=dataset.specification.points,
        noise_sigma=float(dataset.metadata["identity"]["noise_sigma"]),
        data_digest=dataset.digest,
        learn_from=tuple(read_templates(dataset, name) for name in names),
    )


def check_scale(templates: Templates, remedy: str) -> None:
    """Check that the products fill about the unit ball around 0, as registration expects.

    Parameters
    ----------
    remedy
        A sentence for the message: what to do about it.

    Raises
    ------
    InputError
        One does not; it is named with its size.
    """
    for template in templates.templates:
        surface = template.points if template.mesh is None else template.mesh.vertices
        radius = float(np.linalg.norm(surface, axis=1).max())
        if not 0.6 < radius < 1.4:
            raise InputError(
                f"category {templates.category}: template {template.id} reaches {radius:.3g} from "
                f"0; registration expects products of radius 1 around 0. {remedy}"
            )


def surface_points(
    template: Template, points: tuple[int, int], rng: np.random.Generator, stored: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw points and normals (N, 3) of a normal product.

    Parameters
    ----------
    points
        Range of N, both ends included.
    stored
        Whether to take the stored points, with the noise that they have, although there is a mesh.
    """
    if stored or template.mesh is None:
        return template.points.astype(np.float64), template.normals.astype(np.float64)
    count = int(rng.integers(*points, endpoint=True))
    where = sample_surface(template.mesh, count, rng)
    return where.points, where.normals


def registration_points(templates: Templates, seed: int) -> dict[str, NDArray[np.float32]]:
    """Draw (S, 3) float32 points of each template's surface, by its id, to register clouds to."""
    points = {}
    for template in templates.templates:
        rng = generator(seed, "registration", template.id)
        if template.mesh is None:
            points[template.id] = template.points
            if len(template.points) > REGISTRATION_POINTS:  # a scan may have millions
                points[template.id] = rng.choice(template.points, REGISTRATION_POINTS, False)
        else:
            drawn = even_points(template.mesh, REGISTRATION_POINTS, rng)
            points[template.id] = drawn.astype(np.float32)
    return points
