# SPDX-License-Identifier: Apache-2.0
"""How hard a dataset file is for a detector that is told the product, the pose and the noise.

    python benchmarks/oracle.py group2.h5                     a minute for Group 2 on one core
    python benchmarks/oracle.py group2.h5 --category vase --markdown

Nothing is trained and nothing is registered: each test cloud is compared with the mesh of its own
product, in the pose that the file says. So the figures are not a result of a method, they are a
yardstick of the data: where they are near 1 nothing is left to be found out, where they are near
0.5 there is nothing to see.

- deviation: counts, mean and spread of heights in cylinders on the template as z-scores against 8
  simulated clouds without a defect (`mc4ad_model.deviation.statistics`).
- offset: length of the mean offset from the template over a point's 40 nearest points; the mean of
  the highest 2 % is the score of the object.
- distance: each point's distance from the template; objects in the same way.
- area: |logarithm| of the cloud's density on the template, over that of the pristine product with
  as many points. It sees only that the surface grew or shrank.
- points: the number of points alone, fewer being more anomalous.

O-AUROC is the mean over categories, of the samples of a type (and difficulty) against all normal
samples of the category; in brackets 95 % of a bootstrap over samples. P-AUROC is the mean over
categories of the AUROC of the points of the samples of a type.

Offset and distance only see points that lie far from the template. A crack, a hole or a missing
part takes points away from where they were, and the new surface inside a thin groove lies no
further from the template than the noise reaches: these scores tell little of such defects. In a
single category they may lie below 0.5. That does not mean that they find the defect with the sign
turned round, only that they follow something else. Counting points where the template says that
some should be does find it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from annotations.vocabulary import NORMAL, in_order
from intravariance.auroc import auroc
from intravariance.dataset.difficulty import BANDS, MIXED, difficulty_of
from intravariance.dataset.sample_checks import unposed
from intravariance.dataset.scan import ALL_SIDES
from intravariance.dataset.store import Dataset, Record, open_dataset
from intravariance.errors import InputError, IVError
from intravariance.geometry.mesh import Mesh
from intravariance.geometry.sampling import add_tolerance, sample_surface
from intravariance.geometry.template_surface import TemplateSurface, sample_template
from intravariance.progress import track
from intravariance.seeds import generator
from intravariance.tables import Cell, markdown_table, text_table
from mc4ad_model.deviation.statistics import (
    Calibration,
    calibrate,
    density_change,
    deviations,
    nearest_anchors,
    object_score,
    place_anchors,
    point_scores,
    z_scores,
)

SIMULATED_CLOUDS = 8
POINT_SCORES = ("deviation", "offset", "distance")
OBJECT_SCORES = (*POINT_SCORES, "area", "points")
_NEIGHBOURS = 40
_TOP_SHARE = 0.02
_BOOTSTRAPS = 500
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Template:
    """A product: what clouds of it look like without a defect, and its surface."""

    calibration: Calibration
    surface: TemplateSurface


@dataclass(frozen=True, eq=False)
class Scored:
    """A test sample's scores. objects : one for each of OBJECT_SCORES; points : (N,) for each of
    POINT_SCORES; difficulty : "" where it has none."""

    category: str
    defect: str
    difficulty: str
    snr: float
    share: float
    labels: NDArray[np.uint8]
    objects: dict[str, float]
    points: dict[str, Floats]


def main() -> None:
    """Score a file and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, help="dataset file with templates' meshes")
    parser.add_argument("--category", action="append", default=[], help="this one (repeatable)")
    parser.add_argument("--seed", type=int, default=0, help="of anchors and simulated clouds")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    try:
        with open_dataset(options.file) as dataset:
            chosen = dataset.filter(category=options.category or None)
            scored = list(score(chosen, options.seed))
            sigma = noise(dataset)
    except IVError as error:
        parser.exit(error.exit_code, f"oracle.py: error: {error}\n")
    table: Callable[[Sequence[str], Sequence[Sequence[Cell]]], str] = (
        markdown_table if options.markdown else text_table
    )
    normal = sum(item.defect == NORMAL for item in scored)
    print(f"{options.file}: {len(scored)} test samples, {normal} of them normal, sigma {sigma:.4g}")
    print(f"content digest {dataset.digest}\n")
    print(table(*by_defect(scored, generator(options.seed, "oracle", "bootstrap"))), end="\n\n")
    print(table(*by_category(scored)))


