# SPDX-License-Identifier: Apache-2.0
"""The templates of a category, as methods get them: plain arrays, so that no method needs a file.

Frame and units are the file's: templates stand upright, in radii of the unit-sphere frame unless
the file was imported with another unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from intravariance.dataset.store import Dataset, Record
from intravariance.errors import InputError
from intravariance.geometry.mesh import Mesh
from intravariance.geometry.sampling import sample_surface
from intravariance.seeds import generator
from mc4ad_model.registration.even_points import even_points
from mc4ad_model.surfaces.estimated import (
    FEWEST_POINTS,
    EstimatedSurface,
    estimate_noise,
    estimate_surface,
)

# A method knows the templates' meshes and the noise of the file, or only the stored clouds.
Track = Literal["meshes", "clouds"]
TRACKS: tuple[Track, ...] = get_args(Track)

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
        The pristine surface; None in the track "clouds".
    """

    id: str
    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    mesh: Mesh | None


@dataclass(frozen=True)
class Templates:
    """The normal products of one category, from which a method may learn.

    Parameters
    ----------
    category
        Its name.
    templates
        In the file's order, at least one.
    points
        Smallest and largest number of points of a sample, both included.
    noise_sigma
        Standard deviation of the file's noise on each coordinate, in its units; in the track
        "clouds" as `surfaces.estimated.estimate_noise` finds it.
    track
        See `Track`.
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
    track: Track = "meshes"

    @property
    def registration_noise(self) -> float:
        """Noise of clouds beyond that of the points that they are registered to."""
        return registration_noise(self.noise_sigma, self.track)

    @cached_property
    def surfaces(self) -> dict[str, EstimatedSurface]:
        """The surfaces of the templates without meshes, by their ids."""
        return {
            one.id: estimate_surface(one.points, self.noise_sigma, generator(0, "surface", one.id))
            for one in self.templates
            if one.mesh is None
        }

    def resampled(self, seed: int) -> Templates:
        """Draw as many points of each template's stored cloud, with replacement.

        That is to the stored cloud as the stored cloud is to the product: so training can meet
        templates that are as uncertain as those that test clouds will be compared with.
        """
        drawn = []
        for one in self.templates:
            rows = generator(seed, "resampled", one.id).integers(
                len(one.points), size=len(one.points)
            )
            drawn.append(Template(one.id, one.points[rows], one.normals[rows], None))
        return replace(self, templates=tuple(drawn), track="clouds")


def registration_noise(noise_sigma: float, track: Track) -> float:
    """Return the noise of clouds beyond that of a template's points, which stored ones have too."""
    return noise_sigma if track == "meshes" else 0.0


def scan_noise(dataset: Dataset, category: str) -> float | None:
    """Return the noise that the scans of an imported category were said to have.

    It is a standard deviation on each coordinate, in the unit of the stored clouds; None where
    nobody said it.
    """
    imported = dataset.metadata["identity"].get("imported", {})
    if (sigma := imported.get("scan_noise")) is None:
        return None
    return float(sigma) / float(imported["frames"].get(category, {}).get("length", 1.0))


def track_of(dataset: Dataset) -> Track:
    """Say which track a file is for: "meshes" where each template has one."""
    templates = [record for record in dataset if record.split == "train"]
    return "meshes" if all(record.has_mesh for record in templates) else "clouds"


def template_records(dataset: Dataset, category: str, track: Track) -> list[Record]:
    """List the templates of a category; their clouds are not read.

    Raises
    ------
    InputError
        The file has no such category, or no template of it; or one lacks its mesh, in the track
        "meshes".
    """
    chosen = [r for r in dataset.filter(category=category) if r.split == "train"]
    if not chosen:
        raise InputError(
            f"{dataset.path}: category {category} has no templates (samples of the split train), "
            "and training needs at least one"
        )
    if track == "meshes" and (bare := [r.id for r in chosen if not r.has_mesh]):
        raise InputError(
            f"{dataset.path}: --track meshes: template {bare[0]} has no mesh; take --track clouds"
        )
    return chosen


def read_templates(
    dataset: Dataset, category: str, learn_from: Sequence[str] = (), track: Track | None = None
) -> Templates:
    """Read the templates of a category, and those of the categories that are learnt from.

    Parameters
    ----------
    learn_from
        Their names; ["all"] is every category of the file.
    track
        What may be known of them; None for all that the file has.

    Raises
    ------
    InputError
        As `template_records`, or the file has no category that `learn_from` names.
    """
    track = track or track_of(dataset)
    names = sorted(dataset.categories) if "all" in learn_from else sorted(set(learn_from))
    if unknown := [name for name in names if name not in dataset.categories]:
        raise InputError(
            f"data.learn_from: {dataset.path} has no category {', '.join(unknown)}; expected some "
            f"of {', '.join(dataset.categories)}, or all"
        )
    chosen = template_records(dataset, category, track)
    said = scan_noise(dataset, category)
    known = float(dataset.metadata["identity"]["noise_sigma"]) if said is None else said
    return Templates(
        category=category,
        templates=tuple(
            Template(r.id, r.points, r.normals, r.mesh if track == "meshes" else None)
            for r in chosen
        ),
        points=dataset.specification.points,
        noise_sigma=known if track == "meshes" else _estimated_noise(dataset),
        data_digest=dataset.digest,
        learn_from=tuple(read_templates(dataset, name, track=track) for name in names),
        track=track,
    )


@lru_cache(maxsize=1)  # every category asks
def _estimated_noise(dataset: Dataset) -> float:
    """Estimate the noise of a file from the clouds of all its templates that are large enough."""
    clouds = [record.points for record in dataset if record.split == "train"]
    clouds = [cloud for cloud in clouds if len(cloud) >= FEWEST_POINTS]
    return estimate_noise(clouds, generator(0, "noise")) if clouds else 0.0


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
        They have it where there is no mesh, too.
    """
    if stored or template.mesh is None:
        return template.points.astype(np.float64), template.normals.astype(np.float64)
    count = int(rng.integers(*points, endpoint=True))
    where = sample_surface(template.mesh, count, rng)
    return where.points, where.normals


def simulated_cloud(
    templates: Templates, template: Template, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw a noisy cloud (N, 3) of a normal product, in the template's frame.

    Without a mesh, points of the stored cloud are drawn with replacement.
    """
    if template.mesh is None:
        count = int(rng.integers(*templates.points, endpoint=True))
        rows = rng.integers(len(template.points), size=count)
        return np.asarray(template.points[rows], dtype=np.float64)
    points, _ = surface_points(template, templates.points, rng)
    return points + rng.normal(scale=templates.noise_sigma, size=points.shape)


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
