# SPDX-License-Identifier: Apache-2.0
"""Tasks from a dataset file: its products to recognise, and its defects to find.

Learnt from are clouds drawn from the templates' surfaces with the file's noise: normal ones to
recognise products, and such with pseudo-anomalies to find defects. Tested are the file's own test
clouds, all of them for products, the defective ones for defects. Their poses, which the file knows,
are undone: ModelNet40 and ShapeNetPart have upright products that face one way, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotations.vocabulary import NORMAL
from intravariance.dataset.store import Dataset, Record
from intravariance.errors import InputError
from intravariance.seeds import generator
from mc4ad_model.classification.plan import TASKS, Plan, TaskName
from mc4ad_model.classification.tasks import Clouds, Task, chosen_points, unit_cloud
from mc4ad_model.methods.template_deviations import noise_of, product_of
from mc4ad_model.methods.templates import Templates, read_templates
from mc4ad_model.pseudo_anomalies.mixture import MixtureConfig, make_sample
from mc4ad_model.pseudo_anomalies.product import Product

_PARTS = (0, 1)  # normal, defect
# A pseudo-anomaly takes some of the points away: so many more are drawn, and a choice is kept.
_SPARE = 2
_MIXTURE = MixtureConfig(normal=0.0)


@dataclass(frozen=True)
class _Wanted:
    """Points of a cloud, whether it has a defect, and whether its normals are input."""

    points: int
    defects: bool
    normals: bool


@dataclass(frozen=True)
class _Cloud:
    """One cloud: (N, C) float32, (N,) labels of its points, and the class of its product."""

    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    product: int


class OwnProducts:
    """A dataset file as a source of tasks.

    Raises
    ------
    InputError
        It has fewer than two products, one without a template, or no test clouds.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.name, self.digest = dataset.path.name, dataset.digest
        self._products = sorted({(r.category, r.subcategory) for r in dataset})
        known = {(r.category, r.subcategory) for r in dataset if r.split == "train"}
        if missing := [name for name in self._products if name not in known]:
            raise InputError(
                f"{dataset.path}: product {'/'.join(missing[0])} has no template; each product "
                "that is to be recognised needs one (`templates` in the specification)"
            )
        if len(self._products) < 2:
            raise InputError(f"{dataset.path}: expected at least two products, found one")
        if not any(r.split == "test" and r.defect != NORMAL for r in dataset):
            raise InputError(f"{dataset.path}: expected defective samples in the split test")

    @property
    def tasks(self) -> tuple[TaskName, ...]:
        """All of them."""
        return TASKS

    @property
    def remarks(self) -> tuple[str, ...]:
        """A remark on the data that take the place of ModelNet40 and ShapeNetPart."""
        tests = [r for r in self._dataset if r.split == "test"]
        defective = sum(r.defect != NORMAL for r in tests)
        sigma = float(self._dataset.metadata["identity"]["noise_sigma"])
        return (
            f"The data: not ModelNet40 and ShapeNetPart but {self.name} (content digest "
            f"{self.digest}), noise {sigma:.4g}. To recognise: its {len(self._products)} products, "
            f"learnt from clouds drawn from the templates, tested on {len(tests)} test clouds, "
            f"{defective} of them with a defect, whose poses are undone. To segment: the points of "
            f"the defect in those {defective}, learnt from pseudo-anomalies; parts are defect and "
            "the rest, and the product is given as ShapeNetPart's category is.",
        )

    def load(self, name: TaskName, plan: Plan, seed: int) -> Task:
        """Draw the clouds that are learnt from, and take those that are tested."""
        segmentation = name == "segmentation"
        count = plan.part_points if segmentation else plan.points
        wanted = _Wanted(count, segmentation, name == "recognition-normals")
        return Task(
            name=name,
            train=_joined(list(self._drawn(wanted, plan.clouds, seed)), segmentation),
            test=_joined(list(self._stored(wanted)), segmentation),
            classes=len(self._products),
            parts=(_PARTS,) * len(self._products) if segmentation else (),
        )

    @cached_property
    def _templates(self) -> dict[str, Templates]:
        return {name: read_templates(self._dataset, name) for name in self._dataset.categories}

    def _drawn(self, wanted: _Wanted, each: int, seed: int) -> Iterator[_Cloud]:
        """Draw clouds of each product, shared evenly among its templates."""
        purpose = "defects" if wanted.defects else "products"
        for templates in self._templates.values():
            names = [one.id for one in templates.templates]
            products = [self._product(self._dataset[name]) for name in names]
            for name, product in zip(names, products, strict=True):
                surface = product_of(templates, name, seed)
                for number in range(-(-each // products.count(product))):
                    rng = generator(seed, "classification", purpose, name, str(number))
                    yield _Cloud(*_draw(templates, name, surface, wanted, rng), product)

    def _stored(self, wanted: _Wanted) -> Iterator[_Cloud]:
        for record in self._dataset:
            if record.split != "test" or (wanted.defects and record.defect == NORMAL):
                continue
            rng = generator(0, "classification", "test", record.id)
            rows = chosen_points(record.n_points, wanted.points, rng)
            turn = record.pose[:3, :3]  # x_stored = turn @ x + shift, and x is centred below
            points = unit_cloud(record.points.astype(np.float64)[rows] @ turn)
            if wanted.normals:
                points = _beside(points, record.normals[rows] @ turn)
            labels = record.labels[rows].astype(np.int64)
            yield _Cloud(points, labels, self._product(record))

    def _product(self, record: Record) -> int:
        return self._products.index((record.category, record.subcategory))


def _draw(
    templates: Templates, name: str, surface: Product, wanted: _Wanted, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw a cloud of a template, with a pseudo-anomaly if wanted, and its labels."""
    made = make_sample(
        surface, _SPARE * wanted.points, _MIXTURE, rng, None if wanted.defects else "normal"
    )
    rows = chosen_points(len(made.points), wanted.points, rng)
    noise = noise_of(templates, name, made.points - made.displacement, rng)
    points = unit_cloud((made.points + noise)[rows])
    if wanted.normals:
        points = _beside(points, made.normals[rows])
    return points, made.labels[rows].astype(np.int64)


def _joined(clouds: list[_Cloud], segmentation: bool) -> Clouds:
    classes = np.array([cloud.product for cloud in clouds], dtype=np.int64)
    parts = np.stack([cloud.labels for cloud in clouds]) if segmentation else None
    return Clouds(np.stack([cloud.points for cloud in clouds]), classes, parts)


def _beside(points: NDArray[np.float32], normals: NDArray[Any]) -> NDArray[np.float32]:
    return np.concatenate([points, normals.astype(np.float32)], axis=1)