def noise(dataset: Dataset) -> float:
    """Return the standard deviation of the file's noise."""
    return float(dataset.metadata["identity"]["noise_sigma"])


def score(dataset: Dataset, seed: int, quiet: bool = False) -> Iterator[Scored]:
    """Score the test samples of a dataset, category by category.

    Raises InputError for a product without a mesh, and for a file of scans that do not see all
    sides: the clouds simulated here do.
    """
    if dataset.specification.scan != ALL_SIDES:
        raise InputError(
            f"{dataset.path}: its clouds were scanned with {dataset.specification.scan}; expected "
            "a file without [scan] options, whose clouds see all sides alike"
        )
    meshes: dict[tuple[str, str], Mesh] = {}
    for record in dataset.filter(split="train"):
        mesh = record.mesh
        if mesh is not None:
            meshes.setdefault((record.category, record.subcategory), mesh)
    low, high = dataset.specification.points
    sigma, tolerance = noise(dataset), dataset.specification.tolerance
    templates: dict[tuple[str, str], Template] = {}
    tests = dataset.filter(split="test")
    for record in track(tests, len(tests), "test samples", quiet):
        product = record.category, record.subcategory
        if product not in meshes:
            raise InputError(
                f"{dataset.path}: there is no mesh of {'/'.join(product)}; expected a file made by "
                "`iv build`, which has the meshes of its templates"
            )
        if product not in templates:
            rng = generator(seed, *product, "oracle")
            templates[product] = make_template(meshes[product], (low, high), sigma, tolerance, rng)
        yield score_record(record, templates[product])


def make_template(
    mesh: Mesh,
    counts: tuple[int, int],
    sigma: float,
    tolerance: float,
    rng: np.random.Generator,
) -> Template:
    """Simulate clouds without a defect, as the build makes them.

    counts : range of the number of points. sigma : of the noise. tolerance : see `Specification`.
    """
    clouds = []
    for count in rng.integers(*counts, endpoint=True, size=SIMULATED_CLOUDS):
        form = add_tolerance(mesh, tolerance, rng) if tolerance else mesh
        points = sample_surface(form, int(count), rng).points
        clouds.append(points + rng.normal(scale=sigma, size=points.shape))
    return Template(calibrate(place_anchors(mesh, rng), clouds), sample_template(mesh, rng))


def score_record(record: Record, template: Template) -> Scored:
    """Score a test sample against its own product, its pose undone."""
    points = unposed(record.points, record.pose)
    anchor_scores = deviations(z_scores(template.calibration, points))
    index = template.surface.tree.query(points)[1]
    offsets = points - template.surface.points[index]
    _, neighbours = cKDTree(points).query(points, k=min(_NEIGHBOURS, len(points)))
    scores = {
        "deviation": point_scores(
            anchor_scores, nearest_anchors(template.calibration.anchors, points)
        ),
        "offset": np.linalg.norm(offsets[neighbours].mean(axis=1), axis=1),
        "distance": np.linalg.norm(offsets, axis=1),
    }
    severity = record.parameters.get("severity")  # files of version 1 do not name the difficulty
    return Scored(
        category=record.category,
        defect=record.defect,
        difficulty=record.difficulty or (difficulty_of(severity) if severity is not None else ""),
        snr=record.snr,
        share=record.n_anomalous / record.n_points,
        labels=record.labels,
        objects={
            "deviation": object_score(anchor_scores),
            "offset": top_mean(scores["offset"]),
            "distance": top_mean(scores["distance"]),
            "area": abs(density_change(template.calibration, points)),
            "points": -float(len(points)),
        },
        points=scores,
    )


def top_mean(scores: Floats) -> float:
    """Return the mean of the highest 2 %."""
    return float(np.sort(scores)[-max(1, round(_TOP_SHARE * len(scores))) :].mean())


