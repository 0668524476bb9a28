# SPDX-License-Identifier: Apache-2.0
"""An evaluation's successes and errors, as a folder of pictures and one page.

    comparison.json            which evaluations; written first
    <category>_detected.png, _missed.png, _false_alarm.png, _located.png, _mislocated.png
                               heat maps beside ground truth, see `mc4ad_model.evaluation.ranking`
    <category>_points.png      score histograms of normal and anomalous points
    <category>_objects.png     score histograms of normal and defective objects
    ranking.csv                the samples in the pictures, and why they are there
    page.html                  metrics, misses and false alarms, and every test sample to turn, see
                               `mc4ad_model.reports.comparison_page`

The pictures are those of the paper's Figures 3 and 6 (histograms) and 4, 8 and 9 (heat maps).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from intravariance.dataset.store import Dataset
from intravariance.errors import InputError
from intravariance.files.folders import is_temporary
from intravariance.looking.cloud import LabelledCloud, upright
from intravariance.looking.histograms import object_histogram, point_histogram
from intravariance.looking.panels import heat_map_sheet
from intravariance.looking.pictures import png
from intravariance.tables import csv_table
from mc4ad_model.evaluation.ranking import KINDS, Kind, Placed, rank
from mc4ad_model.evaluation.results import METRICS_FILE, Results, evaluated_samples

RECORD, RANKING, PAGE = "comparison.json", "ranking.csv", "page.html"
_TITLES: dict[Kind, str] = {
    "detected": "defective objects that stand out most",
    "missed": "defective objects that hide best among the normal ones",
    "false alarm": "normal objects that look most defective",
    "located": "defects that are located best",
    "mislocated": "defects that are located worst",
}
MEANINGS: dict[Kind, str] = {
    "detected": "share of normal objects below it",
    "missed": "share of normal objects below it",
    "false alarm": "share of defective objects below it",
    "located": "AUROC of its points",
    "mislocated": "AUROC of its points",
}


@dataclass(frozen=True)
class Compared:
    """One category: its results, its test samples with scores by id, and their ranking."""

    results: Results
    clouds: dict[str, LabelledCloud]
    ranking: list[Placed]
    noise_sigma: float

    @property
    def category(self) -> str:
        """Its name."""
        return self.results.evaluation.category


def find_results(folder: Path) -> list[Path]:
    """Folders with results: this one, that of the run in it, or those of the runs in it.

    Raises
    ------
    InputError
        There is none.
    """
    for place in ("", "evaluation/", "*/", "*/evaluation/"):
        found = sorted(path.parent for path in folder.glob(f"{place}{METRICS_FILE}"))
        if found := [path for path in found if path == folder or not is_temporary(path)]:
            return found
    deeper = sorted({str(path.parents[2]) for path in folder.glob(f"**/evaluation/{METRICS_FILE}")})
    hint = f"there are some in {', '.join(deeper[:5])}" if deeper else "make it with `iv evaluate`"
    raise InputError(f"{folder}: holds no evaluation; {hint}")


def compare(results: Results, dataset: Dataset, count: int) -> Compared:
    """Rank the samples of one category; `count` of each kind. Errors as of `evaluated_samples`."""
    records = evaluated_samples(results, dataset)
    scores = results.evaluation.point_scores
    sigma = float(dataset.metadata["identity"]["noise_sigma"])
    clouds = {r.id: upright(r, scores[r.id], noise=sigma) for r in records}
    return Compared(results, clouds, rank(results.evaluation.rows, count), sigma)


def pictures(compared: Compared, size: int) -> Iterator[tuple[str, bytes]]:
    """(file name, PNG) of one category; nothing of a kind that no sample is of.

    size : pixels of a heat map.
    """
    category = compared.category
    for kind in KINDS:
        chosen = [item for item in compared.ranking if item.kind == kind]
        if not chosen:
            continue
        sheet = heat_map_sheet(
            [compared.clouds[item.sample.id] for item in chosen],
            size=size,
            layer=3 * compared.noise_sigma,
            scaling="shared",
            title=f"{category}: {_TITLES[kind]}",
            lines=[f"{item.sample.id}: {item.value:.3f}, {MEANINGS[kind]}" for item in chosen],
        )
        yield picture_name(category, kind), png(sheet)
    rows = compared.results.evaluation.rows
    points = point_histogram(list(compared.clouds.values()), f"{category}: points")
    yield picture_name(category, "points"), points
    scores, truth = [row.object_score for row in rows], [row.anomalous for row in rows]
    objects = object_histogram(scores, truth, f"{category}: objects")
    yield picture_name(category, "objects"), objects


def picture_name(category: str, what: str) -> str:
    """File name of a picture: of a kind, "points" or "objects"."""
    return f"{category}_{what.replace(' ', '_')}.png"


def record(compared: Sequence[Compared]) -> bytes:
    """Return what was compared, for RECORD."""
    content = {
        "format": "intravariance-comparison",
        "dataset": compared[0].results.dataset,
        "categories": {one.category: one.results.origin for one in compared},
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def ranking_csv(compared: Sequence[Compared]) -> bytes:
    """One line for each place: category, kind, place from 1 on, and the sample's."""
    heading = ["category", "kind", "place", "id", "subcategory", "defect", "object_score", "value"]
    rows: list[list[object]] = []
    for one in compared:
        for kind in KINDS:
            for place, item in enumerate([i for i in one.ranking if i.kind == kind], start=1):
                rows.append([one.category, kind, place, *item.cells, item.value])
    return csv_table(heading, rows).encode()