def by_defect(
    scored: Sequence[Scored], rng: np.random.Generator
) -> tuple[list[str], list[list[Cell]]]:
    """Make the table of defect types and difficulties: heading and rows."""
    heading = ["defect", "difficulty", "samples", "snr", "labelled, %"]
    heading += [f"O {name}" for name in OBJECT_SCORES] + [f"P {name}" for name in POINT_SCORES]
    rows: list[list[Cell]] = []
    for defect in in_order({item.defect for item in scored} - {NORMAL}):
        for band in (MIXED, *reversed(BANDS)):
            own = [
                item
                for item in scored
                if item.defect == defect and band in (MIXED, item.difficulty)
            ]
            if own and not (band != MIXED and not own[0].difficulty):
                rows.append([defect, band, *_figures(own, scored, rng)])
    return heading, rows


def _figures(
    own: Sequence[Scored], scored: Sequence[Scored], rng: np.random.Generator
) -> list[Cell]:
    """Return the cells of some defective samples: counts, sizes, then an AUROC for each score."""
    categories = list(dict.fromkeys(item.category for item in own))
    pairs = {
        category: (
            [item for item in own if item.category == category],
            [item for item in scored if (item.category, item.defect) == (category, NORMAL)],
        )
        for category in categories
    }
    snr = [item.snr for item in own if np.isfinite(item.snr)]
    cells: list[Cell] = [
        len(own),
        f"{np.median(snr):.2f}" if snr else None,
        f"{100 * np.median([item.share for item in own]):.2f}",
    ]
    for name in OBJECT_SCORES:
        values = [tuple(objects(kind, name) for kind in pair) for pair in pairs.values()]
        mean = float(np.mean([_auroc(*pair) for pair in values]))
        if name == "deviation":
            drawn = [np.mean([_auroc(*map(_redrawn(rng), pair)) for pair in values])
                     for _ in range(_BOOTSTRAPS)]  # fmt: skip
            low, high = np.quantile(drawn, [0.025, 0.975])
            cells.append(f"{mean:.3f} ({low:.2f}-{high:.2f})")
        else:
            cells.append(mean)
    for name in POINT_SCORES:
        cells.append(float(np.mean([point_auroc(pair[0], name) for pair in pairs.values()])))
    return cells


def objects(scored: Sequence[Scored], name: str) -> Floats:
    """Return the object scores of that name."""
    return np.array([item.objects[name] for item in scored])


def _auroc(defective: Floats, normal: Floats) -> float:
    return auroc(
        np.arange(len(defective) + len(normal)) < len(defective),
        np.concatenate([defective, normal]),
    )


def _redrawn(rng: np.random.Generator) -> Callable[[Floats], Floats]:
    """Return a function that draws as many values, with replacement."""
    return lambda values: values[rng.integers(0, len(values), len(values))]


def point_auroc(scored: Sequence[Scored], name: str) -> float:
    """Return the AUROC of the points of all these samples together."""
    return auroc(
        np.concatenate([item.labels for item in scored]),
        np.concatenate([item.points[name] for item in scored]),
    )


def by_category(scored: Sequence[Scored]) -> tuple[list[str], list[list[Cell]]]:
    """Make the table of categories, all defect types together: heading and rows, a mean last."""
    heading = ["category", "samples"]
    heading += [f"O {name}" for name in OBJECT_SCORES] + [f"P {name}" for name in POINT_SCORES]
    rows: list[list[Cell]] = []
    for category in dict.fromkeys(item.category for item in scored):
        own = [item for item in scored if item.category == category]
        normal = [item for item in own if item.defect == NORMAL]
        defective = [item for item in own if item.defect != NORMAL]
        cells = [_auroc(objects(defective, n), objects(normal, n)) for n in OBJECT_SCORES]
        rows.append([category, len(own), *cells, *(point_auroc(own, n) for n in POINT_SCORES)])
    means = [float(np.mean([row[i] for row in rows])) for i in range(2, len(heading))]  # type: ignore[arg-type]
    return heading, [*rows, ["mean", len(scored), *means]]


if __name__ == "__main__":
    main()
